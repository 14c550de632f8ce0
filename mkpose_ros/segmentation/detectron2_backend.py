"""Mask R-CNN by detectron2, for users who have its weights: any config of its model zoo or their own.

Needs torch and detectron2 (installed from its own repository), which are imported when a segmenter is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mkpose_ros.errors import DependencyError, EngineError, InputError, ModelError
from mkpose_ros.resources import share_path
from mkpose_ros.segmentation.base import check_rgb
from mkpose_ros.segmentation.canvas import frame_without_depth, relief_at
from mkpose_ros.segmentation.relief import COLOURS, RELIEF_CHANNELS
from mkpose_ros.types import Instance, RgbdFrame

__all__ = ["Detectron2Segmenter", "class_categories", "load_class_map"]


class Detectron2Segmenter:
    """A detectron2 model behind the segmenter's interface; half precision on a GPU, a batch of one, warmed up."""

    def __init__(
        self,
        config_path: str | Path | None,
        weights: str | Path | None = None,
        *,
        class_map: str = "coco",
        class_names: tuple[str, ...] | None = None,
        device: str = "cpu",
        score_threshold: float = 0.05,
        known: frozenset[str] | None = None,
    ) -> None:
        self.name = f"detectron2-{device}"
        self._torch, self._model, config = load_detectron2(config_path, weights, device, score_threshold)
        names = class_names or dataset_class_names(config)
        self.categories = class_categories(names, load_class_map(class_map), known)
        self._device, self._half = device, device.startswith("cuda")
        from detectron2.data.transforms import ResizeShortestEdge

        self._resize = ResizeShortestEdge([config.INPUT.MIN_SIZE_TEST] * 2, config.INPUT.MAX_SIZE_TEST)
        self._bgr = config.INPUT.FORMAT == "BGR"
        self._relief = len(config.MODEL.PIXEL_MEAN) == COLOURS + RELIEF_CHANNELS  # our network that sees depth too
        self._infer(frame_without_depth(np.zeros((480, 640, 3), np.uint8)))

    def segment(self, frame: RgbdFrame) -> list[Instance]:
        """The raw instances of a frame, most certain first."""
        if self._model is None:
            raise InputError("segmenter detectron2: used after close(); open it again")
        found = self._infer(frame).to("cpu")
        boxes, scores = found.pred_boxes.tensor.numpy(), found.scores.numpy()
        labels, masks = found.pred_classes.numpy(), found.pred_masks.numpy()
        return [
            Instance(masks[i], boxes[i].astype(np.float32), self.categories[labels[i]], float(scores[i]))
            for i in np.argsort(-scores, kind="stable")
            if self.categories[labels[i]] and masks[i].any()
        ]

    def close(self) -> None:
        self._model = None

    def _infer(self, frame: RgbdFrame) -> Any:
        rgb = check_rgb(frame.rgb, "segmenter detectron2")
        height, width = rgb.shape[:2]
        image = self._resize.get_transform(rgb).apply_image(rgb)  # as DefaultPredictor: other filters move the scores
        image = image[:, :, ::-1] if self._bgr else image
        image = np.dstack([image, relief_at(frame, *image.shape[:2])]) if self._relief else image
        tensor = self._torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32))
        half = self._torch.autocast("cuda", dtype=self._torch.float16) if self._half else nullcontext()
        with self._torch.inference_mode(), half:
            (result,) = self._model([{"image": tensor.to(self._device), "height": height, "width": width}])
        return result["instances"]


def load_detectron2(
    config_path: str | Path | None, weights: str | Path | None, device: str, score_threshold: float = 0.05
) -> tuple[Any, Any, Any]:
    """torch, the model in evaluation mode and its config. `config_path` is a file or a name of the model zoo.

    Raises DependencyError, InputError, ModelError or EngineError.
    """
    try:
        import torch
        from detectron2.checkpoint import DetectionCheckpointer
        from detectron2.config import get_cfg
        from detectron2.modeling import build_model
    except ImportError as error:
        raise DependencyError(
            f"segmenter detectron2: {error}; it needs torch and detectron2 (see "
            "https://detectron2.readthedocs.io/tutorials/install.html), or export the model elsewhere with "
            "`mkpose export-segmenter` and use the backend onnxruntime"
        ) from error
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise EngineError(f"segmenter detectron2: device {device}, but torch sees no GPU; use device cpu")
    if config_path is None:
        raise InputError("segmenter detectron2: no config given; a YAML file or a model zoo name is needed")
    config = get_cfg()
    config.set_new_allowed(True)
    config.merge_from_file(str(config_path) if Path(config_path).is_file() else _zoo_config(str(config_path)))
    if config.MODEL.BACKBONE.NAME == "build_efficientnet_lite_fpn_backbone":
        import mkpose_ros.segmentation.maskrcnn.detectron2_backbone  # noqa: F401  (registers our backbone)
    if weights is None or not Path(weights).is_file():
        raise ModelError(f"segmenter detectron2: weights {weights}: no such file; download them or give their path")
    config.MODEL.DEVICE, config.MODEL.WEIGHTS = device, str(weights)
    config.MODEL.ROI_HEADS.SCORE_THRESH_TEST = score_threshold
    model = build_model(config).eval()
    DetectionCheckpointer(model).load(str(weights))
    return torch, model, config


def _zoo_config(name: str) -> str:
    """The path of a config of the model zoo."""
    try:
        from detectron2 import model_zoo

        return model_zoo.get_config_file(name)
    except RuntimeError as error:
        raise InputError(f"segmenter detectron2: {name} is no file and no name of the model zoo") from error
    except ImportError as error:  # of pkg_resources, which newer setuptools lack
        raise DependencyError(
            f"segmenter detectron2: {name} is no file, and its model zoo does not load ({error}); give a YAML file's "
            "path, or pip install 'setuptools<81'"
        ) from error


def load_class_map(name_or_path: str) -> Mapping[str, str] | None:
    """A map from a data set's class names to ours, by its name in config/class_maps.yaml or from a YAML file.

    None is the map "identity": names are ours already. Raises InputError.
    """
    if name_or_path == "identity":
        return None
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        maps = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
        if not isinstance(maps, dict):
            raise InputError(f"class map {path}: expected a YAML file with one mapping `their name: our name`")
        return maps
    maps = yaml.safe_load(share_path("config", "class_maps.yaml").read_text(encoding="utf-8"))
    if name_or_path not in maps:
        raise InputError(f"class map: got {name_or_path!r}, expected identity, {', '.join(maps)} or a YAML file")
    return maps[name_or_path]


def class_categories(
    names: tuple[str, ...], class_map: Mapping[str, str] | None, known: frozenset[str] | None
) -> tuple[str, ...]:
    """Our category for each label, "" where there is none: not in the map, or without a description."""
    ours = names if class_map is None else tuple(class_map.get(name, "") for name in names)
    return tuple(name if known is None or name in known else "" for name in ours)


def dataset_class_names(config: Any) -> tuple[str, ...]:
    """The class names of the data set a detectron2 config was trained on. Raises InputError when unknown."""
    from detectron2.data import MetadataCatalog

    names: list[str] = []
    for dataset in config.DATASETS.TRAIN or config.DATASETS.TEST:
        names = list(getattr(MetadataCatalog.get(dataset), "thing_classes", []))
    expected = int(config.MODEL.ROI_HEADS.NUM_CLASSES)
    if len(names) != expected:
        raise InputError(
            f"segmenter detectron2: the config's data set names {len(names)} classes, the model has {expected}; "
            "name them with class_names"
        )
    return tuple(names)
