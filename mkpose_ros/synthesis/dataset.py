"""Whole data sets of scenes: in parallel, resumable, the same whatever the number of workers."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from mkpose_ros.errors import InputError
from mkpose_ros.synthesis.generate import SceneGenerator
from mkpose_ros.synthesis.library import ShapeLibrary
from mkpose_ros.synthesis.scene import SceneConfig
from mkpose_ros.synthesis.sequence import Sequence, SequenceConfig
from mkpose_ros.synthesis.writer import CATEGORIES, is_complete, read_truth, write_coco, write_frame

__all__ = ["DatasetConfig", "Written", "write_dataset"]

_FRAMES_PER_FOLDER = 1000


@dataclass(frozen=True)
class DatasetConfig:
    """What is written where."""

    out: Path
    frames: int
    seed: int = 0
    split: str = "train"
    scene: SceneConfig = field(default_factory=SceneConfig)
    sequence: SequenceConfig | None = None  # None: every frame is a scene of its own

    def __post_init__(self) -> None:
        if self.frames < 0:
            raise InputError(f"DatasetConfig.frames: {self.frames}, expected 0 or more")

    def stem(self, index: int) -> Path:
        """Where frame ``index`` goes."""
        return self.out / self.split / f"{index // _FRAMES_PER_FOLDER:05d}" / f"{index % _FRAMES_PER_FOLDER:04d}"


@dataclass(frozen=True)
class Written:
    """What a run did."""

    frames: int  # in the set now
    rendered: int  # by this run; the others were there and whole
    instances: int
    seconds: float


def write_dataset(
    config: DatasetConfig, workers: int = 1, progress: Callable[[int], None] = lambda done: None
) -> Written:
    """Write the frames that are missing or damaged, then the annotations and the card; ``progress`` hears how many.

    Raises InputError when the folder holds a set made with other settings.
    """
    start = time.monotonic()
    _claim(config)
    missing = [i for i in range(config.frames) if not is_complete(config.stem(i))]
    progress(config.frames - len(missing))
    if workers <= 1 or len(missing) <= 1:
        writer = _FrameWriter(config)
        for index in missing:
            writer(index)
            progress(1)
        writer.close()
    else:
        # spawn, not fork: a GL context and OpenMP threads do not survive a fork
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(config,)) as pool:
            for _ in pool.map(_write_one, missing, chunksize=4):
                progress(1)
    stems = [config.stem(i) for i in range(config.frames)]
    (config.out / config.split).mkdir(parents=True, exist_ok=True)
    instances = write_coco(config.out, config.split, stems)
    _write_card(config, stems)
    return Written(config.frames, len(missing), instances, time.monotonic() - start)


class _FrameWriter:
    """Renders and writes frames by index."""

    def __init__(self, config: DatasetConfig) -> None:
        self._config = config
        library = ShapeLibrary(config.split, config.seed)
        self._generator = SceneGenerator(library, config.scene, config.seed)
        self._sequence = Sequence(self._generator, config.sequence) if config.sequence else None

    def __call__(self, index: int) -> int:
        if self._sequence is None:
            return write_frame(self._config.out, self._generator.generate(index))
        shot = self._sequence.shot(index)
        name = self._config.stem(index).relative_to(self._config.out).as_posix()
        return write_frame(self._config.out, shot.named(name), {"T_world_cam": shot.T_world_cam.tolist()})

    def close(self) -> None:
        self._generator.close()


_worker: _FrameWriter | None = None


def _start_worker(config: DatasetConfig) -> None:
    global _worker
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker = _FrameWriter(config)


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for its next frame for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _write_one(index: int) -> int:
    return _worker(index)


def _settings(config: DatasetConfig) -> dict:
    """What decides the pixels; the number of frames and workers does not."""
    scene = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(config.scene).items()}
    return json.loads(
        json.dumps({"seed": config.seed, "scene": scene, "sequence": config.sequence and asdict(config.sequence)})
    )


def _claim(config: DatasetConfig) -> None:
    """Write dataset.json and this split's settings, or check that those there are the same."""
    folder = config.out / config.split
    folder.mkdir(parents=True, exist_ok=True)
    (config.out / "dataset.json").write_text(json.dumps({"categories": CATEGORIES}, indent=1) + "\n", encoding="utf-8")
    path = folder / "settings.json"
    wanted = _settings(config)
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found != wanted:
            raise InputError(
                f"{path}: the frames there were made with other settings ({found}, now {wanted}); "
                "choose another folder, or the same seed and options to go on"
            )
    path.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")


def _command(config: DatasetConfig) -> str:
    """The command that writes the same frames."""
    scene, moving = config.scene, config.sequence
    words = ["mkpose synth", "--split", config.split, "--frames", config.frames, "--seed", config.seed]
    options = {
        "--size": f"{scene.width}x{scene.height}",
        "--sensor": moving.sensor if moving else scene.sensor,
        "--renderer": scene.renderer,
        "--categories": ",".join(scene.categories) if scene.categories else None,
        "--environments": scene.environments and scene.environments.name,
        "--pictures": scene.pictures and scene.pictures.name,
        "--sequence --rate": moving and f"{moving.rate_hz:g}",
        "--occluder": moving and moving.occluder and "{} {}".format(*moving.occluder),
    }
    usual = ("640x480", "random", "opengl", None)
    words += [f"{option} {value}" for option, value in options.items() if value not in usual]
    return " ".join(map(str, words))


def _write_card(config: DatasetConfig, stems: list[Path]) -> None:
    counts: dict[str, int] = {}
    sensors: dict[str, int] = {}
    fractions = []
    for stem in stems:
        truth = read_truth(stem)
        sensors[truth["sensor"]] = sensors.get(truth["sensor"], 0) + 1
        for entry in truth["objects"]:
            counts[entry["category"]] = counts.get(entry["category"], 0) + 1
            fractions.append(entry["visible_fraction"])
    rows = "\n".join(f"| {name} | {n} |" for name, n in sorted(counts.items()))
    kinds = ", ".join(f"{name} {n}" for name, n in sorted(sensors.items()))
    scene = config.scene
    light = {
        "opengl": "light is one environment and one shadow; glass has one surface; no reflections between things",
        "cycles": "light is one environment and one lamp, traced with few paths and denoised; no caustics",
    }[scene.renderer]
    card = f"""# Synthetic RGB-D scenes, split `{config.split}`

Made by `{_command(config)}`:
procedural shapes and rooms, rendered light, simulated depth sensors. No photograph and no outside
data is in it unless folders of pictures or environments were given.

- {config.frames} frames of {scene.width}x{scene.height} pixels; {sum(counts.values())} objects with ground truth,
  median visible share {np.median(fractions) if fractions else 0.0:.2f}
- depth sensors: {kinds or "none"}
- layout: that of the NOCS benchmark (`_color.png _depth.png _mask.png _coord.png _meta.txt _label.pkl`, `gts/`), with
  `_intrinsics.json` per frame (they vary), exact truth in `_truth.json`, COCO instances in `annotations.json`
- shapes of train, val and test are never the same ones
- colour by {scene.renderer}; limits: {light}; no people

| category | objects |
|---|---|
{rows}
"""
    (config.out / config.split / "README.md").write_text(card, encoding="utf-8")
