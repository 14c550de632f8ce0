"""What a data folder holds, what is missing, and pictures of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mkpose_ros.datasets.base import Dataset
from mkpose_ros.drawing import draw_instances, draw_poses, draw_text, tile_images
from mkpose_ros.errors import InputError
from mkpose_ros.types import FrameSample

__all__ = ["Inventory", "check_dataset", "draw_sample"]


@dataclass
class Inventory:
    """Counts of a data set; `companions` holds for each kind of file how many of the frames looked at have it."""

    name: str
    frames: int
    looked_at: int = 0
    readable: int = 0
    by_split: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    companions: Counter[str] = field(default_factory=Counter)
    expected: Counter[str] = field(default_factory=Counter)
    models: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))  # (split, category)
    detections: int = 0
    faults: list[dict[str, str]] = field(default_factory=list)

    @property
    def instances(self) -> int:
        """The objects with a pose in all readable frames."""
        return sum(sum(n for key, n in counts.items() if key != "frames") for counts in self.by_split.values())

    def to_json(self) -> dict[str, Any]:
        """Plain values, as `mkpose data check --json` writes them."""
        return {
            "name": self.name,
            "frames": self.frames,
            "looked_at": self.looked_at,
            "readable": self.readable,
            "instances": self.instances,
            "splits": {split: dict(counts) for split, counts in self.by_split.items()},
            "models": {f"{split}/{category}": len(names) for (split, category), names in self.models.items()},
            "detections": self.detections,
            "files": {kind: {"present": self.companions[kind], "of": of} for kind, of in self.expected.items()},
            "faults": self.faults,
        }


def check_dataset(
    dataset: Dataset,
    *,
    limit: int | None = None,
    draw_to: Path | None = None,
    drawn: int = 12,
    progress: Callable[[int, int], None] | None = None,
) -> Inventory:
    """Read frames (all, or `limit` of them evenly spread), count what they hold and draw samples into a folder.

    progress(done, total) is called after each frame.
    """
    inventory = Inventory(dataset.name, len(dataset))
    indices = np.unique(np.linspace(0, len(dataset) - 1, min(limit or len(dataset), len(dataset))).astype(int))
    to_draw = {int(i) for i in indices[np.linspace(0, len(indices) - 1, min(drawn, len(indices))).astype(int)]}
    pictures = []
    for done, index in enumerate(indices, start=1):
        frame = dataset.frames[index]
        inventory.looked_at += 1
        for kind, present in frame.companions().items():
            inventory.expected[kind] += 1
            inventory.companions[kind] += present
        try:
            sample = dataset[int(index)]
        except InputError as error:
            dataset.faults.note(frame.name, str(error))
        else:
            _count(inventory, frame.split, sample)
            if draw_to is not None and index in to_draw:
                pictures.append(_save(draw_sample(sample), draw_to / f"{sample.name.replace('/', '_')}.jpg"))
        if progress:
            progress(done, len(indices))
    inventory.faults = [{"file": fault.file, "problem": fault.problem} for fault in dataset.faults]
    if pictures and draw_to is not None:
        _save(tile_images(pictures, columns=2), draw_to / "overview.jpg")
    return inventory


def _count(inventory: Inventory, split: str, sample: FrameSample) -> None:
    inventory.readable += 1
    inventory.by_split[split]["frames"] += 1
    inventory.detections += len(sample.detections)
    for truth in sample.objects:
        inventory.by_split[split][truth.category] += 1
        inventory.models[split, truth.category].add(truth.model)


def draw_sample(sample: FrameSample) -> np.ndarray:
    """A picture (H, 2W, 3) uint8: boxes of the truth on the colour image, beside depth (near is bright) with masks."""
    left = draw_poses(sample.frame.rgb, sample.objects, sample.frame.intrinsics)
    depth_m = sample.frame.depth_m
    measured = depth_m[depth_m > 0.0]
    near, far = np.percentile(measured, [1.0, 99.0]) if len(measured) else (0.0, 1.0)
    shade = np.clip((far - depth_m) / max(far - near, 1e-6), 0.0, 1.0)
    right = cv2.cvtColor(cv2.applyColorMap((255 * shade).astype(np.uint8), cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)
    right[depth_m <= 0.0] = 0
    if sample.detections:
        right = draw_instances(right, sample.detections)
    else:
        edges = cv2.morphologyEx(sample.instance_ids.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
        right[edges > 0] = (255, 255, 255)
    picture = np.concatenate([left, right], axis=1)
    draw_text(picture, sample.name, (4, picture.shape[0] - 4), (32, 32, 36))
    return picture


def _save(picture: np.ndarray, path: Path) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 90])
    return picture
