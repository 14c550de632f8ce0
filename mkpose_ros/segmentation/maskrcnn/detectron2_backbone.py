"""Our Mask R-CNN as a detectron2 model: the backbone, registered; the config; the weights file.

Importing this module needs detectron2 and registers `build_efficientnet_lite_fpn_backbone`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from detectron2.modeling.backbone.fpn import FPN, LastLevelMaxPool

from mkpose_ros.segmentation.maskrcnn.backbone import EfficientNetLite
from mkpose_ros.segmentation.maskrcnn.config import MaskRcnnConfig
from mkpose_ros.segmentation.maskrcnn.model import BOX_WEIGHTS, PIXEL_MEAN, PIXEL_STD, RPN_LEVELS, RPN_WEIGHTS, MaskRcnn
from mkpose_ros.segmentation.relief import COLOURS, RELIEF_CHANNELS

__all__ = ["build_efficientnet_lite_fpn_backbone", "detectron2_settings", "write_detectron2"]

BOTTOM_UP_LEVELS = ["c2", "c3", "c4", "c5"]


class _BottomUp(EfficientNetLite, Backbone):
    def output_shape(self) -> dict[str, ShapeSpec]:
        return {
            level: ShapeSpec(channels=self.channels[level], stride=2 ** int(level[1])) for level in BOTTOM_UP_LEVELS
        }


@BACKBONE_REGISTRY.register()
def build_efficientnet_lite_fpn_backbone(cfg: Any, input_shape: ShapeSpec) -> FPN:
    """detectron2's FPN over EfficientNet-Lite; cfg.MODEL.EFFICIENTNET_LITE.NAME is lite0 or lite2.

    An input of more channels than the colours' has relief behind them.
    """
    return FPN(
        bottom_up=_BottomUp(cfg.MODEL.EFFICIENTNET_LITE.NAME, relief=input_shape.channels > COLOURS),
        in_features=cfg.MODEL.FPN.IN_FEATURES,
        out_channels=cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        top_block=LastLevelMaxPool(),
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )


def detectron2_settings(config: MaskRcnnConfig) -> dict[str, Any]:
    """The detectron2 config, as nested dictionaries, under which our weights mean the same."""
    channels = COLOURS + RELIEF_CHANNELS * config.relief
    pooled = {"POOLER_TYPE": "ROIAlignV2", "POOLER_SAMPLING_RATIO": config.pool_samples}
    return {
        "VERSION": 2,
        "INPUT": {
            "FORMAT": "RGB",
            "MIN_SIZE_TEST": min(config.input_height, config.input_width),
            "MAX_SIZE_TEST": max(config.input_height, config.input_width),
        },
        "TEST": {"DETECTIONS_PER_IMAGE": config.detections},
        "MODEL": {
            "META_ARCHITECTURE": "GeneralizedRCNN",
            "MASK_ON": True,
            "PIXEL_MEAN": [PIXEL_MEAN] * channels,
            "PIXEL_STD": [PIXEL_STD] * channels,
            "BACKBONE": {"NAME": build_efficientnet_lite_fpn_backbone.__name__},
            "EFFICIENTNET_LITE": {"NAME": config.backbone},
            "FPN": {
                "IN_FEATURES": [f"c{level}" for level in config.pyramid],
                "OUT_CHANNELS": config.fpn_channels,
                "NORM": "",
            },
            "PROPOSAL_GENERATOR": {"NAME": "RPN"},
            "ANCHOR_GENERATOR": {
                "SIZES": [list(sizes) for sizes in config.anchor_sizes],
                "ASPECT_RATIOS": [list(config.anchor_ratios)],
                "OFFSET": 0.5,
            },
            "RPN": {
                "IN_FEATURES": [f"p{level}" for level in RPN_LEVELS],
                "PRE_NMS_TOPK_TEST": config.pre_nms_top,
                "POST_NMS_TOPK_TEST": config.proposals,
                "NMS_THRESH": config.rpn_nms_iou,
                "BBOX_REG_WEIGHTS": list(RPN_WEIGHTS),
            },
            "ROI_HEADS": {
                "NAME": "StandardROIHeads",
                "IN_FEATURES": [f"p{level}" for level in config.pyramid],
                "NUM_CLASSES": len(config.categories),
                "NMS_THRESH_TEST": config.nms_iou,
                "SCORE_THRESH_TEST": config.min_score,
            },
            "ROI_BOX_HEAD": {
                "NAME": "FastRCNNConvFCHead",
                "NUM_CONV": config.box_head_convolutions,
                "CONV_DIM": config.fpn_channels,
                "NUM_FC": 2,
                "FC_DIM": config.box_head_channels,
                "CLS_AGNOSTIC_BBOX_REG": True,
                "BBOX_REG_WEIGHTS": list(BOX_WEIGHTS),
                "POOLER_RESOLUTION": 7,
                **pooled,
            },
            "ROI_MASK_HEAD": {
                "NAME": "MaskRCNNConvUpsampleHead",
                "NUM_CONV": config.mask_head_convolutions,
                "CONV_DIM": config.mask_head_channels,
                "CLS_AGNOSTIC_MASK": True,
                "POOLER_RESOLUTION": 14,
                **pooled,
            },
        },
    }


def write_detectron2(model: MaskRcnn, folder: Path) -> tuple[Path, Path]:
    """Write `config.yaml` and `model.pth` with which `Detectron2Segmenter` and detectron2 itself run our model."""
    folder.mkdir(parents=True, exist_ok=True)
    config_path, weights_path = folder / "config.yaml", folder / "model.pth"
    config_path.write_text(yaml.safe_dump(detectron2_settings(model.config), sort_keys=False), encoding="utf-8")
    torch.save({"model": model.state_dict()}, weights_path)
    return config_path, weights_path
