"""The network's shape and losses as frozen dataclasses, read from config/model_<size>.yaml."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from mkpose_ros.errors import InputError, MkposeError
from mkpose_ros.resources import share_path

__all__ = ["Ablation", "ImageConfig", "LossConfig", "ModelConfig", "PointLevel", "load_config"]

BACKBONES = ("efficientnet-lite0", "efficientnet-lite2", "dinov2-vits14")


@dataclass(frozen=True)
class ImageConfig:
    """The image encoder: which backbone, which of its stages are sampled, whether its weights learn."""

    backbone: str = "efficientnet-lite0"
    stages: tuple[int, ...] = (3, 5)  # EfficientNet stages 1..7 (strides 2 4 8 16 16 32 32); unused by DINOv2
    frozen: bool = True


@dataclass(frozen=True)
class PointLevel:
    """One set abstraction of PointNet++ with multi-scale grouping, and the propagation that undoes it."""

    points: int  # centres: the first `points` of the level below
    radii_m: tuple[float, ...]
    samples: tuple[int, ...]  # neighbours per ball
    widths: tuple[tuple[int, ...], ...]  # MLP per scale
    up: tuple[int, ...]  # MLP of the feature propagation back to the level below


@dataclass(frozen=True)
class Ablation:
    """The switches of Table III; all true is the full model."""

    text: bool = True
    symmetry_loss: bool = True
    feature_fusion: bool = True
    reconstructor: bool = True
    global_features: bool = True


@dataclass(frozen=True)
class LossConfig:
    """Weights of Eq 22 and the constants of Eq 25 and of the NOCS loss; the last four are ours."""

    pose: float = 0.3
    chamfer: float = 2.0
    diversity: float = 10.0
    reconstruction: float = 15.0
    delta: float = 1.0
    nocs: float = 2.0
    diversity_distance_m: float = 0.01  # T of Eq 25
    nocs_delta: float = 0.1  # where smooth-L1 turns from quadratic to linear
    translation: float = 1.0  # inside Eq 19
    size: float = 1.0  # inside Eq 19
    uncertainty: float = 0.01  # reaches the uncertainty head only: its inputs are detached
    axis_symmetric: float = 0.05


@dataclass(frozen=True)
class ModelConfig:
    """Everything that shapes MKPose; symbols of the paper in the comments."""

    name: str
    crop_px: int
    n_points: int  # N
    n_keypoints: int  # N_kpt
    d: int
    d_image: int  # d1
    d_point: int  # d2
    image: ImageConfig
    point: tuple[PointLevel, ...]
    heads: int = 4
    detector_blocks: int = 4
    fusion_blocks: int = 2
    neighbors: int = 16  # k
    temperature: float = 0.1  # tau
    reconstruction_points: int = 10  # N_p
    nocs_bins: int = 64
    text_dim: int = 384
    text_tokens: int = 48
    ablation: Ablation = Ablation()
    loss: LossConfig = LossConfig()

    def __post_init__(self) -> None:
        problems = [
            (self.image.backbone not in BACKBONES, f"image.backbone {self.image.backbone!r} is not one of {BACKBONES}"),
            (not self.point, "point needs at least one level"),
            (self.d % self.heads != 0, f"d {self.d} is not a multiple of heads {self.heads}"),
            (any(level.points > self.n_points // 2 for level in self.point), "a point level exceeds n_points / 2"),
            (self.neighbors > self.n_points, f"neighbors {self.neighbors} exceeds n_points {self.n_points}"),
            (any(not len(p.radii_m) == len(p.samples) == len(p.widths) for p in self.point), "a level's scales differ"),
        ]
        wrong = [text for is_wrong, text in problems if is_wrong]
        if wrong:
            raise InputError(f"model config {self.name!r}: {'; '.join(wrong)}. Compare with config/model_base.yaml")

    def to_dict(self) -> dict[str, Any]:
        """A dict of plain values; `config_from_dict` reads it back."""
        return asdict(self)


def load_config(name_or_path: str | Path) -> ModelConfig:
    """The configuration "small", "base" or of a YAML file. Raises InputError that names the file and the key."""
    name = str(name_or_path)
    try:
        path = share_path("config", f"model_{name}.yaml") if name in ("small", "base") else Path(name)
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, MkposeError, yaml.YAMLError) as error:
        raise InputError(f"model config {name}: {error}. Give small, base or the path of a YAML file") from error
    return config_from_dict(values, where=str(path))


def config_from_dict(values: Any, where: str = "model config") -> ModelConfig:
    """A ModelConfig of nested plain values. Raises InputError for unknown, missing or mistyped keys."""
    try:
        values = dict(values)
        nested = {
            "image": _make(ImageConfig, values.get("image", {})),
            "point": tuple(_make(PointLevel, level) for level in values.get("point", ())),
            "ablation": _make(Ablation, values.get("ablation", {})),
            "loss": _make(LossConfig, values.get("loss", {})),
        }
        return _make(ModelConfig, {**values, **nested})
    except (TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where}: {error}. Compare with the shipped config/model_base.yaml") from error


def _make(kind: type, values: dict[str, Any]) -> Any:
    unknown = sorted(set(values) - {f.name for f in fields(kind)})
    if unknown:
        raise TypeError(f"unknown keys {unknown}, known are {[f.name for f in fields(kind)]}")
    return kind(**{key: _tuples(value) for key, value in values.items()})


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list | tuple) else value
