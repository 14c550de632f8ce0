"""`mkpose`: the command line. Each command lives in mkpose_ros/commands and is imported when it is called."""

from __future__ import annotations

import importlib
import sys

import click

from mkpose_ros import __version__
from mkpose_ros.errors import MkposeError

# command -> module:function; a command's module may need an extra that this machine lacks.
COMMANDS = {
    "demo": "mkpose_ros.commands.demo:demo",
    "run": "mkpose_ros.commands.run:run",
    "image": "mkpose_ros.commands.image:image",
    "bench": "mkpose_ros.commands.bench:bench",
    "view": "mkpose_ros.commands.view:view",
    "synth": "mkpose_ros.commands.synth:synth",
    "data": "mkpose_ros.commands.data:data",
    "train": "mkpose_ros.commands.train:train",
    "ablate": "mkpose_ros.commands.train:ablate",
    "export": "mkpose_ros.commands.export:export",
    "export-segmenter": "mkpose_ros.commands.export_segmenter:export_segmenter",
    "eval": "mkpose_ros.commands.eval:evaluate",
}


class LazyGroup(click.Group):
    """A group whose commands are imported on use, so that `mkpose --help` stays fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, function = COMMANDS[name].split(":")
        return getattr(importlib.import_module(module), function)


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


if __name__ == "__main__":
    main()
