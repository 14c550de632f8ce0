"""From a run folder to what is shipped: calibrated weights, ONNX and a model card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mkpose_ros.datasets.samples import CropSamples
from mkpose_ros.errors import MkposeError
from mkpose_ros.inference.cloud_box import CloudBoxes
from mkpose_ros.inference.refinement import Refiner
from mkpose_ros.inference.text_features import load_text_features
from mkpose_ros.network.export import export_onnx
from mkpose_ros.network.model import MKPose, load_checkpoint, save_checkpoint
from mkpose_ros.training.batches import TextTable, symmetries_of
from mkpose_ros.training.calibrate import Calibration, coverage, error_components, fit_calibration
from mkpose_ros.training.card import write_card
from mkpose_ros.training.completion import boxed, fit_completion
from mkpose_ros.training.config import TrainConfig, load_train_config
from mkpose_ros.training.metrics import PoseErrors, per_category, summary
from mkpose_ros.training.refinement import fit_refiner, refined
from mkpose_ros.training.validate import Predictions, errors_of, fused, load_crops, predict

__all__ = ["Shipment", "ship"]

SECOND_LOOK_CROPS = 100_000  # at most so many training crops; a third of a gigabyte for every 10 000


@dataclass(frozen=True)
class Shipment:
    """What was measured on the way."""

    calibration: Calibration
    coverage: Mapping[str, Mapping[str, float]]  # on the half of the held-out crops that did not set the scales
    overall: Mapping[str, Mapping[str, float]]  # of the trained categories, and of the others where there are any
    categories: Mapping[str, Mapping[str, float]]
    agreement: Mapping[str, Any]  # of the exported model with torch


def ship(run: Path, folder: Path, overrides: Sequence[str] = ()) -> Shipment:
    """Write model.safetensors, model.onnx and README.md of a run's best weights into `folder`.

    `overrides` of the run's configuration, such as more held-out crops (`data.val_shards=[a,b]`).
    The covariance is calibrated on every second held-out crop and its coverage measured on the others.
    Raises MkposeError when the run has no weights or no held-out crops.
    """
    config = load_train_config(run / "config.yaml", overrides)
    model, training = _best_model(run)
    crops = load_crops(config.data.val_shards)
    if crops is None:
        raise MkposeError(
            f"{run}: no held-out crops in {config.data.val_shards}; render some with `mkpose train --render`"
        )
    text = load_text_features(config.text_features or None)
    table = TextTable(text, torch.device("cpu"))
    trained = sorted(set(text.names) - set(config.data.exclude))
    predictions, (refiner, boxes) = _predictions(model, crops, table), _second_looks(model, config, table)
    if refiner is not None:
        predictions = refined(predictions, crops, refiner, n_points=model.config.n_points, trained=trained)
        predictions = boxed(predictions, crops, boxes, n_points=model.config.n_points, trained=trained)
    calibration, covered = _calibrate(predictions, crops, "fused" if refiner is None else "refined")
    errors = errors_of(predictions, crops)
    training["data"] = "live scenes" if config.data.live_workers else "cached scenes"
    extra = {
        "categories": trained,
        "text_hash": text.fingerprint(trained),
        "calibration": {
            **calibration.to_metadata(),
            **({} if refiner is None else {"refiner": refiner.to_metadata(), "completion": boxes.to_metadata()}),
            "coverage_percent": covered,
        },
        "training": training,
    }
    save_checkpoint(model, folder / "model.safetensors", extra)
    exported = export_onnx(folder / "model.safetensors", folder / "model.onnx")
    shipment = Shipment(calibration, covered, _overall(errors, trained), per_category(errors), exported["agreement"])
    write_card(folder, model.config, training, shipment, trained)
    return shipment


def _overall(errors: PoseErrors, trained: list[str]) -> dict[str, dict[str, float]]:
    known = np.isin(errors.category, trained)
    groups = {"trained categories": known, "zero-shot": ~known}
    return {name: summary(errors.select(rows)) for name, rows in groups.items() if rows.any()}


def _best_model(run: Path) -> tuple[MKPose, dict[str, Any]]:
    """The averaged weights of the best validation, and how they were trained."""
    best = run / "best.safetensors"
    if not best.exists():
        raise MkposeError(f"{run}: no best.safetensors, which the first validation writes; train first")
    model, extra = load_checkpoint(best)
    return model, dict(extra["training"])


def _predictions(model: MKPose, crops: CropSamples, text: TextTable) -> Predictions:
    return fused(predict(model, crops, text, torch.device("cpu"), model.config), crops)


def _second_looks(
    model: MKPose, config: TrainConfig, text: TextTable
) -> tuple[Refiner, CloudBoxes] | tuple[None, None]:
    """Fitted to the training crops; None where they were rendered live and are gone."""
    crops = load_crops(config.data.shards, limit=SECOND_LOOK_CROPS)
    if crops is None:
        return None, None
    crops = crops.take(np.flatnonzero(~np.isin(crops.category, config.data.exclude)))
    refiner = fit_refiner(_predictions(model, crops, text), crops, n_points=model.config.n_points)
    return refiner, fit_completion(crops, n_points=model.config.n_points)


def _calibrate(
    predictions: Predictions, crops: CropSamples, pose_source: str
) -> tuple[Calibration, dict[str, dict[str, float]]]:
    errors = error_components(
        predictions["rotation"],
        predictions["translation_m"],
        crops.rotation,
        crops.translation_m,
        symmetries_of(crops.infinite, crops.orders),
    )
    log_variance, disagreement = predictions["log_variance"], predictions["disagreement"]
    order = np.random.default_rng(0).permutation(len(errors))  # neighbours are of one scene
    fit, check = order[::2], order[1::2]
    calibration = fit_calibration(errors[fit], log_variance[fit], disagreement[fit], pose_source)
    variance = calibration.variance(log_variance[check], disagreement[check])
    return calibration, coverage(errors[check], variance, calibration.tail)
