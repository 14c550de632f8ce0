"""`mkpose export`: a checkpoint to ONNX, its agreement with torch and, with crops at hand, its accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

from mkpose_ros.commands.options import common_options, write_json
from mkpose_ros.errors import InputError
from mkpose_ros.inference.base import PoseEngine

__all__ = ["export"]

CALIBRATION_BATCH = 16


@click.command()
@click.option("--checkpoint", type=click.Path(path_type=Path), default=Path("models/small/model.safetensors"),
              show_default=True, help="Weights that mkpose train wrote.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), default=None,
              help="Folder of the ONNX files.  [default: the checkpoint's]")  # fmt: skip
@click.option("--precision", "precisions", type=click.Choice(["fp32", "fp16", "int8"]), multiple=True,
              default=("fp32",), show_default=True, help="May be given several times.")  # fmt: skip
@click.option("--crops", type=click.Path(path_type=Path), multiple=True,
              help="Folder of held-out crops (mkpose train --render --split val): int8 is calibrated on a quarter of "
              "them, and the accuracy of each file is measured on the rest.")  # fmt: skip
@click.option("--limit", type=int, default=600, show_default=True, help="Crops used at most.")
@click.option("--text-features", type=click.Path(path_type=Path), default=None, metavar="FILE",
              help="Instead of a model: encode the descriptions of --categories into FILE.")  # fmt: skip
@click.option("--categories", type=click.Path(path_type=Path), default=None,
              help="Categories file for --text-features.  [default: the shipped one]")  # fmt: skip
@click.option("--text-encoder", default="minilm", show_default=True,
              help="minilm, or a folder with a CLIP text model in transformers' layout.")  # fmt: skip
@common_options
def export(
    checkpoint: Path,
    out: Path | None,
    precisions: tuple[str, ...],
    crops: tuple[Path, ...],
    limit: int,
    text_features: Path | None,
    categories: Path | None,
    text_encoder: str,
    json_file: str | None,
    seed: int,
) -> None:
    """Write a trained model as ONNX (fp32, half-typed fp16, int8 for CPUs), with its metadata, and check it."""
    if text_features is not None:
        write_json(_export_text(text_features, categories, text_encoder), json_file)
        return
    from mkpose_ros.inference.engine import open_engine
    from mkpose_ros.network.export import export_onnx

    out = out or checkpoint.parent
    calibration, held_out = _inputs(checkpoint, crops, limit, seed) if crops else ([], None)
    results, traced = [], None
    for precision in sorted(set(precisions), key=("fp32", "fp16", "int8").index):
        name = "model.onnx" if precision == "fp32" else f"model_{precision}.onnx"
        batches = calibration if precision == "int8" else ()
        result = export_onnx(checkpoint, out / name, precision, batches, traced)
        traced = out / name if precision == "fp32" else traced
        if held_out is not None:
            result["accuracy"] = _accuracy(open_engine(out / name, "onnxruntime"), held_out)
            if precision == "fp32":  # the same file in the arithmetic that OpenVINO must be asked for
                result["accuracy_bf16"] = _accuracy(open_engine(out / name, "openvino", precision="bf16"), held_out)
        results.append(result)
    _print(results, json_file)
    write_json({"checkpoint": str(checkpoint), "files": results}, json_file)


def _export_text(path: Path, categories: Path | None, encoder: str) -> dict[str, Any]:
    from mkpose_ros.categories import load_categories
    from mkpose_ros.network.text import save_text_features

    known = load_categories(categories)
    save_text_features({name: category.description for name, category in known.items()}, path, encoder)
    return {"path": str(path), "encoder": encoder, "categories": list(known)}


def _inputs(checkpoint: Path, folders: tuple[Path, ...], limit: int, seed: int) -> tuple[list, tuple]:
    """Batches for calibration, and (inputs, crops) of the rest. Raises InputError for folders without crops."""
    from mkpose_ros.geometry.sampling import farthest_point_order
    from mkpose_ros.inference.text_features import load_text_features
    from mkpose_ros.network.model import load_checkpoint
    from mkpose_ros.training.validate import load_crops

    config = load_checkpoint(checkpoint)[0].config
    crops = load_crops([str(folder) for folder in folders], limit=limit)
    if crops is None:
        raise InputError(f"export: no crops in {', '.join(map(str, folders))}; render some with mkpose train --render")
    crops = crops.take(np.random.default_rng(seed).permutation(len(crops)))
    text, mask = load_text_features().batch(crops.category.tolist())
    points = crops.points_m[:, : config.n_points].astype(np.float32)
    order = farthest_point_order(points, config.point[0].points)[..., None]
    inputs = {
        "image": crops.image,
        "points": np.take_along_axis(points, order, axis=1),
        "pixels": np.take_along_axis(crops.pixels[:, : config.n_points].astype(np.float32), order, axis=1),
        "text": text,
        "text_mask": mask,
    }
    quarter = max(len(crops) // 4 // CALIBRATION_BATCH, 1) * CALIBRATION_BATCH
    starts = range(0, quarter, CALIBRATION_BATCH)
    calibration = [{k: v[i : i + CALIBRATION_BATCH] for k, v in inputs.items()} for i in starts]
    rest = slice(quarter, None)
    return calibration, ({k: v[rest] for k, v in inputs.items()}, crops.take(rest))


def _accuracy(engine: PoseEngine, held_out: tuple) -> dict[str, float]:
    """The figures of training.metrics.summary of an exported file, for the poses that the node gives."""
    from mkpose_ros.inference.refinement import Refiner, mean_token
    from mkpose_ros.training.metrics import summary
    from mkpose_ros.training.refinement import refined
    from mkpose_ros.training.validate import errors_of, fused

    inputs, crops = held_out
    outputs, metadata = engine.infer(inputs), engine.metadata
    engine.close()
    names = {"rotation": "rotation", "translation_m": "translation", "size_m": "size", "keypoints_m": "keypoints"}
    predictions = {key: outputs[name] for key, name in names.items()}
    predictions |= {"nocs": outputs["nocs"], "axis_symmetric_logit": outputs["axis_symmetric"] - 0.5}
    predictions |= {"log_variance": outputs["log_variance"], "text": mean_token(inputs["text"], inputs["text_mask"])}
    predictions = fused(predictions, crops)
    refiner = Refiner.from_metadata(metadata.calibration.get("refiner"))
    if refiner is not None:
        predictions = refined(predictions, crops, refiner, n_points=metadata.n_points, trained=metadata.categories)
    return summary(errors_of(predictions, crops))


def _print(results: list[dict[str, Any]], json_file: str | None) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("file", "MB", "engine", "largest difference from torch", "5d2cm %", "median deg")
    for result in results:
        figures = _figures(result.get("accuracy"))
        for engine, differences in result["agreement"].items():
            worst = max(differences, key=differences.get)
            row = [Path(result["path"]).name, str(result["megabytes"]), engine, f"{differences[worst]:.1e} ({worst})"]
            table.add_row(*row, *figures)
        if "accuracy_bf16" in result:
            table.add_row(Path(result["path"]).name, "", "openvino in bf16", "", *_figures(result["accuracy_bf16"]))
    Console(stderr=json_file == "-").print(table)


def _figures(accuracy: dict[str, float] | None) -> list[str]:
    return [f"{accuracy[k]:.1f}" if accuracy else "-" for k in ("5d2cm", "median_rotation_deg")]
