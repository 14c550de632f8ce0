"""The network beside the yardsticks of baselines.py, on one test set, by the evaluator of `mkpose eval`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mkpose_ros.categories import load_categories
from mkpose_ros.datasets import Dataset
from mkpose_ros.evaluation.card import category_groups
from mkpose_ros.evaluation.evaluator import Report, evaluate
from mkpose_ros.evaluation.protocol import Mode, protocol_for
from mkpose_ros.evaluation.runner import run_estimator
from mkpose_ros.geometry.rotations import compose_pose
from mkpose_ros.inference.base import PoseEngine
from mkpose_ros.inference.covariance import Calibration
from mkpose_ros.inference.crops import make_crops
from mkpose_ros.inference.engine import open_engine
from mkpose_ros.inference.estimator import PoseEstimator
from mkpose_ros.inference.text_features import load_text_features
from mkpose_ros.synthesis.library import ShapeLibrary
from mkpose_ros.training.baselines import Box, MeanShapeIcp, nocs_umeyama, principal_box
from mkpose_ros.types import Instance, ObjectPose, RgbdFrame, Symmetry

__all__ = ["COLUMNS", "compare", "comparison_table"]

COLUMNS = ("iou25", "iou50", "iou75", "5d2cm", "10d2cm", "10d5cm")
POINTS = 256  # of each cloud that a yardstick sees


def compare(
    model: Path,
    dataset: Dataset,
    *,
    also: Mapping[str, Path] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, dict[str, dict[str, float]]]:
    """Percent by method, group of categories and metric: exact oriented IoU, ground-truth masks.

    ``model``: a folder or file as `open_engine` takes it, or a run's best.safetensors; ``also``: other networks by the
    name of their row, an ablated one for example. ``progress`` hears each method's name.
    """
    engine = open_engine(model)
    methods: dict[str, Any] = {
        "mean box by principal axes": _Yardstick(principal_box),
        "mean shape by ICP, 24 starts": _Yardstick(MeanShapeIcp(_template)),
        "NOCS and Umeyama": _NocsUmeyama(_estimator(engine, "head")),
        "the pose head alone": _estimator(engine, "head"),
        "head and keypoints fused": _estimator(engine, "fused"),
        f"MK-Pose `{engine.metadata.size}`": _estimator(engine),
    }
    methods |= {name: _estimator(open_engine(path)) for name, path in (also or {}).items()}
    protocol = protocol_for(dataset.categories)
    trained = engine.metadata.categories or protocol.categories
    rows = {}
    for name, method in methods.items():
        progress(name)
        run = run_estimator(dataset, method)
        report = evaluate(run.predictions, run.truths, Mode.EXACT, protocol=protocol)
        groups = category_groups(protocol.categories, trained)
        rows[name] = {group: _metrics(report, members) for group, members in groups.items()}
    return rows


def comparison_table(rows: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Markdown: a table for each group, a row for each method.

    >>> print(comparison_table({"a": {"all": {"objects": 3, "iou50": 12.5}}}).splitlines()[4])
    | a | - | 12.5 | - | - | - | - | - | - |
    """
    groups = list(next(iter(rows.values())))
    lines = []
    for group in groups:
        objects = next(iter(rows.values()))[group]["objects"]
        lines += [
            f"**{group}**, {objects:.0f} objects",
            "",
            f"| method | {' | '.join(COLUMNS)} | median deg | median cm |",
        ]
        lines.append("|---" * (len(COLUMNS) + 3) + "|")
        for name, row in rows.items():
            values = (row[group].get(column) for column in (*COLUMNS, "median_deg", "median_cm"))
            lines.append(f"| {name} | {' | '.join('-' if v is None else f'{v:.1f}' for v in values)} |")
        lines.append("")
    return "\n".join(lines)


def _metrics(report: Report, members: Sequence[str]) -> dict[str, float]:
    index = [report.protocol.categories.index(member) for member in members]
    pairs = [p for p in report.statistics.pairs if p.truth.category in members]
    result = {"objects": float(report.instances[index].sum())}
    result |= {column: float(np.mean(report.ap[column][index])) for column in COLUMNS}
    if pairs:
        result["median_deg"] = float(np.median([p.degrees for p in pairs]))
        result["median_cm"] = float(np.median([p.centimetres for p in pairs]))
    return result


def _estimator(engine: PoseEngine, source: str | None = None) -> PoseEstimator:
    """The node's estimator, its pose taken from `source` (one of inference.fusion.POSE_SOURCES).

    None: as the model was shipped, or fused for one that was not (a run's weights).
    """
    calibration = Calibration.from_metadata(engine.metadata.calibration)
    if source or not engine.metadata.calibration:
        calibration = replace(calibration, pose_source=source or "fused")
    return PoseEstimator(engine, load_text_features(), unknown_category="skip", calibration=calibration)


class _Yardstick:
    """A fit to an object's points, in the place of the estimator."""

    def __init__(self, fit: Callable[[np.ndarray, str], Box]) -> None:
        self._fit = fit

    def estimate(self, frame: RgbdFrame, instances: Sequence[Instance]) -> list[ObjectPose]:
        crops = make_crops(frame, instances, crop_px=32, n_points=POINTS, rng=np.random.default_rng(0))
        found = []
        for points, centroid_m, i in zip(crops.points_m, crops.centroid_m, crops.kept, strict=True):
            box = self._fit(points.astype(np.float64), instances[i].category)
            found.append(_pose(instances[i], box, centroid_m))
        return found


class _NocsUmeyama:
    """The network's keypoints and coordinates, without its pose and size."""

    def __init__(self, estimator: PoseEstimator) -> None:
        self._estimator = estimator

    def estimate(self, frame: RgbdFrame, instances: Sequence[Instance]) -> list[ObjectPose]:
        batch = self._estimator.prepare(frame, instances)
        outputs = self._estimator.run(batch)
        return [
            _pose(instance, nocs_umeyama(outputs["keypoints"][i], outputs["nocs"][i]), batch.crops.centroid_m[i])
            for i, instance in enumerate(batch.instances)
        ]


def _pose(instance: Instance, box: Box, centroid_m: np.ndarray) -> ObjectPose:
    category = load_categories().get(instance.category)
    return ObjectPose(
        category=instance.category,
        score=instance.score,
        T_cam_obj=compose_pose(box.rotation, box.translation_m + centroid_m),
        size_m=box.size_m,
        covariance=np.zeros((6, 6)),  # unknown
        symmetry=category.symmetry if category else Symmetry(),
        box2d=instance.box2d,
        keypoints_m=np.zeros((0, 3), np.float32),
        mask=instance.mask,
    )


def _template(category: str) -> np.ndarray:
    """Points (1000, 3) on the surface of a generated training shape."""
    shape = ShapeLibrary("train").get(category, 0)
    corners = shape.vertices_m[shape.faces].astype(np.float64)  # (F, 3, 3)
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    rng = np.random.default_rng(0)
    chosen = corners[rng.choice(len(corners), 1000, p=areas / areas.sum())]
    weights = rng.dirichlet(np.ones(3), 1000)
    return np.einsum("nk,nkc->nc", weights, chosen)
