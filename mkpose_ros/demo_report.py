"""What the demo shows: errors against ground truth, an overlay video and a contact sheet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mkpose_ros.drawing import draw_poses, draw_text, tile_images
from mkpose_ros.evaluation.evaluator import evaluate
from mkpose_ros.evaluation.protocol import Mode, protocol_for
from mkpose_ros.types import ObjectPose, ObjectTruth, RgbdFrame

__all__ = ["demo_summary", "write_pictures"]


def demo_summary(
    predictions: Sequence[Sequence[ObjectPose]],
    truths: Sequence[Sequence[ObjectTruth]],
    stages_ms: Sequence[dict[str, float]],
) -> dict[str, Any]:
    """The demo's JSON (docs/cli.md): counts, median errors of the objects found, IoU50 and median stage times.

    IoU50 is the average precision in percent at an exact oriented IoU of 0.5, the mean over the recorded categories.
    """
    categories = tuple(sorted({truth.category for objects in truths for truth in objects}))
    report = evaluate(predictions, truths, Mode.EXACT, protocol=protocol_for(categories))
    statistics = report.statistics.summary()

    def median(names: Sequence[str]) -> float:
        return float(np.median([sum(stages.get(name, 0.0) for name in names) for stages in stages_ms]))

    named = ("segmentation", "engine")
    other = sorted({name for stages in stages_ms for name in stages} - set(named))
    return {
        "frames": len(predictions),
        "detections": sum(len(objects) for objects in predictions),
        "median_rotation_deg": statistics["median_rotation_deg"],
        "median_translation_cm": statistics["median_translation_cm"],
        "iou50": report.mean("iou50"),
        "stages_ms": {"segmentation": median(["segmentation"]), "pose": median(["engine"]), "other": median(other)},
    }


def write_pictures(
    out: Path, frames: Sequence[RgbdFrame], predictions: Sequence[Sequence[ObjectPose]], rate_hz: float
) -> tuple[Path, Path]:
    """Write overlay.mp4 and contact_sheet.png into a folder and return both paths."""
    out.mkdir(parents=True, exist_ok=True)
    overlays = [_overlay(frame, objects) for frame, objects in zip(frames, predictions, strict=True)]
    height, width = overlays[0].shape[:2]
    video = cv2.VideoWriter(str(out / "overlay.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), rate_hz, (width, height))
    for overlay in overlays:
        video.write(np.ascontiguousarray(overlay[..., ::-1]))
    video.release()
    chosen = np.unique(np.linspace(0, len(overlays) - 1, 6).round().astype(int))
    sheet = tile_images([overlays[i] for i in chosen], columns=3)
    cv2.imwrite(str(out / "contact_sheet.png"), sheet[..., ::-1])
    return out / "overlay.mp4", out / "contact_sheet.png"


def _overlay(frame: RgbdFrame, objects: Sequence[ObjectPose]) -> np.ndarray:
    image = draw_poses(frame.rgb, objects, frame.intrinsics)
    draw_text(image, f"{len(objects)} objects", (4, image.shape[0] - 4), (40, 40, 40))
    return image
