"""The one interface behind which every source of instance masks stands."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from mkpose_ros.errors import InputError
from mkpose_ros.types import Instance, RgbdFrame

__all__ = ["OutsideMasks", "Segmenter", "calibrated_thresholds", "check_rgb"]


@runtime_checkable
class Segmenter(Protocol):
    """Finds objects: one frame in, its instances out, the most certain first; an empty list is a normal answer."""

    name: str

    def segment(self, frame: RgbdFrame) -> list[Instance]:
        """The instances of a frame, raw: see `postprocess.clean_instances` for what follows."""
        ...

    def close(self) -> None:
        """Release the engine; calling it again does nothing."""
        ...


def calibrated_thresholds(segmenter: Segmenter, least: float) -> dict[str, float]:
    """The score that instances of a category need: what the segmenter's model was calibrated to, and `least` at least.

    Categories without an entry, and segmenters without any, are for `least` alone.
    """
    return {name: max(score, least) for name, score in getattr(segmenter, "thresholds", {}).items()}


class OutsideMasks:
    """Masks of the user's own segmenter, handed in by the frame's stamp before the frame is processed.

    A frame without masks has no instances. At most `capacity` frames wait; the oldest is forgotten first.
    """

    name = "outside"

    def __init__(self, capacity: int = 8) -> None:
        self._capacity = capacity
        self._waiting: OrderedDict[int, list[Instance]] = OrderedDict()

    def put(self, stamp_ns: int, instances: Sequence[Instance]) -> None:
        """Keep the instances of the frame with this stamp until it is segmented."""
        self._waiting[stamp_ns] = list(instances)
        self._waiting.move_to_end(stamp_ns)
        while len(self._waiting) > self._capacity:
            self._waiting.popitem(last=False)

    def segment(self, frame: RgbdFrame) -> list[Instance]:
        """The instances put for this stamp, each at most once. Raises InputError when a mask is of another size."""
        instances = self._waiting.pop(frame.stamp_ns, [])
        expected = frame.depth_m.shape[:2]
        for instance in instances:
            if instance.mask.shape != expected:
                raise InputError(
                    f"outside masks: got {instance.mask.shape} (height, width), expected the frame's {expected}: "
                    "publish masks on the colour image's pixel grid"
                )
        return instances

    def close(self) -> None:
        self._waiting.clear()


def check_rgb(rgb: np.ndarray, where: str) -> np.ndarray:
    """A (H, W, 3) uint8 image with at least one pixel, unchanged. Raises InputError otherwise."""
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or rgb.size == 0:
        raise InputError(f"{where}: got an image {rgb.shape} {rgb.dtype}, expected (H, W, 3) uint8 in R G B order")
    return rgb
