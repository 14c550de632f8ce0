"""A frozen backbone, or its frozen first stages, run by OpenVINO while the rest trains by torch: cheaper on a CPU."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mkpose_ros.segmentation.maskrcnn.backbone import LEVEL_STAGES
from mkpose_ros.segmentation.maskrcnn.model import MaskRcnn, normalised

__all__ = ["bfloat16_is_fast", "frozen_features"]


def bfloat16_is_fast() -> bool:
    """Whether this CPU has instructions that multiply bfloat16: matrix units (AMX) or AVX512-BF16."""
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def frozen_features(model: MaskRcnn, batch: int, stages: int) -> Callable[[Tensor], dict[str, Tensor]]:
    """A function (batch, 3, H, W) uint8 -> {"c3": ..} of the backbone's first `stages` stages as they are now.

    It computes in bfloat16 where that is fast, in float32 elsewhere. Raises ImportError without
    OpenVINO.
    """
    import openvino

    fast = bfloat16_is_fast()
    names = [name for name in (f"c{level}" for level in model.config.pyramid) if LEVEL_STAGES[name] < stages]
    image = torch.zeros((batch, 3, model.config.input_height, model.config.input_width), dtype=torch.uint8)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer warns of constants
        path = Path(folder) / "backbone.onnx"
        torch.onnx.export(_BottomUp(model, names, stages), (image,), str(path), dynamo=False, opset_version=17)
        core = openvino.Core()
        properties = {
            "INFERENCE_PRECISION_HINT": "bf16" if fast else "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
        }
        request = core.compile_model(core.read_model(path), "CPU", properties).create_infer_request()

    def features(images: Tensor) -> dict[str, Tensor]:
        outputs = request.infer([images.contiguous().numpy()], share_inputs=True)
        found = {name: torch.from_numpy(np.array(outputs[i])) for i, name in enumerate(names)}
        kind = torch.bfloat16 if fast else torch.float32
        return {name: value.to(kind, memory_format=torch.channels_last) for name, value in found.items()}

    return features


class _BottomUp(nn.Module):
    def __init__(self, model: MaskRcnn, names: list[str], stages: int) -> None:
        super().__init__()
        self._bottom_up, self._names, self._stages = model.backbone.bottom_up, names, stages

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        features = self._bottom_up.of_colour(normalised(images), self._stages)
        return tuple(features[name] for name in self._names)
