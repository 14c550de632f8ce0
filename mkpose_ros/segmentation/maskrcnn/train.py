"""Training of the compact Mask R-CNN: one CPU, one GPU or several (under torchrun); resumable at any time."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mkpose_ros.segmentation.maskrcnn.config import (
    MaskRcnnConfig,
    SegmenterTrainConfig,
    config_to_dict,
    load_segmenter_config,
)
from mkpose_ros.segmentation.maskrcnn.data import TrainingSamples, collate
from mkpose_ros.segmentation.maskrcnn.frozen import bfloat16_is_fast, frozen_features
from mkpose_ros.segmentation.maskrcnn.losses import losses
from mkpose_ros.segmentation.maskrcnn.model import MaskRcnn
from mkpose_ros.segmentation.maskrcnn.weights import load_imagenet, load_trained
from mkpose_ros.training.checkpoint import latest_checkpoint, load_state, save_state
from mkpose_ros.training.ema import moving_average

__all__ = ["train_from_file", "train_segmenter"]

Report = Callable[[int, dict[str, float]], None]


def train_segmenter(
    model_config: MaskRcnnConfig,
    config: SegmenterTrainConfig,
    run: Path,
    *,
    seed: int = 0,
    device: str = "auto",
    minutes: float | None = None,
    report: Report = lambda step, means: None,
) -> Path:
    """Train until config.steps, or for some minutes, and return the last checkpoint's folder.

    A run folder with a checkpoint goes on where it was; its files are those of `mkpose_ros.training.checkpoint` plus
    metrics.jsonl. `report` gets the mean losses of every 50 steps.
    """
    trainer = _Trainer(model_config, config, Path(run), seed, device)
    trainer.train(minutes, report)
    return trainer.save()


def train_from_file(
    config: str | Path, run: Path, *, seed: int = 0, overrides: Sequence[str] = (), device: str = "auto"
) -> dict[str, Any]:
    """`mkpose train --config segmenter_small`: {"run", "step", and the last mean losses}; prints a line a report."""
    from rich.console import Console

    console, last = Console(stderr=True), {}

    def report(step: int, means: dict[str, float]) -> None:
        last.update(means)
        words = "  ".join(f"{name} {value:.3f}" for name, value in means.items())
        console.print(f"step {step}/{train_config.steps}  {words}", highlight=False)

    model_config, train_config = load_segmenter_config(config, overrides)
    checkpoint = train_segmenter(model_config, train_config, run, seed=seed, device=device, report=report)
    return {"run": str(run), "step": int(checkpoint.name.removeprefix("step-")), **last}


class _Trainer:
    def __init__(
        self, model_config: MaskRcnnConfig, config: SegmenterTrainConfig, run: Path, seed: int, device: str
    ) -> None:
        self.config, self.run, self.seed, self.step = config, run, seed, 0
        self.model_config = model_config
        self.world, self.rank = _join_processes()
        self.device = _device(device)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.model = MaskRcnn(model_config)
        checkpoint = latest_checkpoint(run)
        if checkpoint is None and config.weights:
            load_trained(self.model, Path(config.weights))
        elif checkpoint is None:
            load_imagenet(self.model)
        self.model.backbone.bottom_up.freeze(config.frozen_stages)
        self.model.to(self.device, memory_format=torch.channels_last)
        self.averaged = moving_average(self.model, config.ema)
        self.optimizer = torch.optim.AdamW(
            _parameter_groups(self.model, config), weight_decay=config.weight_decay, fused=True
        )
        if checkpoint is not None:
            self._restore(checkpoint)
        if config.frozen_by_openvino and self.device.type == "cpu":
            self.model.frozen_features = frozen_features(self.model, config.batch, config.frozen_stages)
        self.generator = torch.Generator()

    def train(self, minutes: float | None, report: Report) -> None:
        deadline = math.inf if minutes is None else time.monotonic() + 60 * minutes
        started, first, saved = time.monotonic(), self.step, time.monotonic()
        sums: dict[str, float] = {}
        count = 0
        for images, truths in self._batches():
            terms = self._update(images, truths)
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + value
            count += 1
            if self.step % 50 == 0 or self.step == self.config.steps:
                means = {name: total / count for name, total in sums.items()}
                means["images_per_s"] = (self.step - first) * self.config.batch / (time.monotonic() - started)
                self._log(means)
                report(self.step, means)
                sums, count = {}, 0
            if time.monotonic() - saved > 60 * self.config.checkpoint_minutes:
                self.save()
                saved = time.monotonic()
            if self._agreed(time.monotonic() > deadline):
                return

    def save(self) -> Path:
        """Write a checkpoint of now (rank 0) and return its folder."""
        state = {"optimizer": self.optimizer.state_dict(), "n_averaged": int(self.averaged.n_averaged)}
        if self.rank == 0:
            self.run.mkdir(parents=True, exist_ok=True)
            description = {"model": config_to_dict(self.model_config), "train": asdict(self.config)}
            (self.run / "config.json").write_text(json.dumps(description, indent=2), encoding="utf-8")
            weights, average = self.model.state_dict(), self.averaged.module.state_dict()
            save_state(self.run, self.step, weights, average, state)
        return self.run / f"step-{self.step:08d}"

    def _restore(self, checkpoint: Path) -> None:
        weights, average, state = load_state(checkpoint)
        self.model.load_state_dict(weights)
        self.averaged.module.load_state_dict(average)
        self.averaged.n_averaged.fill_(state["n_averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]

    def _batches(self) -> Any:
        """The batches of the steps that are left; sample numbers go on where they were."""
        per_step = self.config.batch * self.world
        samples = TrainingSamples(self.model_config, self.config, self.seed, self.config.steps * per_step)
        indices = [i for i in range(self.step * per_step, len(samples)) if i % self.world == self.rank]
        return torch.utils.data.DataLoader(
            samples, self.config.batch, sampler=indices, num_workers=self.config.workers, collate_fn=collate,
            drop_last=True, pin_memory=self.device.type == "cuda",
        )  # fmt: skip

    def _update(self, images: torch.Tensor, truths: list) -> dict[str, float]:
        self.model.train()
        self.generator.manual_seed((self.seed * 1_000_003 + self.step) * self.world + self.rank)
        rate = _rate(self.step, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        images = images.to(self.device, memory_format=torch.channels_last)
        truths = [type(t)(*(x.to(self.device) for x in t)) for t in truths]
        with _precision(self.device):
            terms = losses(self.model, images, truths, self.config, self.generator)
            total = sum(terms.values())
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        self._average_gradients()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.gradient_clip)
        self.step += 1
        if torch.isfinite(norm):  # one broken batch must not end hours of training
            self.optimizer.step()
            self.averaged.update_parameters(self.model)
        return {name: value.item() for name, value in terms.items()} | {"norm": norm.item()}

    def _average_gradients(self) -> None:
        """The mean over all processes, in one exchange: hundreds of small ones take three times as long."""
        if self.world == 1:
            return
        learnt = [p for p in self.model.parameters() if p.requires_grad]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in learnt]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        torch.distributed.all_reduce(flat)
        means = (flat / self.world).split([p.numel() for p in learnt])
        for parameter, gradient, mean in zip(learnt, gradients, means, strict=True):
            # Copied, not replaced: the fused optimizer takes a gradient to lie in memory as its parameter does.
            parameter.grad = gradient.copy_(mean.view_as(gradient))

    def _agreed(self, decision: bool) -> bool:
        """What the first process decides: one that stopped a step before another would leave that one waiting."""
        if self.world == 1:
            return decision
        first = torch.tensor([decision], device=self.device, dtype=torch.uint8)
        torch.distributed.broadcast(first, 0)
        return bool(first.item())

    def _log(self, means: dict[str, float]) -> None:
        if self.rank == 0:
            self.run.mkdir(parents=True, exist_ok=True)
            with (self.run / "metrics.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": self.step, **{k: round(v, 5) for k, v in means.items()}}) + "\n")


def _parameter_groups(model: MaskRcnn, config: SegmenterTrainConfig) -> list[dict[str, Any]]:
    backbone = [p for p in model.backbone.bottom_up.parameters() if p.requires_grad]
    known = {id(p) for p in model.backbone.bottom_up.parameters()}
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in known]
    return [{"params": rest, "scale": 1.0}, {"params": backbone, "scale": config.backbone_rate}]


def _rate(step: int, config: SegmenterTrainConfig) -> float:
    warm = min((step + 1) / config.warmup_steps, 1.0)
    cosine = 0.5 * (1 + math.cos(math.pi * min(step / config.steps, 1.0)))
    return config.learning_rate * warm * (0.01 + 0.99 * cosine)


def _device(name: str) -> torch.device:
    if name == "auto":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def _precision(device: torch.device) -> Any:
    """bfloat16 where it is fast: on GPUs, and on some CPUs."""
    fast = device.type == "cuda" or bfloat16_is_fast()
    return torch.autocast(device.type, dtype=torch.bfloat16) if fast else nullcontext()


def _join_processes() -> tuple[int, int]:
    """The number of processes and this one's rank, under torchrun."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1 and not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return world, int(os.environ.get("RANK", "0"))
