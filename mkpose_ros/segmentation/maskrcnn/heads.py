"""The heads, built and named as detectron2's: RPN head, FastRCNNConvFCHead, FastRCNNOutputLayers, mask head."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from mkpose_ros.segmentation.maskrcnn.config import MaskRcnnConfig

__all__ = ["BOX_POOL", "MASK_POOL", "BoxHead", "BoxPredictor", "MaskHead", "RpnHead"]

BOX_POOL, MASK_POOL = 7, 14  # cells a side that are pooled for the box head and the mask head


class RpnHead(nn.Module):
    """For each level (B, C, H, W): objectness logits (B, H * W * A) and deltas (B, H * W * A, 4) of its anchors."""

    def __init__(self, config: MaskRcnnConfig) -> None:
        super().__init__()
        anchors = len(config.anchor_sizes[0]) * len(config.anchor_ratios)
        self.conv = nn.Conv2d(config.fpn_channels, config.fpn_channels, 3, padding=1)
        self.objectness_logits = nn.Conv2d(config.fpn_channels, anchors, 1)
        self.anchor_deltas = nn.Conv2d(config.fpn_channels, anchors * 4, 1)
        for layer in (self.conv, self.objectness_logits, self.anchor_deltas):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def forward(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        x = F.relu(self.conv(feature))
        b, _, h, w = x.shape
        logits = self.objectness_logits(x).permute(0, 2, 3, 1).reshape(b, -1)
        deltas = self.anchor_deltas(x).reshape(b, -1, 4, h, w).permute(0, 3, 4, 1, 2).reshape(b, -1, 4)
        return logits, deltas


class BoxHead(nn.Module):
    """Pooled boxes (N, C, 7, 7) -> (N, D)."""

    def __init__(self, config: MaskRcnnConfig) -> None:
        super().__init__()
        self._convolutions = config.box_head_convolutions
        for index in range(self._convolutions):
            convolution = nn.Conv2d(config.fpn_channels, config.fpn_channels, 3, padding=1)
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(convolution.bias)
            self.add_module(f"conv{index + 1}", convolution)
        self.fc1 = nn.Linear(config.fpn_channels * BOX_POOL**2, config.box_head_channels)
        self.fc2 = nn.Linear(config.box_head_channels, config.box_head_channels)
        for layer in (self.fc1, self.fc2):
            nn.init.kaiming_uniform_(layer.weight, a=1)
            nn.init.zeros_(layer.bias)

    def forward(self, pooled: Tensor) -> Tensor:
        x = pooled
        for index in range(self._convolutions):
            x = F.relu(getattr(self, f"conv{index + 1}")(x))
        return F.relu(self.fc2(F.relu(self.fc1(x.flatten(1)))))


class BoxPredictor(nn.Module):
    """(N, D) -> class logits (N, K + 1), the last one background, and deltas (N, 4) for all classes alike."""

    def __init__(self, config: MaskRcnnConfig) -> None:
        super().__init__()
        self.cls_score = nn.Linear(config.box_head_channels, len(config.categories) + 1)
        self.bbox_pred = nn.Linear(config.box_head_channels, 4)
        nn.init.normal_(self.cls_score.weight, std=0.01)
        nn.init.normal_(self.bbox_pred.weight, std=0.001)
        nn.init.zeros_(self.cls_score.bias)
        nn.init.zeros_(self.bbox_pred.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.cls_score(x), self.bbox_pred(x)


class MaskHead(nn.Module):
    """Pooled boxes (N, C, 14, 14) -> mask logits (N, 28, 28), for all classes alike."""

    def __init__(self, config: MaskRcnnConfig) -> None:
        super().__init__()
        self._convolutions = config.mask_head_convolutions
        channels = config.fpn_channels
        for index in range(self._convolutions):
            self.add_module(f"mask_fcn{index + 1}", nn.Conv2d(channels, config.mask_head_channels, 3, padding=1))
            channels = config.mask_head_channels
        self.deconv = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        self.predictor = nn.Conv2d(channels, 1, 1)
        for name, layer in self.named_children():
            if name != "predictor":
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.predictor.weight, std=0.001)
        for layer in self.children():
            nn.init.zeros_(layer.bias)

    def forward(self, pooled: Tensor) -> Tensor:
        x = pooled
        for index in range(self._convolutions):
            x = F.relu(getattr(self, f"mask_fcn{index + 1}")(x))
        return self.predictor(F.relu(self.deconv(x)))[:, 0]
