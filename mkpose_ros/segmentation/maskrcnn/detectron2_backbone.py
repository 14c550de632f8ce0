"""Our Mask R-CNN as a detectron2 model: the backbone and the heads, registered; the config; the weights file.

Importing this module needs detectron2 and registers `build_efficientnet_lite_fpn_backbone` and `RepeatedBoxROIHeads`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from detectron2.config import configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from detectron2.modeling.backbone.fpn import FPN, LastLevelMaxPool
from detectron2.modeling.roi_heads import ROI_HEADS_REGISTRY, CascadeROIHeads
from detectron2.modeling.roi_heads.fast_rcnn import fast_rcnn_inference
from detectron2.structures import Instances

from mkpose_ros.segmentation.maskrcnn.backbone import EfficientNetLite
from mkpose_ros.segmentation.maskrcnn.boxes import clip_boxes, voted
from mkpose_ros.segmentation.maskrcnn.config import MaskRcnnConfig
from mkpose_ros.segmentation.maskrcnn.model import BOX_WEIGHTS, PIXEL_MEAN, PIXEL_STD, RPN_LEVELS, RPN_WEIGHTS, MaskRcnn
from mkpose_ros.segmentation.relief import COLOURS, RELIEF_CHANNELS

__all__ = ["RepeatedBoxROIHeads", "build_efficientnet_lite_fpn_backbone", "detectron2_settings", "write_detectron2"]

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


@ROI_HEADS_REGISTRY.register()
class RepeatedBoxROIHeads(CascadeROIHeads):
    """A cascade whose stages are one and the same head, or of whose stages all but the first are
    (cfg.MODEL.ROI_HEADS.OWN_SECOND_HEAD), and whose boxes become the means of those that overlap by more than
    cfg.MODEL.ROI_HEADS.BOX_VOTE_IOU."""

    @classmethod
    def from_config(cls, cfg: Any, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        own = {"box_vote_iou": cfg.MODEL.ROI_HEADS.BOX_VOTE_IOU, "own_second_head": cfg.MODEL.ROI_HEADS.OWN_SECOND_HEAD}
        return super().from_config(cfg, input_shape) | own

    @configurable
    def __init__(
        self, *, box_vote_iou: float, own_second_head: bool, box_heads: list, box_predictors: list, **others: Any
    ) -> None:
        heads = [min(stage, int(own_second_head)) for stage in range(len(box_heads))]
        super().__init__(
            box_heads=[box_heads[i] for i in heads], box_predictors=[box_predictors[i] for i in heads], **others
        )
        self.box_vote_iou = box_vote_iou

    def _forward_box(self, features: dict[str, torch.Tensor], proposals: list[Instances], targets: Any = None) -> Any:
        if self.training:
            return super()._forward_box(features, proposals, targets)
        levels = [features[level] for level in self.box_in_features]
        sizes, counts = [p.image_size for p in proposals], [len(p) for p in proposals]
        boxes, logits = None, []
        for stage in range(self.num_cascade_stages):
            proposals = self._create_proposals_from_boxes(boxes, sizes) if stage else proposals
            found = self._run_stage(levels, proposals, stage)
            logits.append(found[0])
            boxes = self.box_predictor[stage].predict_boxes(found, proposals)
        scores = torch.softmax(sum(logits) / len(logits), dim=1).split(counts)
        boxes = [
            voted(clip_boxes(b, *size), 1.0 - s[:, -1], self.box_vote_iou)
            for b, s, size in zip(boxes, scores, sizes, strict=True)
        ]
        predictor = self.box_predictor[0]
        least, overlap, most = predictor.test_score_thresh, predictor.test_nms_thresh, predictor.test_topk_per_image
        return fast_rcnn_inference(boxes, scores, sizes, least, overlap, most)[0]


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
                "NAME": RepeatedBoxROIHeads.__name__ if _looks_again(config) else "StandardROIHeads",
                "IN_FEATURES": [f"p{level}" for level in config.pyramid],
                "NUM_CLASSES": len(config.categories),
                "NMS_THRESH_TEST": config.nms_iou,
                "SCORE_THRESH_TEST": config.min_score,
                "BOX_VOTE_IOU": config.box_vote_iou,
                "OWN_SECOND_HEAD": config.own_second_head,
            },
            "ROI_BOX_CASCADE_HEAD": {
                "IOUS": [min(0.5 + 0.1 * i, 0.7) for i in range(config.box_passes)],  # to train it by detectron2
                "BBOX_REG_WEIGHTS": [list(BOX_WEIGHTS)] * config.box_passes,
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
    weights = model.state_dict()
    if _looks_again(model.config):
        weights = _by_stage(weights, model.config.box_passes)
    torch.save({"model": weights}, weights_path)
    return config_path, weights_path


def _by_stage(weights: dict[str, torch.Tensor], stages: int) -> dict[str, torch.Tensor]:
    """The weights as a cascade names them: `roi_heads.box_head.fc1.weight` is `roi_heads.box_head.0.fc1.weight`, and
    `roi_heads.box_head_again.fc1.weight`, where there is one, that of all later stages."""
    named = {}
    for name, value in weights.items():
        heads, part, *rest = name.split(".")
        again = part.endswith("_again")
        if heads != "roi_heads" or part == "mask_head":
            named[name] = value
            continue
        own_second_head = again or f"{heads}.{part}_again.{'.'.join(rest)}" in weights
        for stage in range(1, stages) if again else range(1) if own_second_head else range(stages):
            named[".".join([heads, part.removesuffix("_again"), str(stage), *rest])] = value
    return named


def _looks_again(config: MaskRcnnConfig) -> bool:
    return config.box_passes > 1 or config.box_vote_iou < 1.0
