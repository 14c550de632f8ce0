"""What a run is made of, built from its configuration: model, device, text features, sources."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from omegaconf import OmegaConf

from mkpose_ros.datasets.samples import SampleConfig
from mkpose_ros.errors import InputError, ModelError
from mkpose_ros.network.config import Ablation, ModelConfig, config_from_dict, load_config
from mkpose_ros.network.image import load_backbone_weights
from mkpose_ros.network.model import MKPose
from mkpose_ros.training.checkpoint import load_weights
from mkpose_ros.training.config import TrainConfig
from mkpose_ros.training.rendering import DatasetRenderer, SceneRenderer
from mkpose_ros.training.sources import BatchSource, LiveSource, MixedSource, ShardSource

__all__ = ["build_model", "choose_device", "model_config", "open_source", "sample_config"]


def model_config(config: TrainConfig) -> ModelConfig:
    """The model configuration with the run's overrides (`model_overrides`, `loss`) applied."""
    base = load_config(config.model).to_dict()
    changes = {**config.model_overrides, **({"loss": config.loss} if config.loss else {})}
    return config_from_dict(OmegaConf.to_container(OmegaConf.merge(base, changes)), where=f"model {config.model}")


def build_model(config: TrainConfig) -> MKPose:
    """The network with its backbone's public weights, or with the weights of `config.init`.

    A row of Table III takes from weights of the full network what it has; a layer of another shape starts afresh.
    Raises ModelError when the weights are missing or another network's.
    """
    model = MKPose(model_config(config))
    if config.init:
        weights = load_weights(config.init)
        if model.config.ablation != Ablation():
            own = model.state_dict()
            weights = own | {k: v for k, v in weights.items() if k in own and own[k].shape == v.shape}
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            raise ModelError(f"init {config.init}: {error}. Start from weights of a {config.model} network") from error
    else:
        load_backbone_weights(model.image, model.config.image.backbone, config.backbone_weights)
    return model


def choose_device(name: str) -> torch.device:
    """`auto` is this process's GPU where there is one. Raises InputError for a device that can't be had."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        if not torch.cuda.is_available():
            raise InputError("device is cuda, but torch sees no CUDA device; use device=cpu or auto")
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
        return device
    return torch.device(name)


def sample_config(model: ModelConfig, exclude: Sequence[str] = ()) -> SampleConfig:
    """How samples for this model are cut; twice its points are kept, so that each visit draws other ones."""
    from mkpose_ros.categories import load_categories

    return SampleConfig(
        crop_px=model.crop_px,
        n_points=2 * model.n_points,
        categories=tuple(c for c in load_categories() if c not in exclude) if exclude else None,
    )


def open_source(config: TrainConfig, model: ModelConfig, rank: int = 0, world: int = 1) -> BatchSource:
    """The configured stream of samples. Raises InputError when the configuration gives none."""
    data, samples = config.data, sample_config(model, config.data.exclude)
    synthetic: BatchSource
    if data.live_workers:
        seed = config.seed * world + rank  # every rank renders its own scenes
        synthetic = LiveSource(SceneRenderer("train", seed, samples), workers=data.live_workers)
    elif data.shards:
        synthetic = ShardSource(data.shards, seed=config.seed, exclude=data.exclude, rank=rank, world=world)
    else:
        raise InputError("no training data: give data.shards (folders of cached crops) or data.live_workers")
    if not data.real:
        return synthetic
    readers = [
        LiveSource(DatasetRenderer(path, "train", config.seed * world + rank, samples), workers=1) for path in data.real
    ]
    share = data.real_share / len(readers)
    return MixedSource([synthetic, *readers], [1.0 - data.real_share, *[share] * len(readers)])
