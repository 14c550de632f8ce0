"""`mkpose export-segmenter`: a trained segmenter, ours or detectron2's, as ONNX."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click
import numpy as np

from mkpose_ros.commands.options import common_options, write_json
from mkpose_ros.errors import InputError, ModelError
from mkpose_ros.types import RgbdFrame

__all__ = ["export_segmenter"]


@click.command("export-segmenter")
@click.option("--run", "run_folder", type=click.Path(path_type=Path), help="Folder of a training run of ours.")
@click.option("--mean-with", type=click.Path(path_type=Path), help="Weights to take the mean of the run's with.")
@click.option("--mean-share", type=click.FloatRange(0.0, 1.0), default=0.5, help="What those count in the mean.")
@click.option("--detectron2-config", metavar="FILE", help="A detectron2 config: a YAML file or a model zoo name.")
@click.option("--weights", metavar="FILE", help="The weights of that config.")
@click.option("--class-map", default="coco", help="identity, a map of config/class_maps.yaml, or a YAML file.")
@click.option("--class-names", metavar="A,B,..", help="The classes by label, where the config's data set is unknown.")
@click.option("--size", metavar="HxW", help="Input in pixels; default: 480x640 of detectron2's, as trained of ours.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("segmenter.onnx"), help="The ONNX file.")
@click.option("--detectron2-out", type=click.Path(path_type=Path), help="Also write our model for detectron2 there.")
@click.option("--weights-out", type=click.Path(path_type=Path), help="Also write our weights to train on from there.")
@click.option("--images", type=click.Path(path_type=Path), help="Folder of pictures on which both must agree.")
@common_options
def export_segmenter(
    run_folder: Path | None,
    mean_with: Path | None,
    mean_share: float,
    detectron2_config: str | None,
    weights: str | None,
    class_map: str,
    class_names: str | None,
    size: str | None,
    out: Path,
    detectron2_out: Path | None,
    weights_out: Path | None,
    images: Path | None,
    json_file: str | None,
    seed: int,
) -> None:
    """Write a Mask R-CNN as ONNX and check that it agrees with torch.

    Give either --run (ours), or --detectron2-config and --weights.
    """
    from mkpose_ros.segmentation.maskrcnn.export import agreement, export_run, load_run

    if (run_folder is None) == (detectron2_config is None):
        raise click.UsageError("give either --run, or --detectron2-config and --weights")
    if mean_with is not None and run_folder is None:
        raise click.UsageError("--mean-with goes with --run")
    shape = _size(size) if size else None
    if run_folder is not None:
        mean = {"mean_with": mean_with, "mean_share": mean_share}
        model = export_run(run_folder, out, size=shape, **mean)
        if weights_out is not None:
            from mkpose_ros.segmentation.maskrcnn.weights import save_trained

            save_trained(load_run(run_folder, **mean)[0], weights_out)
        if detectron2_out is not None:
            from mkpose_ros.segmentation.maskrcnn.detectron2_backbone import write_detectron2

            write_detectron2(load_run(run_folder, shape, **mean)[0], detectron2_out)
    else:
        from mkpose_ros.segmentation.detectron2_export import export_detectron2

        height, width = shape or (480, 640)
        names = tuple(class_names.split(",")) if class_names else None
        model = export_detectron2(
            detectron2_config, weights, out, input_height=height, input_width=width, class_map=class_map,
            class_names=names,
        )  # fmt: skip
    result = agreement(model, out, _frames(images, seed))
    write_json({"onnx": str(out), "megabytes": out.stat().st_size / 1e6, "agreement": asdict(result)}, json_file)
    click.echo(f"{out}: {out.stat().st_size / 1e6:.1f} MB; {result}", err=json_file == "-")
    if not result.good:
        raise ModelError(f"{out}: differs from torch by more than 0.5 px, 1e-3 in score or 1 % of a mask's pixels")


def _size(text: str) -> tuple[int, int]:
    try:
        height, width = (int(part) for part in text.lower().split("x"))
    except ValueError as error:
        raise click.UsageError(f"--size {text}: expected HxW, such as 480x640") from error
    return height, width


def _frames(folder: Path | None, seed: int) -> list[RgbdFrame]:
    """The folder's pictures (at most 50), with depth where it lies beside them; noise and grey where none is given."""
    from mkpose_ros.segmentation.annotations import read_picture
    from mkpose_ros.segmentation.canvas import frame_without_depth

    if folder is None:
        noise = np.random.default_rng(seed).integers(0, 255, (480, 640, 3), np.uint8)
        return [frame_without_depth(rgb) for rgb in (noise, np.full((480, 640, 3), 90, np.uint8))]
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in (".png", ".jpg") and "color" in f.stem.lower())
    if not files:
        raise InputError(f"{folder}: expected pictures whose names hold 'color', *.png or *.jpg")
    return [read_picture(file) for file in files[:50]]
