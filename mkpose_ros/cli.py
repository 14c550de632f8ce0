"""`mkpose`: the command line. Each command lives in mkpose_ros/commands and is imported when it is called."""

from __future__ import annotations

import importlib
import sys

import click

from mkpose_ros import __version__
from mkpose_ros.errors import MkposeError

# command -> (module:function, summary). A command's module may need an extra that this machine lacks, so the summary
# stands here and the module is imported only when the command is called.
COMMANDS = {
    "demo": ("mkpose_ros.commands.demo:demo", "Play the shipped recording through the node and show what it finds."),
    "run": ("mkpose_ros.commands.run:run", "Start the node without launch."),
    "image": ("mkpose_ros.commands.image:image", "Find the objects of one RGB-D frame from files, without ROS."),
    "bench": ("mkpose_ros.commands.bench:bench", "Time the node, the engines, the segmentation or the pipeline."),
    "view": ("mkpose_ros.commands.view:view", "Look at a result or a data-set frame in 3D."),
    "synth": ("mkpose_ros.commands.synth:synth", "Render RGB-D scenes with ground truth."),
    "meshes": ("mkpose_ros.commands.meshes:meshes", "Turn folders of meshes into canonical, metric shapes."),
    "shapes": ("mkpose_ros.commands.shapes:shapes", "Draw the shapes that scenes are made of."),
    "data": ("mkpose_ros.commands.data:data", "Inspect data sets."),
    "train": ("mkpose_ros.commands.train:train", "Train MK-Pose or the segmenter."),
    "ablate": ("mkpose_ros.commands.train:ablate", "Train the paper's ablations on equal budgets."),
    "export": ("mkpose_ros.commands.export:export", "Export MK-Pose to ONNX (fp32, fp16, int8)."),
    "export-segmenter": (
        "mkpose_ros.commands.export_segmenter:export_segmenter",
        "Export a Mask R-CNN to ONNX and check that both agree.",
    ),
    "eval": ("mkpose_ros.commands.eval:evaluate", "Measure poses against ground truth."),
    "eval-segmenter": (
        "mkpose_ros.commands.eval_segmenter:eval_segmenter",
        "Measure a segmenter's masks, and calibrate its thresholds.",
    ),
}


class LazyGroup(click.Group):
    """A group whose commands are imported on use, so that `mkpose --help` stays fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, function = COMMANDS[name][0].split(":")
        return getattr(importlib.import_module(module), function)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.command(cls=LazyGroup, context_settings={"show_default": True})
@click.version_option(__version__, prog_name="mkpose")
def cli() -> None:
    """Category-level 9-DoF object poses from RGB-D (MK-Pose), for ROS 2."""


def main() -> None:
    """Run the command line: exit status 0 on success, 2 on wrong usage, 1 on failure with one sentence."""
    try:
        cli.main(standalone_mode=False, prog_name="mkpose")
    except click.exceptions.Exit as exit_request:
        sys.exit(exit_request.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.UsageError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(1)
    except MkposeError as error:
        click.echo(f"mkpose: {error}", err=True)
        sys.exit(1)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package in ("", "mkpose_ros"):
            raise
        remedy = "pip install 'mkpose_ros[train]' brings what training, rendering, evaluation and benches need"
        click.echo(
            f"mkpose: this command needs the Python package {package}, which is not installed; {remedy}", err=True
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
