"""Mask R-CNN from an ONNX file, ours or an exported detectron2 one.

The file's contract (written by `mkpose export-segmenter`):

- input `image`: (h, w, 3) uint8 R G B of the fixed size in the metadata; the picture top left, the rest filled; with
  `relief` in the metadata (h, w, 7), the channels of `mkpose_ros.segmentation.relief` behind the colours;
- outputs `boxes` (N, 4) float32 in pixels of that input, `scores` (N,), `labels` (N,) int64, `masks` (N, m, m)
  float32 probabilities inside each box;
- metadata_props key `mkpose`: JSON {format_version, kind: "segmenter", input_height, input_width, fill, relief,
  categories}, where categories[label] is our name of the class, or "" for one to be skipped; and `thresholds`, if it
  is calibrated: {category: the score below which its instances are mostly false}.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mkpose_ros.array_pool import ArrayPool, Empty
from mkpose_ros.errors import InputError, ModelError
from mkpose_ros.segmentation.canvas import fitted
from mkpose_ros.segmentation.masks import paste_mask
from mkpose_ros.segmentation.sessions import Session, open_session
from mkpose_ros.types import Instance, RgbdFrame

__all__ = ["FORMAT_VERSION", "OnnxMaskRcnn", "SegmenterMetadata"]

FORMAT_VERSION = 1
OUTPUTS = ("boxes", "scores", "labels", "masks")


@dataclass(frozen=True)
class SegmenterMetadata:
    """What an ONNX file says of itself."""

    input_height: int
    input_width: int
    categories: tuple[str, ...]  # by label; "" is a class to skip
    fill: int = 127  # grey level of the canvas beside the picture
    relief: bool = False  # depth is part of the input
    thresholds: Mapping[str, float] = field(default_factory=dict)  # calibrated, by category

    @classmethod
    def parse(cls, metadata: dict[str, Any], path: Path) -> SegmenterMetadata:
        """Check and read the JSON of an ONNX file. Raises ModelError when it is another kind of model."""
        kind, version = metadata.get("kind"), metadata.get("format_version")
        if kind != "segmenter" or version != FORMAT_VERSION:
            raise ModelError(
                f"segmenter model {path}: kind {kind!r}, format {version!r}; expected kind 'segmenter', format "
                f"{FORMAT_VERSION}: use an ONNX file written by `mkpose export-segmenter`"
            )
        try:
            return cls(
                int(metadata["input_height"]),
                int(metadata["input_width"]),
                tuple(str(name) for name in metadata["categories"]),
                int(metadata.get("fill", 127)),
                bool(metadata.get("relief", False)),
                {str(name): float(score) for name, score in metadata.get("thresholds", {}).items()},
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ModelError(f"segmenter model {path}: incomplete metadata ({error!r}); export it again") from error

    def canvas(self, frame: RgbdFrame, empty: Empty = np.empty) -> tuple[np.ndarray, float]:
        """The network's input of a frame, and its scale: `canvas.fitted` of the model's size."""
        return fitted(frame, self.input_height, self.input_width, self.fill, self.relief, empty)


class OnnxMaskRcnn:
    """Mask R-CNN by ONNX: resize, run, paste masks inside their boxes.

    `score_threshold` is a floor below which masks are not even pasted; `known_categories` are the names that have a
    description: instances of other classes are left out and counted in `skipped_classes`.
    """

    def __init__(
        self,
        model_path: Path,
        *,
        runtime: str = "auto",
        device: str = "cpu",
        threads: int = 0,
        precision: str = "fp32",
        score_threshold: float = 0.05,
        known_categories: frozenset[str] | None = None,
    ) -> None:
        self._session: Session | None = open_session(model_path, runtime, device, threads, precision)
        self.metadata = SegmenterMetadata.parse(self._session.metadata, Path(model_path))
        self.name = f"maskrcnn-{self._session.name}"
        self.skipped_classes: dict[str, int] = {}
        self._score_threshold = score_threshold
        self._known = known_categories
        self._arrays = ArrayPool()  # for canvases and masks

    @property
    def thresholds(self) -> Mapping[str, float]:
        """The file's calibrated score threshold of each category, as far as it has some."""
        return self.metadata.thresholds

    def segment(self, frame: RgbdFrame, on_stage: Callable[[str], None] = lambda _: None) -> list[Instance]:
        """The raw instances of a frame, most certain first; `on_stage` is told when preprocess, network, paste end."""
        if self._session is None:
            raise InputError("segmenter: used after close(); open it again")
        canvas, scale = self.metadata.canvas(frame, self._arrays.empty)
        height, width = frame.rgb.shape[:2]
        on_stage("preprocess")
        outputs = self._session.run({"image": canvas})
        on_stage("network")
        instances = self._instances(outputs, scale, height, width)
        on_stage("paste")
        return instances

    def close(self) -> None:
        self._session = None

    def _instances(self, outputs: dict[str, np.ndarray], scale: float, height: int, width: int) -> list[Instance]:
        boxes, scores, labels, masks = (outputs[name] for name in OUTPUTS)
        instances = []
        for i in np.argsort(-scores, kind="stable"):
            category = self._category(int(labels[i]))
            if not scores[i] >= self._score_threshold or not category:
                continue
            box = np.clip(boxes[i] / scale, 0, [width, height, width, height]).astype(np.float32)
            mask = paste_mask(masks[i], box, height, width, empty=self._arrays.empty)
            if mask.any():
                instances.append(Instance(mask, box, category, float(scores[i])))
        return instances

    def _category(self, label: int) -> str:
        names = self.metadata.categories
        name = names[label] if 0 <= label < len(names) else f"label {label}"
        if name and (self._known is None or name in self._known) and 0 <= label < len(names):
            return name
        if name:
            self.skipped_classes[name] = self.skipped_classes.get(name, 0) + 1
        return ""
