"""Running an estimator over a data set, and the page and figures that come of it."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "datasets"))
import drawn
from scenes import random_scene

from mkpose_ros.categories import load_categories
from mkpose_ros.commands.eval import evaluate as eval_command
from mkpose_ros.datasets import open_dataset
from mkpose_ros.errors import InputError, ModelError
from mkpose_ros.evaluation import NOCS, average_precision_curves, evaluate, job
from mkpose_ros.evaluation.report import Source, markdown, metrics_json
from mkpose_ros.evaluation.runner import Masks, run_estimator, true_instances
from mkpose_ros.evaluation.synthetic_data import _delete_stale, synthetic_dataset
from mkpose_ros.types import ObjectPose


class Oracle:
    """An estimator that knows the answer, off by a centimetre; `engine` stands for itself."""

    name = "oracle"

    def __init__(self):
        self.engine = self.metadata = self
        self.categories = ("camera", "mug")
        self.closed = False

    def estimate(self, frame, instances):
        poses = []
        for instance in instances:
            thing = next(t for t in drawn.things() if t.category == instance.category)
            T = thing.T.copy()
            T[0, 3] += 0.01
            poses.append(
                ObjectPose(
                    category=instance.category,
                    score=instance.score,
                    T_cam_obj=T,
                    size_m=thing.size_m,
                    covariance=np.diag([1e-4] * 3 + [1e-2] * 3),
                    symmetry=drawn_symmetry(),
                    box2d=instance.box2d,
                    keypoints_m=np.zeros((0, 3), np.float32),
                    mask=instance.mask,
                )
            )
        return poses

    def close(self):
        self.closed = True


def drawn_symmetry():
    from mkpose_ros.types import Symmetry

    return Symmetry()


@pytest.fixture
def folder(tmp_path):
    for name in ("test/00000/0000", "test/00000/0001", "train/00000/0000"):
        drawn.own_frame(tmp_path / "set", name)
    return tmp_path / "set"


def test_the_runner_gives_poses_without_masks_and_counts_unreadable_frames(folder):
    (folder / "test/00000/0001_depth.png").write_bytes(b"")
    dataset = open_dataset(folder, "test")
    run = run_estimator(dataset, Oracle())
    assert (run.frames, run.unreadable) == ((0,), 1)
    assert [p.mask for p in run.predictions[0]] == [None, None]
    assert [t.category for t in run.truths[0]] == ["camera", "laptop"]
    assert len(dataset.faults) == 1


def test_true_masks_have_score_one_and_tight_boxes(folder):
    sample = open_dataset(folder)[0]
    instances = true_instances(sample)
    assert [(i.category, i.score) for i in instances] == [("camera", 1.0), ("laptop", 1.0)]
    rows, columns = np.nonzero(sample.instance_ids == 1)
    assert instances[0].box2d.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_predicted_masks_need_a_segmenter_or_published_detections(folder):
    with pytest.raises(InputError, match="--masks gt"):
        run_estimator(open_dataset(folder), Oracle(), Masks.PREDICTED)


def test_the_command_prints_the_promised_json_and_writes_the_report(folder, tmp_path, monkeypatch):
    oracle = Oracle()
    monkeypatch.setattr(job, "_open_estimator", lambda request: oracle)
    arguments = [
        "--data",
        str(folder),
        "--mode",
        "exact",
        "--out",
        str(tmp_path / "out"),
        "--json",
        str(tmp_path / "m.json"),
    ]
    result = CliRunner().invoke(eval_command, arguments)
    assert result.exit_code == 0, result.output
    metrics = json.loads((tmp_path / "m.json").read_text())
    columns = ["iou25", "iou50", "iou75", "5d2cm", "5d5cm", "10d2cm", "10d5cm"]
    assert list(metrics) == ["mode", *columns, "per_category", "instances"]
    assert (metrics["mode"], metrics["instances"]) == ("exact", 4)
    assert metrics["5d2cm"] == pytest.approx(100.0 * 2 / 6, abs=1e-3)
    assert metrics["per_category"]["camera"] == dict.fromkeys(columns, 100.0) | {"instances": 2}
    assert oracle.closed
    page = (tmp_path / "out" / "report.md").read_text()
    assert "*MK-Pose (paper), REAL275*" in page
    assert "84.0" in page
    for picture in ("curves.png", "categories.png", "worst.jpg"):
        assert f"]({picture})" in page
        assert cv2.imread(str(tmp_path / "out" / picture)).shape[0] > 100
    details = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert details["statistics"]["median_translation_cm"] == pytest.approx(1.0)
    assert set(details["modes"]) == {"nocs", "corners", "exact"}


def test_the_card_gets_the_commands_figures_and_keeps_the_rest(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(job, "_open_estimator", lambda request: Oracle())
    card = tmp_path / "README.md"
    card.write_text("# Model\n\n<!-- notes -->\n## Notes\n")
    for _ in range(2):  # the second time replaces the first
        result = CliRunner().invoke(eval_command, ["--data", str(folder), "--card", str(tmp_path)])
        assert result.exit_code == 0, result.output
    text = card.read_text()
    assert text.startswith("# Model\n")
    assert text.endswith("<!-- notes -->\n## Notes\n")
    assert text.count("## Test split") == 1
    assert "`mkpose eval --split test --data set`" in text
    assert "| camera | 2 | 100.0 | 100.0 |" in text
    assert "| trained categories (2) | 2 | 50.0 |" in text  # a mug is in no frame
    assert "| zero-shot: never trained on (4) | 2 | 25.0 |" in text
    assert "100.0 % lie within the 50 % region" in text


def test_a_card_that_is_not_there_is_said(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(job, "_open_estimator", lambda request: Oracle())
    result = CliRunner().invoke(eval_command, ["--data", str(folder), "--card", str(tmp_path)])
    assert isinstance(result.exception, InputError)


def test_an_unknown_model_and_an_unknown_split_are_said(folder):
    with pytest.raises(ModelError, match="neither a path nor a shipped size"):
        job.evaluate_model(job.EvaluationRequest(data=folder, model="huge"))
    with pytest.raises(InputError, match="train, val, test"):
        job.evaluate_model(job.EvaluationRequest(split="real/test"))


@pytest.mark.slow
def test_synthetic_data_is_rendered_once_and_goes_on_where_it_stopped(tmp_path, monkeypatch):
    pytest.importorskip("moderngl")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    seen = []
    first = synthetic_dataset("test", 5, 2, workers=1)
    second = synthetic_dataset("test", 5, 3, workers=1, progress=lambda done, total: seen.append((done, total)))
    assert [f.name for f in second.frames] == ["test/00000/0000", "test/00000/0001", "test/00000/0002"]
    assert seen[0] == (2, 3)
    assert (first[1].frame.rgb == second[1].frame.rgb).all()
    assert second.categories == tuple(load_categories())


def test_scenes_of_versions_that_nobody_uses_are_deleted(tmp_path):
    for name, days in (("unused", 30), ("recent", 1), ("mine", 30)):
        (tmp_path / name / "inside").mkdir(parents=True)
        os.utime(tmp_path / name, (time.time() - days * 86400,) * 2)
    _delete_stale(tmp_path / "mine")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine", "recent"]
    assert (tmp_path / "mine" / "inside").is_dir()


def test_curves_rise_with_open_limits_and_hold_the_table_s_values():
    rng = np.random.default_rng(1)
    images = [random_scene(rng, NOCS.categories) for _ in range(40)]
    predictions, truths = [p for p, _ in images], [t for _, t in images]
    report = evaluate(predictions, truths)
    curves = average_precision_curves(predictions, truths)
    thresholds, values = curves.iou
    assert values.shape == (7, 101)
    assert values[:6, np.argmin(np.abs(thresholds - 0.5))] == pytest.approx(report.ap["iou50"])
    assert values[-1] == pytest.approx(values[:6].mean(axis=0))
    for _, precision in (curves.degrees, curves.centimetres):
        assert (precision[:, -1] >= precision[:, 0]).all()


def test_the_page_of_nothing_has_dashes_not_numbers():
    report = evaluate([], [])
    page = markdown([report], Source("nothing", "none", "ground truth"))
    assert "| bottle | 0 | - |" in page
    assert metrics_json(report)["iou50"] == 0.0
