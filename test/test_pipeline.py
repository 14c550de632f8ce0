"""The pipeline: stages in order, empty frames, invalid frames refused, dropped instances counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mkpose_ros.errors import InputError
from mkpose_ros.inference.base import PoseEngine
from mkpose_ros.inference.estimator import PoseEstimator
from mkpose_ros.inference.metadata import ModelMetadata
from mkpose_ros.inference.text_features import TextFeatures
from mkpose_ros.pipeline import STAGES, Pipeline, check_frame
from mkpose_ros.segmentation import CleanConfig
from mkpose_ros.tracking import Tracker
from mkpose_ros.types import CameraIntrinsics, Instance, RgbdFrame

HEIGHT, WIDTH = 48, 64


def _frame(**changes) -> RgbdFrame:
    frame = RgbdFrame(
        np.full((HEIGHT, WIDTH, 3), 90, np.uint8),
        np.ones((HEIGHT, WIDTH), np.float32),
        CameraIntrinsics(60.0, 60.0, 31.5, 23.5, WIDTH, HEIGHT),
    )
    return replace(frame, **changes)


def _instance(category: str, score: float, x0: int) -> Instance:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[10:30, x0 : x0 + 15] = True
    return Instance(mask, np.array([x0, 10, x0 + 15, 30], np.float32), category, score)


class _Segmenter:
    name = "given"

    def __init__(self, instances):
        self.instances, self.closed = instances, 0

    def segment(self, frame):
        return list(self.instances)

    def close(self):
        self.closed += 1


class _Engine(PoseEngine):
    name = "upright"
    metadata = ModelMetadata(1, "none", 8, 16, ("mug",), "", {}, {})
    closed = 0

    def _run(self, inputs):
        batch = len(inputs["points"])
        return {
            "rotation": np.tile(np.diag(np.float32([1, -1, -1])), (batch, 1, 1)),
            "translation": np.zeros((batch, 3), np.float32),
            "size": np.full((batch, 3), 0.1, np.float32),
            "keypoints": np.zeros((batch, 4, 3), np.float32),
            "nocs": np.zeros((batch, 4, 3), np.float32),
            "log_variance": np.full((batch, 6), -9.0, np.float32),
            "axis_symmetric": np.zeros(batch, np.float32),
        }

    def close(self):
        self.closed += 1


class _Tracker:
    def expected(self, frame):
        return {}

    def update(self, frame, poses):
        return [replace(pose, track_id=f"{pose.category}_{i}") for i, pose in enumerate(poses)]


def _pipeline(instances, tracker=None) -> Pipeline:
    features = TextFeatures({"mug": np.ones((2, 3)), "can": np.ones((2, 3))}, tokens=4)
    return Pipeline(_Segmenter(instances), PoseEstimator(_Engine(), features), tracker)


def test_a_frame_gives_its_objects_and_the_time_of_each_stage():
    result = _pipeline([_instance("mug", 0.9, 5), _instance("can", 0.8, 40)]).process(_frame())
    assert [o.category for o in result.objects] == ["mug", "can"]
    assert len(result.instances) == 2
    assert tuple(result.stages_ms) == STAGES
    assert all(v >= 0.0 for v in result.stages_ms.values())
    for pose in result.objects:
        assert np.linalg.det(pose.T_cam_obj[:3, :3]) == pytest.approx(1.0)
        assert pose.T_cam_obj[2, 3] == pytest.approx(1.0)


def test_a_frame_without_objects_is_a_normal_result():
    result = _pipeline([]).process(_frame())
    assert (result.objects, result.instances) == ([], [])
    assert tuple(result.stages_ms) == STAGES


def test_a_tracker_names_the_objects():
    result = _pipeline([_instance("mug", 0.9, 5)], _Tracker()).process(_frame())
    assert result.objects[0].track_id == "mug_0"


def test_a_known_object_goes_on_below_the_score_that_it_began_with_and_an_unknown_one_does_not():
    pipeline = _pipeline([_instance("mug", 0.9, 5)], Tracker())
    pipeline.clean = CleanConfig(class_thresholds={"mug": 0.8})
    for k in range(10):
        (known,) = pipeline.process(_frame(stamp_ns=k * 33_000_000)).objects
    pipeline.segmenter.instances = [_instance("mug", 0.5, 5), _instance("mug", 0.5, 40)]
    (found,) = pipeline.process(_frame(stamp_ns=330_000_000)).objects
    assert (found.track_id, found.box2d[0]) == (known.track_id, 5.0)


def test_dropped_instances_are_counted_by_reason():
    frame = _frame()
    frame.depth_m[:, 36:] = 0.0
    pipeline = _pipeline([_instance("mug", 0.9, 5), _instance("mug", 0.1, 5), _instance("can", 0.9, 40)])
    assert len(pipeline.process(frame).objects) == 1
    assert +pipeline.dropped == {"score": 1, "points": 1}


def test_closing_frees_segmenter_and_engine():
    pipeline = _pipeline([])
    pipeline.close()
    assert pipeline.segmenter.closed == pipeline.estimator.engine.closed == 1


K = _frame().intrinsics


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rgb": np.zeros((HEIGHT, WIDTH), np.uint8)}, r"colour image is uint8 \(48, 64\)"),
        ({"rgb": np.zeros((HEIGHT, WIDTH, 4), np.uint8)}, "expected uint8"),
        ({"rgb": np.zeros((HEIGHT, WIDTH, 3), np.float32)}, "colour image is float32"),
        ({"rgb": np.zeros((0, 0, 3), np.uint8)}, "colour image"),
        ({"depth_m": np.ones((HEIGHT, WIDTH), np.uint16)}, "uint16.*millimetres by 1000"),
        ({"depth_m": np.ones((HEIGHT, WIDTH), np.float64)}, "float64"),
        ({"depth_m": np.ones((HEIGHT, WIDTH, 1), np.float32)}, "depth image"),
        ({"depth_m": np.ones((HEIGHT // 2, WIDTH // 2), np.float32)}, "depth is 32x24, colour 64x48.*registered"),
        ({"intrinsics": replace(K, width=640)}, "camera info is for 640x48, the images are 64x48"),
        ({"intrinsics": replace(K, fx=np.nan)}, "fx=nan"),
        ({"intrinsics": replace(K, fy=0.0)}, "fy=0.0.*positive"),
        ({"intrinsics": replace(K, fx=-60.0)}, "positive"),
        ({"intrinsics": replace(K, cx=np.inf)}, "finite"),
    ],
)
def test_an_invalid_frame_is_refused_with_what_was_got_and_expected(changes, message):
    with pytest.raises(InputError, match=message):
        _pipeline([]).process(_frame(**changes))


def test_a_valid_frame_passes():
    check_frame(_frame())
