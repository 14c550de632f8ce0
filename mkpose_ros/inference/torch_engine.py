"""MK-Pose by torch itself, from a checkpoint: the reference that the other engines are compared with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from mkpose_ros.errors import DeviceMemoryError, EngineError
from mkpose_ros.inference.base import INPUTS, OUTPUTS, PoseEngine
from mkpose_ros.inference.metadata import FORMAT_VERSION, ModelMetadata

__all__ = ["TorchEngine"]


class TorchEngine(PoseEngine):
    """The network of a .safetensors checkpoint, eager, on the CPU or on an NVIDIA GPU when there is one.

    ``threads`` is torch's own number for the whole process; 0 leaves it alone.
    """

    name = "torch"

    def __init__(self, checkpoint: Path, *, threads: int = 0, device: str = "cpu") -> None:
        from mkpose_ros.network.model import load_checkpoint

        if threads:
            torch.set_num_threads(threads)
        model, extra = load_checkpoint(checkpoint)
        self._model = model.to(device)
        self._device = torch.device(device)
        known = {name: extra[name] for name in ("categories", "text_hash", "calibration") if extra.get(name)}
        self.metadata = ModelMetadata(
            format_version=FORMAT_VERSION,
            size=model.config.name,
            crop_px=model.config.crop_px,
            n_points=model.config.n_points,
            categories=tuple(known.get("categories", ())),
            text_hash=known.get("text_hash", ""),
            calibration=known.get("calibration", {}),
            extra={name: value for name, value in extra.items() if name not in known},
            n_centres=model.config.point[0].points,
        )

    def close(self) -> None:
        self._model = None

    def _run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if self._model is None:
            raise EngineError("torch is closed: open the engine again")
        try:
            with torch.inference_mode():
                o = self._model(*(torch.from_numpy(inputs[name]).to(self._device) for name in INPUTS))
                symmetric = o.axis_symmetric_logit.sigmoid()
            values = (o.rotation, o.translation_m, o.size_m, o.keypoints_m, o.nocs, o.log_variance, symmetric)
            return {name: value.float().cpu().numpy() for name, value in zip(OUTPUTS, values, strict=True)}
        except torch.cuda.OutOfMemoryError as error:
            raise DeviceMemoryError(f"torch: {error}") from error

    def _free_memory(self) -> None:
        torch.cuda.empty_cache()
