"""A detectron2 Mask R-CNN as an ONNX file of the segmenter's contract, for machines without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mkpose_ros.segmentation.detectron2_backend import (
    class_categories,
    dataset_class_names,
    load_class_map,
    load_detectron2,
)
from mkpose_ros.segmentation.maskrcnn.export import write_onnx

__all__ = ["Detectron2AsModule", "export_detectron2"]


class Detectron2AsModule(nn.Module):
    """A GeneralizedRCNN as (H, W, 3) uint8 R G B -> boxes (N, 4), scores (N,), labels (N,), masks (N, m, m)."""

    def __init__(self, model: nn.Module, bgr: bool) -> None:
        super().__init__()
        self._model, self._bgr = model, bgr

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        pixels = image.permute(2, 0, 1).to(torch.float32)
        pixels = pixels.flip(0) if self._bgr else pixels
        (found,) = self._model.inference([{"image": pixels}], do_postprocess=False)
        return found.pred_boxes.tensor, found.scores, found.pred_classes, found.pred_masks[:, 0]


def export_detectron2(
    config_path: str,
    weights: str,
    path: Path,
    *,
    input_height: int = 480,
    input_width: int = 640,
    class_map: str = "coco",
    class_names: tuple[str, ...] | None = None,
) -> nn.Module:
    """Write a detectron2 model as ONNX and return it as a module, for `agreement`. Pictures are fitted to the input."""
    _, model, config = load_detectron2(config_path, weights, "cpu")
    names = class_names or dataset_class_names(config)
    module = Detectron2AsModule(model, config.INPUT.FORMAT == "BGR").eval()
    metadata: dict[str, Any] = {
        "name": f"detectron2 {Path(config_path).stem}",
        "input_height": input_height,
        "input_width": input_width,
        "fill": round(sum(config.MODEL.PIXEL_MEAN) / 3),
        "categories": list(class_categories(names, load_class_map(class_map), None)),
    }
    from detectron2.export.torchscript_patch import patch_builtin_len

    with patch_builtin_len():  # or the numbers of objects in the traced picture become constants of the file
        write_onnx(module, path, metadata)
    return module
