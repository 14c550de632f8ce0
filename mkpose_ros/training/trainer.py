"""The training loop: one GPU, several by torchrun, or a CPU, with the same configuration."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mkpose_ros.errors import MkposeError
from mkpose_ros.inference.text_features import load_text_features
from mkpose_ros.network.losses import total_loss
from mkpose_ros.network.model import save_checkpoint
from mkpose_ros.training.augment import Batch, augment, farthest_first, subset_points
from mkpose_ros.training.batches import TextTable, build_targets, to_batch
from mkpose_ros.training.checkpoint import latest_checkpoint, load_state, save_state
from mkpose_ros.training.config import TrainConfig, save_train_config
from mkpose_ros.training.ema import moving_average
from mkpose_ros.training.prefetch import Prefetched
from mkpose_ros.training.schedule import SCHEDULES
from mkpose_ros.training.setup import build_model, choose_device, open_source
from mkpose_ros.training.sources import BatchSource
from mkpose_ros.training.validate import Validator

__all__ = ["Trainer"]


class Trainer:
    """Runs a TrainConfig from its last checkpoint (or from the start) to its end.

    Whatever is random in a step is a function of (seed, step, rank), and a checkpoint holds everything else, so that a
    killed run of cached samples goes on bit for bit as if it had not been killed (on a CPU; GPU kernels may differ in
    the last bit).
    """

    def __init__(self, config: TrainConfig, *, resume: bool = False) -> None:
        self.config, self.run = config, Path(config.out)
        self.rank, self.world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        self.device = choose_device(config.device)
        if config.threads:
            torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        self.model = build_model(config).to(self.device)
        self.ema = moving_average(self.model, config.optim.ema_decay)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            trained, lr=config.optim.lr, weight_decay=config.optim.weight_decay, fused=True
        )
        self.text = TextTable(load_text_features(config.text_features or None), self.device)
        self.step, self.elapsed_s, self.best = 0, 0.0, -1.0
        self.source: BatchSource = Prefetched(open_source(config, self.model.config, self.rank, self.world))
        self._start_from_disk(resume)
        self.parallel = self._wrap()
        self.validator = Validator(config, self.model.config, self.text, self.device) if self.rank == 0 else None

    def _start_from_disk(self, resume: bool) -> None:
        checkpoint = latest_checkpoint(self.run)
        if checkpoint is not None and not resume:
            raise MkposeError(f"{self.run} already holds {checkpoint.name}: give --resume to go on, or another --out")
        if self.rank == 0:
            self.run.mkdir(parents=True, exist_ok=True)
            save_train_config(self.config, self.run / "config.yaml")
        if checkpoint is None:
            return
        weights, averaged, state = load_state(checkpoint)
        self.model.load_state_dict(weights)
        self.ema.module.load_state_dict(averaged)
        self.ema.n_averaged.fill_(state["ema_updates"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.source.load_state_dict(state["source"])
        self.step, self.elapsed_s, self.best = state["step"], state["elapsed_s"], state["best"]

    def _wrap(self) -> nn.Module:
        if self.world == 1:
            return self.model
        gpu = self.device.type == "cuda"
        torch.distributed.init_process_group("nccl" if gpu else "gloo")
        model = nn.SyncBatchNorm.convert_sync_batchnorm(self.model) if gpu else self.model
        return nn.parallel.DistributedDataParallel(model, device_ids=[self.device.index] if gpu else None)

    @property
    def progress(self) -> float:
        """The share of the run that is done, in 0 .. 1: of its steps, or of its minutes where budget_min is set."""
        if self.config.budget_min > 0:
            return min(1.0, self.elapsed_s / (60.0 * self.config.budget_min))
        return min(1.0, self.step / self.config.steps)

    def train(self, report: Callable[[Trainer, dict[str, float]], None] | None = None) -> dict[str, float]:
        """Train to the end; returns the last validation's metrics ({} without validation crops).

        `report` is called every log_every steps with the means of the terms since the last call. SIGINT and SIGTERM
        end the run after a checkpoint.
        """
        stop = _StopRequest()
        metrics: dict[str, float] = {}
        with ExitStack() as stack:
            stack.callback(self.close)
            stack.enter_context(stop)
            writer = stack.enter_context(_Log(self.run)) if self.rank == 0 else None
            terms: list[dict[str, torch.Tensor]] = []
            while self.progress < 1.0 and not stop.asked:
                started = time.monotonic()
                terms.append(self.train_step())
                self.elapsed_s += time.monotonic() - started
                if self.step % self.config.log_every == 0:
                    means = {name: float(torch.stack([t[name] for t in terms]).mean()) for name in terms[0]}
                    terms.clear()
                    if writer is not None:
                        writer.scalars("train", {**means, "lr": self._lr()}, self.step)
                    if report is not None:
                        report(self, means)
                if self.step % self.config.validate_every == 0:
                    metrics = self._validate(writer)
                if self.step % self.config.checkpoint_every == 0:
                    self.save()
            if not stop.asked and self.step % self.config.validate_every:
                metrics = self._validate(writer)
            self.save()
        return metrics

    def train_step(self) -> dict[str, torch.Tensor]:
        """One optimiser step; returns the loss terms (detached)."""
        config = self.config
        torch.manual_seed(_step_seed(config.seed, self.step, self.rank))
        batch, text, text_mask = self._batch()
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self._lr()
        autocast = config.optim.amp and self.device.type == "cuda"
        with torch.autocast(self.device.type, torch.bfloat16) if autocast else nullcontext():
            output = self.parallel(batch.image, batch.points_m, batch.pixels, text, text_mask)
        output = type(output)(*(v if v is None else v.float() for v in output))
        loss, terms = total_loss(output, build_targets(batch), self.model.config, batch.points_m)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), config.optim.clip_norm)
        if torch.isfinite(norm):  # one bad batch must not end a long run; the log shows how many were skipped
            self.optimizer.step()
        self.ema.update_parameters(self.model)
        self.step += 1
        terms = {name: value.detach() for name, value in terms.items()}
        return {**terms, "loss": loss.detach(), "gradient": norm, "skipped": (~torch.isfinite(norm)).float()}

    def _batch(self) -> tuple[Batch, torch.Tensor, torch.Tensor]:
        samples = self.source.next_batch(self.config.batch)
        generator = torch.Generator(self.device).manual_seed(_step_seed(self.config.seed, self.step, self.rank))
        batch = subset_points(to_batch(samples, self.device), self.model.config.n_points, generator)
        batch = farthest_first(augment(batch, self.config.augment, generator), self.model.config.point[0].points)
        return batch, *self.text(samples.category.tolist())

    def _lr(self) -> float:
        optim, steps = self.config.optim, self.config.steps
        at = self.progress * steps if self.config.budget_min > 0 else self.step
        return optim.lr * SCHEDULES[optim.schedule](at, steps=steps, warmup=optim.warmup_steps)

    def _validate(self, writer: _Log | None) -> dict[str, float]:
        if self.validator is None or not self.validator.has_data:
            return {}
        metrics = self.validator(self.ema.module)
        writer.scalars("val", metrics, self.step)
        if metrics["score"] > self.best:
            self.best = metrics["score"]
            training = {"steps": self.step, "batch": self.config.batch * self.world, "minutes": self.elapsed_s / 60.0}
            temporary = self.run / ".best.safetensors"  # whole or not at all
            save_checkpoint(self.ema.module, temporary, {"training": training})
            temporary.replace(self.run / "best.safetensors")
            (self.run / "best.json").write_text(json.dumps({"step": self.step, **metrics}, indent=2) + "\n")
        return metrics

    def save(self) -> None:
        """Write a checkpoint (rank 0)."""
        if self.rank != 0:
            return
        state: dict[str, Any] = {
            "optimizer": self.optimizer.state_dict(),
            "source": self.source.state_dict(),
            "elapsed_s": self.elapsed_s,
            "best": self.best,
            "ema_updates": int(self.ema.n_averaged),
        }
        save_state(self.run, self.step, self.model.state_dict(), self.ema.module.state_dict(), state)

    def close(self) -> None:
        """End the source's processes and the process group."""
        self.source.close()
        if self.world > 1 and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _step_seed(seed: int, step: int, rank: int) -> int:
    return (seed * 1_000_003 + step) * 4099 + rank


class _StopRequest:
    """While entered, SIGINT and SIGTERM set `asked` instead of ending the process."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> _StopRequest:
        self._before = {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _ask(self, *_: Any) -> None:
        self.asked = True

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


class _Log:
    """TensorBoard events and `metrics.jsonl` in the run folder."""

    def __init__(self, run: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(run / "tensorboard"))
        self._lines = (run / "metrics.jsonl").open("a", encoding="utf-8")

    def __enter__(self) -> _Log:
        return self

    def scalars(self, group: str, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(f"{group}/{name}", value, step)
        record = {"group": group, "step": step, "unix_s": round(time.time(), 1), **values}
        self._lines.write(json.dumps(record) + "\n")
        self._lines.flush()

    def __exit__(self, *_: Any) -> None:
        self._lines.close()
        self._writer.close()
