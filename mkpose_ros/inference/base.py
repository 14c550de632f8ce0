"""The one interface behind which every inference engine runs MK-Pose."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod

import numpy as np

from mkpose_ros.errors import DeviceMemoryError, EngineError, InputError
from mkpose_ros.inference.metadata import ModelMetadata

__all__ = ["INPUTS", "MAX_BATCH", "OUTPUTS", "PoseEngine", "blank_inputs", "check_inputs"]

INPUTS = {"image": np.uint8, "points": np.float32, "pixels": np.float32, "text": np.float32, "text_mask": np.float32}
OUTPUTS = ("rotation", "translation", "size", "keypoints", "nocs", "log_variance", "axis_symmetric")
MAX_BATCH = 16  # instances in one run of an engine; more are run one after the other

logger = logging.getLogger(__name__)


class PoseEngine(ABC):
    """MK-Pose on one device: a batch of instances in, their poses out.

    Inputs, all with the same B >= 0: ``image (B, S, S, 3)`` uint8; ``points (B, N, 3)`` in metres, camera axes,
    centred; ``pixels (B, N, 2)``; ``text (B, T, D)``; ``text_mask (B, T)``; float32 but for the image.
    Outputs, float32: ``rotation (B, 3, 3)``; ``translation (B, 3)`` in metres from the points' origin; ``size (B, 3)``
    and ``keypoints (B, K, 3)`` in metres; ``nocs (B, K, 3)``; ``log_variance (B, 6)``; ``axis_symmetric (B,)``,
    the probability that the object, as seen now, is continuous about its y axis.
    """

    name: str
    metadata: ModelMetadata
    max_batch: int = MAX_BATCH
    slow_first_batches: tuple[int, ...] = (1,)  # sizes whose first run takes much longer than the next

    def infer(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run B instances, at most ``max_batch`` at a time.

        When the device's memory does not suffice, what can be freed is freed and half the batch is tried, from then
        on always. Raises InputError for wrong inputs, EngineError when the engine fails.
        """
        batch = check_inputs(inputs, self.metadata)
        parts, start = [], 0
        while start < batch or not parts:
            rows = {name: inputs[name][start : start + self.max_batch] for name in INPUTS}
            try:
                parts.append(self._run(rows) if batch else self._run_nothing(rows))
            except DeviceMemoryError as error:
                self._halve_batch(len(rows["points"]), error)
                continue
            start += len(rows["points"])
        return parts[0] if len(parts) == 1 else {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}

    def warm_up(self, text_shape: tuple[int, int], batches: tuple[int, ...] = ()) -> None:
        """Run batches of these sizes once, so that no frame pays for it; (): those that the engine is slow to start.

        ``text_shape``: (T, D) of the text features.
        """
        for batch in batches or self.slow_first_batches:
            self.infer(blank_inputs(self.metadata, batch, text_shape))

    @abstractmethod
    def close(self) -> None:
        """Free the device; the engine can't be used any more. Safe to call twice."""

    @abstractmethod
    def _run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run 1 to max_batch checked instances."""

    def _free_memory(self) -> None:  # noqa: B027 - most engines have nothing to spare
        """Give back what device memory can be spared."""

    def _run_nothing(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        text_shape = inputs["text"].shape[1:]
        outputs = self._run(blank_inputs(self.metadata, 1, text_shape))
        return {name: value[:0] for name, value in outputs.items()}

    def _halve_batch(self, batch: int, error: DeviceMemoryError) -> None:
        if batch <= 1:
            raise EngineError(f"{self.name}: one instance does not fit the device's memory: {error}") from error
        self.max_batch = batch // 2
        self._free_memory()
        logger.warning("%s: no memory for a batch of %d; %d from now on (%s)", self.name, batch, self.max_batch, error)


def blank_inputs(metadata: ModelMetadata, batch: int, text_shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """Inputs of the right shapes: a grey crop and points spread over a small ball."""
    rng = np.random.default_rng(0)
    return {
        "image": np.full((batch, metadata.crop_px, metadata.crop_px, 3), 128, np.uint8),
        "points": rng.normal(0.0, 0.03, (batch, metadata.n_points, 3)).astype(np.float32),
        "pixels": rng.uniform(-1.0, 1.0, (batch, metadata.n_points, 2)).astype(np.float32),
        "text": np.zeros((batch, *text_shape), np.float32),
        "text_mask": np.ones((batch, text_shape[0]), np.float32),
    }


def check_inputs(inputs: dict[str, np.ndarray], metadata: ModelMetadata) -> int:
    """The batch size B of an engine's inputs. Raises InputError for names, shapes, types or values that are wrong."""
    missing = [name for name in INPUTS if name not in inputs]
    if missing:
        raise InputError(f"engine inputs lack {', '.join(missing)}: got {', '.join(inputs)}")
    batch = len(inputs["image"])
    text = inputs["text"].shape
    shapes = {
        "image": (batch, metadata.crop_px, metadata.crop_px, 3),
        "points": (batch, metadata.n_points, 3),
        "pixels": (batch, metadata.n_points, 2),
        "text": (batch, *text[1:]) if len(text) == 3 else (batch, "T", "D"),
        "text_mask": (batch, *text[1:2]),
    }
    for name, dtype in INPUTS.items():
        if inputs[name].shape != shapes[name] or inputs[name].dtype != dtype:
            raise InputError(
                f"engine input {name} is {inputs[name].dtype} {inputs[name].shape}, expected "
                f"{np.dtype(dtype)} {shapes[name]} for model {metadata.size}: make it with make_crops and TextFeatures"
            )
    for name in ("points", "pixels"):
        if not np.isfinite(inputs[name]).all():
            raise InputError(
                f"engine input {name} holds NaN or infinity: remove invalid depth before (make_crops does)"
            )
    return batch
