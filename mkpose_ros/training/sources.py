"""Where batches come from: cached shards, scenes rendered on the fly, real data sets, and mixtures of them.

A source gives CropSamples of a fixed number and can say and restore where it is, so that a killed run goes on.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mkpose_ros.datasets.samples import CropSamples, concatenate
from mkpose_ros.errors import InputError
from mkpose_ros.training.shards import list_shards, read_shard

__all__ = ["BatchSource", "LiveSource", "MixedSource", "ShardSource"]


class BatchSource(Protocol):
    """An endless stream of samples."""

    def next_batch(self, count: int) -> CropSamples:
        """The next `count` samples."""

    def state_dict(self) -> dict[str, Any]:
        """Plain values from which load_state_dict goes on."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where state_dict was called."""

    def close(self) -> None:
        """Release processes and memory."""


class ShardSource:
    """Cached crops in random order, each once an epoch; shards that appear in the meantime join at the next epoch.

    The order is a function of (seed, epoch, shards of the epoch) alone. All samples are held in memory. With several
    ranks, each takes its own slice of the same order.
    """

    def __init__(
        self, folders: Sequence[str | Path], *, seed: int, exclude: Sequence[str] = (), rank: int = 0, world: int = 1
    ) -> None:
        self._folders = tuple(Path(f) for f in folders)
        self._seed, self._exclude, self._rank, self._world = seed, tuple(exclude), rank, world
        self._loaded: dict[str, CropSamples | None] = {}
        self._start_epoch(0, [str(p) for p in list_shards(self._folders)])

    def _start_epoch(self, epoch: int, shards: list[str]) -> None:
        for path in shards:
            if path not in self._loaded:
                self._loaded[path] = self._read(path)
        owners = [s for path in shards if (s := self._loaded[path]) is not None]
        if not owners:
            raise InputError(
                f"{', '.join(map(str, self._folders))}: no training crops; render some with `mkpose train --render N`"
            )
        self._epoch, self._shards, self._position, self._owners = epoch, shards, 0, owners
        lengths = [len(s) for s in owners]
        self._where = np.stack(
            [np.repeat(np.arange(len(owners)), lengths), np.concatenate([np.arange(n) for n in lengths])], axis=1
        )
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._where))
        self._order = order[self._rank :: self._world]

    def _read(self, path: str) -> CropSamples | None:
        samples = read_shard(Path(path))
        keep = np.flatnonzero(~np.isin(samples.category, self._exclude))
        return samples.take(keep) if len(keep) else None

    def __len__(self) -> int:
        return len(self._where)

    def next_batch(self, count: int) -> CropSamples:
        picked: list[CropSamples] = []
        while count > 0:
            index = self._order[self._position : self._position + count]
            picked += [self._owners[owner].take(slice(row, row + 1)) for owner, row in self._where[index]]
            self._position += len(index)
            count -= len(index)
            if self._position >= len(self._order):
                self._start_epoch(self._epoch + 1, [str(p) for p in list_shards(self._folders)])
        return concatenate(picked)

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self._epoch, "position": self._position, "shards": list(self._shards)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        missing = [path for path in state["shards"] if not Path(path).exists()]
        if missing:
            raise InputError(f"{missing[0]} and {len(missing) - 1} more shards of the interrupted epoch are gone")
        self._start_epoch(state["epoch"], list(state["shards"]))
        self._position = state["position"]

    def close(self) -> None:
        self._loaded.clear()


class LiveSource:
    """Scenes rendered in worker processes as training runs; no scene is seen twice.

    Worker w of W renders scenes w, w + W, ...; batches take their samples from the workers in turn, so the order is
    fixed whatever the timing. A resumed run goes on with the first scene that was not used up.
    """

    def __init__(self, renderer: Any, *, workers: int, first_scene: int = 0) -> None:
        """`renderer` is picklable and callable: scene index -> CropSamples or None (see rendering.SceneRenderer)."""
        self._renderer, self._workers = renderer, workers
        self._start(first_scene)

    def _start(self, first_scene: int) -> None:
        import torch.multiprocessing as multiprocessing

        context = multiprocessing.get_context("spawn")  # a renderer's GL context does not survive a fork
        self._queues = [context.Queue(maxsize=4) for _ in range(self._workers)]
        self._processes = [
            context.Process(
                target=_render_forever, args=(self._renderer, queue, first_scene + w, self._workers), daemon=True
            )
            for w, queue in enumerate(self._queues)
        ]
        for process in self._processes:
            process.start()
        self._scene, self._turn = first_scene, 0
        self._left: CropSamples | None = None

    def next_batch(self, count: int) -> CropSamples:
        parts, have = ([self._left], len(self._left)) if self._left is not None else ([], 0)
        while have < count:
            samples = self._receive(self._turn)
            self._turn = (self._turn + 1) % self._workers
            self._scene += 1
            if samples is not None:
                parts.append(samples)
                have += len(samples)
        merged = concatenate(parts)
        self._left = merged.take(slice(count, None)) if have > count else None
        return merged.take(slice(0, count))

    def _receive(self, worker: int) -> CropSamples | None:
        import queue

        while True:
            try:
                result = self._queues[worker].get(timeout=5.0)
                break
            except queue.Empty:
                if not self._processes[worker].is_alive():
                    code = self._processes[worker].exitcode
                    raise InputError(f"rendering worker {worker} ended with exit code {code}; see its output") from None
        if isinstance(result, Exception):
            raise result
        return result

    def state_dict(self) -> dict[str, Any]:
        return {"scene": self._scene}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["scene"] != self._scene:
            self.close()
            self._start(state["scene"])

    def close(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join(timeout=5.0)


def _render_forever(renderer: Any, queue: Any, first_scene: int, stride: int) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    scene = first_scene
    while True:
        try:
            queue.put(renderer(scene))
        except Exception as error:
            queue.put(RuntimeError(f"scene {scene}: {error!r}"))
            return
        scene += stride


class MixedSource:
    """Fixed shares of several sources in each batch, such as 24 synthetic and 8 real."""

    def __init__(self, sources: Sequence[BatchSource], shares: Sequence[float]) -> None:
        self._sources, self._shares = tuple(sources), tuple(shares)

    def next_batch(self, count: int) -> CropSamples:
        counts = [round(count * share) for share in self._shares[1:]]
        counts = [count - sum(counts), *counts]
        return concatenate([s.next_batch(n) for s, n in zip(self._sources, counts, strict=True) if n > 0])

    def state_dict(self) -> dict[str, Any]:
        return {"sources": [source.state_dict() for source in self._sources]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for source, own in zip(self._sources, state["sources"], strict=True):
            source.load_state_dict(own)

    def close(self) -> None:
        for source in self._sources:
            source.close()
