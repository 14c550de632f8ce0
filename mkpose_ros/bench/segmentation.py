"""How long segmentation takes: each runtime at hand, by stage, for 1, 10 and 50 objects in a 640x480 picture.

What happens inside the network is had by copies of the model that end earlier: after the backbone with its pyramid,
and after the proposals. A stage is what one copy takes longer than the one before.
"""

from __future__ import annotations

import importlib.util
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mkpose_ros.errors import ModelError
from mkpose_ros.inference.engine import PRECISIONS
from mkpose_ros.resources import share_path
from mkpose_ros.segmentation.masks import mask_box
from mkpose_ros.segmentation.onnx_maskrcnn import OnnxMaskRcnn, SegmenterMetadata
from mkpose_ros.segmentation.postprocess import CleanConfig, clean_instances
from mkpose_ros.segmentation.sessions import RUNTIMES, open_session
from mkpose_ros.types import CameraIntrinsics, Instance, RgbdFrame

__all__ = ["bench_segmentation", "with_object_count", "write_beginnings"]

STAGES = ("preprocess", "backbone", "RPN", "heads", "paste")


def bench_segmentation(
    *,
    model_path: Path | None = None,
    runtimes: Sequence[str] | None = None,
    object_counts: Sequence[int] = (1, 10, 50),
    repeats: int = 30,
    threads: int = 0,
    device: str = "cpu",
    picture: np.ndarray | None = None,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Rows {name, backend, model, batch, threads, median_ms, p95_ms, p99_ms, per_s, rss_mb}: stages, and their total.

    Exactly n objects are had by a copy of the model whose last suppression keeps the n best boxes whatever their
    score, so the work of the heads and of pasting is that of a picture with n objects. `picture` is (480, 640, 3)
    uint8, noise by default.
    """
    path = Path(model_path) if model_path else share_path("models", "segmenter", "model.onnx")
    if picture is None:
        picture = np.random.default_rng(seed).integers(0, 255, (480, 640, 3), np.uint8)
    rows = []
    for how in _ways(path, runtimes or [name for name in RUNTIMES if importlib.util.find_spec(name)], device, threads):
        for count in object_counts:
            with tempfile.TemporaryDirectory() as folder:
                times = _stage_times(path, Path(folder), count, how, picture, repeats)
            for stage, milliseconds in times.items():
                rows.append(_row(f"segmentation {stage}, {count} objects", how.name, path, threads, milliseconds))
    for count in object_counts:
        rows.append(_row(f"segmentation clean-up, {count} objects", "numpy", path, 1, _clean_times(count, repeats)))
    return rows


def with_object_count(path: Path, count: int, target: Path) -> Path:
    """Write a copy of a segmenter's ONNX file that finds `count` objects in every picture (at most its own limit)."""
    import onnx

    model = onnx.load(path)
    suppression = [node for node in model.graph.node if node.op_type == "NonMaxSuppression"][-1]
    for position, value in ((2, np.int64([count])), (4, np.float32([-1.0]))):  # how many, above which score
        name = f"bench_{position}"
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
        suppression.input[position] = name
    onnx.save(model, target)
    return target


def write_beginnings(path: Path, folder: Path) -> list[Path]:
    """Write the parts of a segmenter's ONNX file up to the end of its backbone and up to its proposals.

    The backbone is told by the names of its nodes, the proposals are what the first RoiAlign pools. Raises ModelError
    when the file has neither.
    """
    import onnx

    model = onnx.load(path)
    inside = [node for node in model.graph.node if "/backbone/" in node.name]
    names = {node.name for node in inside}
    wanted = {name for node in model.graph.node if node.name not in names for name in node.input}
    ends = [node for node in inside if node.op_type in ("Conv", "MaxPool")]  # not shapes or constants
    pyramid = [name for node in ends for name in node.output if name in wanted]
    proposals = next((node.input[1] for node in model.graph.node if node.op_type == "RoiAlign"), None)
    if not pyramid or proposals is None:
        raise ModelError(
            f"{path}: no backbone or no RoiAlign to be told apart; export it with `mkpose export-segmenter`"
        )
    parts = []
    for number, ends in enumerate((pyramid, [proposals])):
        del model.graph.output[:]
        model.graph.output.extend(onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in ends)
        parts.append(folder / f"part_{number}.onnx")
        onnx.save(model, parts[-1])
    return parts


@dataclass(frozen=True)
class _Way:
    """How a file is run: what `open_session` takes, and the name of what that gives."""

    name: str
    settings: Mapping[str, Any]


def _ways(path: Path, runtimes: Sequence[str], device: str, threads: int) -> list[_Way]:
    """Each runtime in each arithmetic that it has here."""
    ways: dict[str, _Way] = {}
    for runtime in runtimes:
        for precision in PRECISIONS:
            settings = {"runtime": runtime, "device": device, "threads": threads, "precision": precision}
            name = open_session(path, **settings).name
            ways.setdefault(name, _Way(name, settings))
    return list(ways.values())


def _stage_times(
    path: Path, folder: Path, count: int, how: _Way, picture: np.ndarray, repeats: int
) -> dict[str, list[float]]:
    counted = with_object_count(path, count, folder / "model.onnx")
    metadata = SegmenterMetadata.parse(open_session(counted, **how.settings).metadata, counted)
    frame = _on_a_wall(picture)
    canvas, _ = metadata.canvas(frame)
    ends = []
    for part in write_beginnings(counted, folder):  # one session at a time: idle threads of another would disturb it
        session = open_session(part, **how.settings)
        ends.append(_marks(lambda mark, session=session: (session.run({"image": canvas}), mark("")), repeats)[:, 0])
        del session
    segmenter = OnnxMaskRcnn(counted, **how.settings, score_threshold=-1.0)
    marks = _marks(lambda mark: segmenter.segment(frame, on_stage=mark), repeats)
    segmenter.close()
    preprocess, network, paste = marks.T
    # Runs of different copies are unrelated, so the fastest is compared with the fastest and so on.
    backbone, proposals, whole = (np.sort(values) for values in (*ends, network))
    stages = (preprocess, backbone, proposals - backbone, whole - proposals, paste, marks.sum(axis=1))
    return {stage: values.clip(1e-3).tolist() for stage, values in zip((*STAGES, "total"), stages, strict=True)}


def _on_a_wall(picture: np.ndarray) -> RgbdFrame:
    """A picture (480, 640, 3) as a frame of a rough wall 1.2 m away."""
    depth_m = np.random.default_rng(0).normal(1.2, 0.002, (480, 640)).astype(np.float32)
    return RgbdFrame(picture, depth_m, CameraIntrinsics(600.0, 600.0, 320.0, 240.0, 640, 480))


def _marks(run: Callable[[Callable[[str], None]], Any], repeats: int) -> np.ndarray:
    """Milliseconds (repeats, marks) between the calls of the function given to `run`, after three runs to warm up."""
    rows = []
    for _ in range(repeats + 3):
        times = [time.perf_counter()]
        run(lambda _, times=times: times.append(time.perf_counter()))
        rows.append(1e3 * np.diff(times))
    return np.array(rows[3:])


def _clean_times(count: int, repeats: int) -> list[float]:
    """Of `count` discs of 60 px on a wall, 0.3 m in front of it."""
    rng = np.random.default_rng(0)
    depth_m = np.full((480, 640), 1.2, np.float32)
    rows, columns = np.mgrid[:480, :640]
    instances = []
    for _ in range(count):
        mask = (rows - rng.integers(30, 450)) ** 2 + (columns - rng.integers(30, 610)) ** 2 < 30**2
        depth_m[mask] = 0.9
        instances.append(Instance(mask, mask_box(mask), "can", float(rng.uniform(0.5, 1.0))))
    rgb = np.zeros((480, 640, 3), np.uint8)
    frame = RgbdFrame(rgb, depth_m, CameraIntrinsics(600.0, 600.0, 320.0, 240.0, 640, 480))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        clean_instances(frame, instances, CleanConfig(max_instances=max(count, 1)))
        times.append(1e3 * (time.perf_counter() - start))
    return times


def _row(name: str, backend: str, path: Path, threads: int, milliseconds: Sequence[float]) -> dict[str, Any]:
    median, p95, p99 = (float(np.percentile(milliseconds, q)) for q in (50, 95, 99))
    return {
        "name": name, "backend": backend, "model": path.parent.name, "batch": 1, "threads": threads,
        "median_ms": median, "p95_ms": p95, "p99_ms": p99, "per_s": 1e3 / median, "rss_mb": _rss_mb(),
    }  # fmt: skip


def _rss_mb() -> float:
    """This process' resident memory."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), float("nan"))
