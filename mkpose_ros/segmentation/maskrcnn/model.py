"""Mask R-CNN: images to pyramid, pyramid to proposals, proposals to boxes with classes, boxes to masks.

Parameters carry detectron2's names (GeneralizedRCNN), so one set of weights serves both.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mkpose_ros.segmentation.maskrcnn.backbone import EfficientNetLite, FeaturePyramid
from mkpose_ros.segmentation.maskrcnn.boxes import anchors_of_level, clip_boxes, decode, nms, offset_by_group, voted
from mkpose_ros.segmentation.maskrcnn.config import MaskRcnnConfig
from mkpose_ros.segmentation.maskrcnn.heads import BOX_POOL, MASK_POOL, BoxHead, BoxPredictor, MaskHead, RpnHead
from mkpose_ros.segmentation.maskrcnn.roi_align import roi_align_pyramid
from mkpose_ros.segmentation.relief import COLOURS

__all__ = ["BOX_WEIGHTS", "PIXEL_MEAN", "PIXEL_STD", "RPN_LEVELS", "RPN_WEIGHTS", "MaskRcnn", "normalised"]

PIXEL_MEAN, PIXEL_STD = 127.0, 128.0  # EfficientNet-Lite's normalisation; a canvas filled with 127 becomes zero
RPN_LEVELS = (3, 4, 5, 6)
RPN_WEIGHTS = (1.0, 1.0, 1.0, 1.0)  # of box deltas: detectron2's defaults
BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
NEVER = -1e4  # the logit of a proposal that must not be chosen


def normalised(images: Tensor) -> Tensor:
    """Bytes as the backbone takes them."""
    return (images.to(torch.float32) - PIXEL_MEAN) / PIXEL_STD


class MaskRcnn(nn.Module):
    """The network; `forward` detects in one image, `mkpose_ros.segmentation.maskrcnn.losses` trains it."""

    def __init__(self, config: MaskRcnnConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = FeaturePyramid(
            EfficientNetLite(config.backbone, config.relief), config.fpn_channels, config.pyramid
        )
        self.proposal_generator = nn.ModuleDict({"rpn_head": RpnHead(config)})
        self.roi_heads = nn.ModuleDict(
            {"box_head": BoxHead(config), "box_predictor": BoxPredictor(config), "mask_head": MaskHead(config)}
        )
        if config.own_second_head:
            self.roi_heads.update({"box_head_again": BoxHead(config), "box_predictor_again": BoxPredictor(config)})
        self.frozen_features: Callable[[Tensor], dict[str, Tensor]] | None = None  # a faster way of its first stages
        for level in RPN_LEVELS:
            self.register_buffer(f"anchors{level}", anchors_of_level(config, level), persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Detect in one (H, W, 3) uint8 image of the input's size, (H, W, 7) where the network sees relief.

        Returns boxes (N, 4) pixels, scores (N,), labels (N,) int64 and masks (N, 28, 28) probabilities, best first.
        """
        pyramid = self.features(image.permute(2, 0, 1)[None])
        proposals = self.propose(self.rpn(pyramid), 0, self.config.pre_nms_top, self.config.proposals)
        boxes, scores, labels = self.classify(pyramid, proposals)
        pooled = roi_align_pyramid(pyramid, 0, boxes, MASK_POOL, self.config.pool_samples)
        return boxes, scores, labels, torch.sigmoid(self.roi_heads["mask_head"](pooled))

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """The pyramid, up to p6, of (B, 3 or 7, H, W) uint8 images."""
        if not self.training or self.frozen_features is None:
            return self.backbone(normalised(images))
        bottom_up = self.backbone.bottom_up
        features = bottom_up.go_on(self.frozen_features(images[:, :COLOURS]))
        return self.backbone.merge(bottom_up.with_relief(features, normalised(images[:, COLOURS:])))

    def rpn(self, pyramid: dict[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
        """For each RPN level: logits (B, A) and deltas (B, A, 4) of its anchors."""
        return [self.proposal_generator["rpn_head"](pyramid[f"p{level}"]) for level in RPN_LEVELS]

    def anchors(self, level: int) -> Tensor:
        return getattr(self, f"anchors{level}")

    def propose(self, rpn: list[tuple[Tensor, Tensor]], image: int, pre_nms_top: int, count: int) -> Tensor:
        """At most `count` proposals (N, 4) of the image-th picture, suppressed within each level."""
        height, width = self.config.input_height, self.config.input_width
        boxes, scores, levels = [], [], []
        for level, (logits, deltas) in zip(RPN_LEVELS, rpn, strict=True):
            anchors = self.anchors(level)
            best, index = logits[image].topk(min(pre_nms_top, len(anchors)))
            decoded = decode(deltas[image][index], anchors[index], RPN_WEIGHTS)
            boxes.append(clip_boxes(decoded, height, width))
            scores.append(best)
            levels.append(torch.full_like(best, level))
        boxes, scores, levels = torch.cat(boxes), torch.cat(scores), torch.cat(levels)
        empty = (boxes[:, 2:] <= boxes[:, :2]).any(dim=1)
        scores = torch.where(empty, torch.full_like(scores, NEVER), scores)
        apart = offset_by_group(boxes, levels, max(height, width))
        return boxes[nms(apart, scores, self.config.rpn_nms_iou, count, NEVER / 2)]

    def classify(self, pyramid: dict[str, Tensor], proposals: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (N, 4), scores (N,) and labels (N,) of one picture from its proposals (P, 4).

        Boxes are looked at `box_passes` times, each time where the last one put them, by the same head or from the
        second time on by another, and scores come from the mean of the logits (Cascade R-CNN, Cai and Vasconcelos,
        2018, has a head for each time and the mean of the probabilities).
        """
        config, classes = self.config, len(self.config.categories)
        logits, deltas = self.look(pyramid, 0, proposals, again=False)
        boxes = self.moved(proposals, deltas)
        for _ in range(config.box_passes - 1):
            others, deltas = self.look(pyramid, 0, boxes, again=True)
            boxes, logits = self.moved(boxes, deltas), logits + others
        probabilities = torch.softmax(logits / config.box_passes, dim=1)
        boxes = voted(boxes, 1.0 - probabilities[:, classes], config.box_vote_iou)
        scores = probabilities[:, :classes].flatten()  # (P * K,), the class running fastest
        labels = torch.arange(classes, device=boxes.device).repeat(boxes.shape[0])
        boxes = boxes[:, None].expand(-1, classes, -1).reshape(-1, 4)
        apart = offset_by_group(boxes, labels, max(config.input_height, config.input_width))
        kept = nms(apart, scores, config.nms_iou, config.detections, config.min_score)
        return boxes[kept], scores[kept], labels[kept]

    def look(
        self, pyramid: dict[str, Tensor], picture: Tensor | int, boxes: Tensor, again: bool
    ) -> tuple[Tensor, Tensor]:
        """Class logits (P, K + 1) and deltas (P, 4) of boxes (P, 4) of one picture or of those at `picture` (P,);
        `again`: of boxes that were looked at before."""
        pooled = roi_align_pyramid(pyramid, picture, boxes, BOX_POOL, self.config.pool_samples)
        suffix = "_again" if again and self.config.own_second_head else ""
        return self.roi_heads[f"box_predictor{suffix}"](self.roi_heads[f"box_head{suffix}"](pooled))

    def moved(self, boxes: Tensor, deltas: Tensor) -> Tensor:
        """Boxes (P, 4) where the box head's deltas (P, 4) put them, inside the picture."""
        return clip_boxes(decode(deltas, boxes, BOX_WEIGHTS), self.config.input_height, self.config.input_width)
