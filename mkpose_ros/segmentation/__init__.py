"""Instance masks: Mask R-CNN by ONNX (default), Mask R-CNN by detectron2, masks from outside."""

from __future__ import annotations

from pathlib import Path

from mkpose_ros.categories import load_categories
from mkpose_ros.errors import InputError
from mkpose_ros.resources import share_path
from mkpose_ros.segmentation.base import OutsideMasks, Segmenter, calibrated_thresholds
from mkpose_ros.segmentation.masks import instances_from_label_image, label_image
from mkpose_ros.segmentation.postprocess import CleanConfig, clean_instances

__all__ = [
    "BACKENDS",
    "CleanConfig",
    "OutsideMasks",
    "Segmenter",
    "calibrated_thresholds",
    "clean_instances",
    "instances_from_label_image",
    "label_image",
    "open_segmenter",
]

BACKENDS = ("auto", "openvino", "onnxruntime", "detectron2", "outside")


def open_segmenter(
    backend: str = "auto",
    model_path: str | Path | None = None,
    *,
    device: str = "cpu",
    threads: int = 0,
    precision: str = "fp32",
    score_threshold: float = 0.05,
    categories_file: Path | None = None,
    config_path: str | Path | None = None,
    class_map: str = "identity",
) -> Segmenter:
    """Open a source of instance masks.

    `backend`: auto (the ONNX file by the best runtime at hand), openvino, onnxruntime, detectron2, or outside
    (masks from a topic). `model_path`: an ONNX file (default: the shipped one) or detectron2's weights, which also
    need `config_path` and the name of a map in config/class_maps.yaml. `precision` is that of an ONNX file's
    arithmetic, see `open_session`. Classes without an entry in the categories file are skipped. Raises InputError,
    ModelError, EngineError or DependencyError.
    """
    if backend not in BACKENDS:
        raise InputError(f"segmentation backend: got {backend!r}, expected one of {', '.join(BACKENDS)}")
    known = frozenset(load_categories(categories_file))
    if backend == "outside":
        return OutsideMasks()
    if backend == "detectron2":
        from mkpose_ros.segmentation.detectron2_backend import Detectron2Segmenter

        return Detectron2Segmenter(
            config_path, model_path, class_map=class_map, device=device, score_threshold=score_threshold, known=known
        )
    from mkpose_ros.segmentation.onnx_maskrcnn import OnnxMaskRcnn

    return OnnxMaskRcnn(
        Path(model_path) if model_path else share_path("models", "segmenter", "model.onnx"),
        runtime=backend,
        device=device,
        threads=threads,
        precision=precision,
        score_threshold=score_threshold,
        known_categories=known,
    )
