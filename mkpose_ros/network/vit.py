"""DINOv2's ViT-S/14 with its public state-dict keys (Oquab et al., 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mkpose_ros.errors import DependencyError, ModelError

__all__ = ["DinoV2", "load_dinov2_state"]

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class DinoV2(nn.Module):
    """Crop (B, S, S, 3) uint8 RGB to the last block's patch tokens before the final norm: [(B, S/14, S/14, 384)]."""

    def __init__(self, image_px: int = 224, d: int = 384, depth: int = 12, heads: int = 6, patch: int = 14) -> None:
        super().__init__()
        self.cells, self.channels = image_px // patch, [d]
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, d, patch, stride=patch)})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, d))
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + self.cells**2, d) * 0.02)
        self.blocks = nn.ModuleList(Block(d, heads) for _ in range(depth))
        self.register_buffer("mean", torch.tensor(_MEAN) * 255.0, persistent=False)
        self.register_buffer("std", torch.tensor(_STD) * 255.0, persistent=False)

    def forward(self, image_u8: Tensor) -> list[Tensor]:
        x = ((image_u8.to(self.mean.dtype) - self.mean) / self.std).permute(0, 3, 1, 2)
        tokens = self.patch_embed["proj"](x).flatten(2).transpose(1, 2)  # (b, cells^2, d)
        x = torch.cat([self.cls_token.expand(tokens.shape[0], -1, -1), tokens], dim=1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return [x[:, 1:].unflatten(1, (self.cells, self.cells))]

    def load_public_state(self, state: Mapping[str, Tensor]) -> None:
        """Take public weights; the position embedding is resized to this crop. Raises ModelError if they do not fit."""
        own = self.state_dict()
        state = {key: value for key, value in state.items() if key in own}
        try:
            state["pos_embed"] = self._resized(state["pos_embed"])
            self.load_state_dict(state)
        except (KeyError, RuntimeError) as error:
            raise ModelError(f"DINOv2 weights do not fit: {error}. Expected ViT-S/14 without registers") from error

    def _resized(self, pos_embed: Tensor) -> Tensor:
        """(1, 1 + M^2, d) bicubically resized to this grid, with the 0.1 offset of the public code."""
        side = round((pos_embed.shape[1] - 1) ** 0.5)
        if side == self.cells:
            return pos_embed
        grid = pos_embed[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)
        scale = (self.cells + 0.1) / side
        grid = F.interpolate(grid, scale_factor=(scale, scale), mode="bicubic", antialias=False)
        return torch.cat([pos_embed[:, :1], grid.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


class Block(nn.Module):
    """A pre-norm transformer block with LayerScale."""

    def __init__(self, d: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(d, eps=1e-6), nn.LayerNorm(d, eps=1e-6)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(d, 3 * d), "proj": nn.Linear(d, d)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(d, 4 * d), "fc2": nn.Linear(4 * d, d)})
        self.ls1 = nn.ParameterDict({"gamma": nn.Parameter(torch.full((d,), 1e-5))})
        self.ls2 = nn.ParameterDict({"gamma": nn.Parameter(torch.full((d,), 1e-5))})

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1["gamma"] * self._attend(self.norm1(x))
        return x + self.ls2["gamma"] * self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))

    def _attend(self, x: Tensor) -> Tensor:
        q, k, v = (
            y.unflatten(-1, (self.heads, -1)).transpose(1, 2) for y in self.attn["qkv"](x).chunk(3, dim=-1)
        )  # each (b, h, n, d / h)
        return self.attn["proj"](F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def load_dinov2_state(source: str | Path) -> Mapping[str, Tensor]:
    """DINOv2 ViT-S/14 weights from a file, or by "torch.hub" or "timm", which download: only on request."""
    if str(source) == "torch.hub":
        return torch.hub.load("facebookresearch/dinov2", "dinov2_vits14").state_dict()
    if str(source) == "timm":
        try:
            import timm
        except ImportError as error:
            raise DependencyError("DINOv2 by timm: the package timm is missing; pip install timm") from error
        return timm.create_model("vit_small_patch14_dinov2.lvd142m", pretrained=True).state_dict()
    from mkpose_ros.network.image import read_state

    return read_state(Path(source))
