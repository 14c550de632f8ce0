"""The estimator: poses where the points are, faults dropped and counted, an honest covariance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mkpose_ros.errors import InputError, ModelError
from mkpose_ros.geometry.camera import deproject
from mkpose_ros.geometry.sampling import farthest_point_order
from mkpose_ros.inference.cloud_box import CloudBoxes, cloud_frame, completion_features
from mkpose_ros.inference.engine import open_engine
from mkpose_ros.inference.estimator import PoseEstimator
from mkpose_ros.inference.perceptron import Perceptron
from mkpose_ros.inference.refinement import CELLS, Refiner
from mkpose_ros.types import CameraIntrinsics, Instance, RgbdFrame, Symmetry

HEIGHT, WIDTH = 120, 160
K = CameraIntrinsics(150.0, 150.0, 79.5, 59.5, WIDTH, HEIGHT)


def _frame(depth_m: np.ndarray | None = None) -> RgbdFrame:
    rng = np.random.default_rng(0)
    if depth_m is None:
        depth_m = rng.integers(900, 950, (HEIGHT, WIDTH)).astype(np.float32) * np.float32(0.001)
    return RgbdFrame(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8), depth_m, K)


def _instance(category="mug", box=(40, 30, 90, 70), score=0.9) -> Instance:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return Instance(mask, np.array(box, np.float32), category, score)


def _assert_same(one, other):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.T_cam_obj, b.T_cam_obj)
        np.testing.assert_array_equal(a.size_m, b.size_m)
        np.testing.assert_array_equal(a.covariance, b.covariance)
        np.testing.assert_array_equal(a.keypoints_m, b.keypoints_m)


def test_a_pose_lies_where_the_points_are(make_engine, text_features):
    def shift(outputs):
        outputs["translation"][:] = [0.01, 0.02, 0.03]

    frame, instance = _frame(), _instance()
    estimator = PoseEstimator(make_engine(shift), text_features)
    (pose,) = estimator.estimate(frame, [instance])
    # Independently: the mean of all of the mask's points, to within the sampling error of 32 of them.
    v, u = np.nonzero(instance.mask)
    z = frame.depth_m[v, u]
    mean = np.array([((u - K.cx) * z / K.fx).mean(), ((v - K.cy) * z / K.fy).mean(), z.mean()])
    np.testing.assert_allclose(pose.T_cam_obj[:3, 3], mean + [0.01, 0.02, 0.03], atol=0.04)
    inputs = estimator.engine.seen
    np.testing.assert_allclose(
        pose.keypoints_m, inputs["points"][0, :8] + pose.T_cam_obj[:3, 3] - [0.01, 0.02, 0.03], atol=1e-6
    )
    assert (pose.category, pose.score) == ("mug", 0.9)
    np.testing.assert_allclose(pose.size_m, [0.1, 0.2, 0.3], atol=1e-7)
    assert pose.mask is instance.mask


def test_the_engine_sees_points_in_farthest_point_order_with_their_own_pixels(make_engine, text_features):
    frame = _frame()
    estimator = PoseEstimator(make_engine(), text_features)
    batch = estimator.prepare(frame, [_instance(), _instance("bottle", (5, 5, 60, 50))])
    for row in range(2):
        points = batch.inputs["points"][row]
        np.testing.assert_array_equal(farthest_point_order(points), np.arange(len(points)))
        original = {tuple(p): tuple(q) for p, q in zip(batch.crops.points_m[row], batch.crops.pixels[row], strict=True)}
        assert all(original[tuple(p)] == tuple(q) for p, q in zip(points, batch.inputs["pixels"][row], strict=True))


def test_only_the_networks_centres_come_first_and_the_other_points_keep_their_order(make_engine, text_features):
    batch = PoseEstimator(make_engine(n_centres=5), text_features).prepare(_frame(), [_instance()])
    drawn = batch.crops.points_m[0]
    np.testing.assert_array_equal(batch.inputs["points"][0], drawn[farthest_point_order(drawn, 5)])


def test_the_engine_sees_each_instances_own_text(make_engine, text_features):
    estimator = PoseEstimator(make_engine(), text_features)
    estimator.estimate(_frame(), [_instance("bottle"), _instance("mug")])
    for row, name in enumerate(("bottle", "mug")):
        text, mask = text_features.batch([name])
        np.testing.assert_array_equal(estimator.engine.seen["text"][row], text[0])
        np.testing.assert_array_equal(estimator.engine.seen["text_mask"][row], mask[0])


@pytest.mark.parametrize(
    ("reason", "spoil"),
    [
        ("not finite", lambda o: o["translation"].__setitem__((1, 2), np.nan)),
        ("not finite", lambda o: o["keypoints"].__setitem__((1, 0, 0), np.inf)),
        ("not finite", lambda o: o["log_variance"].__setitem__((1, 5), np.nan)),
        ("rotation", lambda o: o["rotation"].__setitem__(1, 1.1 * np.eye(3))),
        ("rotation", lambda o: o["rotation"].__setitem__(1, np.diag([1.0, 1.0, -1.0]))),
        ("rotation", lambda o: o["rotation"].__setitem__(1, 0.0)),
        ("size", lambda o: o["size"].__setitem__((1, 0), -0.1)),
        ("size", lambda o: o["size"].__setitem__((1, 0), 0.0)),
        ("size", lambda o: o["size"].__setitem__((1, 0), 50.0)),
        ("behind", lambda o: o["translation"].__setitem__((1, 2), -3.0)),
    ],
)
def test_an_answer_that_is_no_pose_is_dropped_and_counted(make_engine, text_features, reason, spoil):
    estimator = PoseEstimator(make_engine(spoil), text_features)
    poses = estimator.estimate(_frame(), [_instance("mug"), _instance("bottle"), _instance("camera")])
    assert [p.category for p in poses] == ["mug", "camera"]
    assert +estimator.dropped == {reason: 1}


def test_a_rotation_of_a_half_precision_engine_is_made_exact(make_engine, text_features):
    rotation = Rotation.from_euler("xyz", [30, 40, 50], degrees=True).as_matrix().astype(np.float16)
    estimator = PoseEstimator(make_engine(lambda o: o["rotation"].__setitem__(slice(None), rotation)), text_features)
    (pose,) = estimator.estimate(_frame(), [_instance()])
    R = pose.T_cam_obj[:3, :3]
    np.testing.assert_allclose(R.T @ R, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(R, rotation, atol=2e-3)


@pytest.mark.parametrize("count", [0, 1, 16, 17, 100])
def test_any_number_of_instances_is_served_in_batches_of_at_most_sixteen(make_engine, text_features, count):
    estimator = PoseEstimator(make_engine(), text_features)
    instances = [_instance(box=(i, i % 50, i + 30, i % 50 + 20)) for i in range(count)]
    poses = estimator.estimate(_frame(), instances)
    assert len(poses) == count
    assert sum(estimator.engine.batches) == count
    assert max(estimator.engine.batches, default=0) <= 16
    for pose, instance in zip(poses, instances, strict=True):
        np.testing.assert_array_equal(pose.box2d, instance.box2d)


def test_a_mask_with_few_points_is_dropped_and_counted(make_engine, text_features):
    estimator = PoseEstimator(make_engine(), text_features)
    poses = estimator.estimate(_frame(), [_instance(box=(0, 0, 4, 4)), _instance("bottle")])
    assert [p.category for p in poses] == ["bottle"]
    assert estimator.dropped["points"] == 1


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, -1.0])
def test_a_frame_without_depth_gives_no_pose(make_engine, text_features, value):
    estimator = PoseEstimator(make_engine(), text_features)
    assert estimator.estimate(_frame(np.full((HEIGHT, WIDTH), value, np.float32)), [_instance()]) == []


def test_an_unknown_category_is_an_error_that_lists_the_known_ones(make_engine, text_features):
    with pytest.raises(InputError, match=r"category toaster has no text features: known are mug, bottle"):
        PoseEstimator(make_engine(), text_features).estimate(_frame(), [_instance("toaster")])


def test_an_unknown_category_can_be_skipped_and_is_counted(make_engine, text_features):
    estimator = PoseEstimator(make_engine(), text_features, unknown_category="skip")
    poses = estimator.estimate(_frame(), [_instance("toaster"), _instance("mug")])
    assert [p.category for p in poses] == ["mug"]
    assert estimator.dropped["category"] == 1


def test_the_policy_for_unknown_categories_is_checked(make_engine, text_features):
    with pytest.raises(InputError, match="'ignore', expected error or skip"):
        PoseEstimator(make_engine(), text_features, unknown_category="ignore")


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_sixteen_bit_millimetres_and_float_metres_give_the_same_poses(tiny_model, text_features, backend):
    millimetres = np.random.default_rng(1).integers(500, 560, (HEIGHT, WIDTH)).astype(np.uint16)
    from_16uc1 = millimetres.astype(np.float32) * np.float32(0.001)
    from_32fc1 = (millimetres / 1000.0).astype(np.float32)
    estimator = PoseEstimator(open_engine(tiny_model, backend), text_features)
    one, other = (estimator.estimate(_frame(depth), [_instance()])[0] for depth in (from_16uc1, from_32fc1))
    np.testing.assert_allclose(one.T_cam_obj, other.T_cam_obj, atol=1e-6)
    np.testing.assert_allclose(one.size_m, other.size_m, atol=1e-6)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_result_depends_on_its_frame_alone(tiny_model, text_features, backend):
    estimator = PoseEstimator(open_engine(tiny_model, backend), text_features)
    instances = [_instance("mug"), _instance("bottle", (0, 0, 30, 30)), _instance("camera", (140, 100, 160, 120))]
    first = estimator.estimate(_frame(), instances)
    estimator.estimate(_frame(np.ones((HEIGHT, WIDTH), np.float32)), instances[:2])
    _assert_same(first, estimator.estimate(_frame(), instances))


def test_both_cpu_engines_give_the_same_poses(tiny_model, text_features):
    instances = [_instance("mug"), _instance("bottle", (0, 0, 30, 30))]
    results = [
        PoseEstimator(open_engine(tiny_model, backend), text_features).estimate(_frame(), instances)
        for backend in ("onnxruntime", "openvino")
    ]
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one.T_cam_obj, other.T_cam_obj, atol=1e-5)
        np.testing.assert_allclose(one.covariance, other.covariance, atol=1e-7)


@pytest.mark.parametrize(
    ("category", "probability", "expected"),
    [
        ("bottle", 0.0, Symmetry(("y",))),
        ("mug", 0.4, Symmetry()),
        ("mug", 0.6, Symmetry(("y",))),
        ("camera", 1.0, Symmetry()),
        ("box", 1.0, Symmetry((), (2, 2, 2))),
        ("gadget", 0.4, Symmetry()),
        ("gadget", 0.6, Symmetry(("y",))),
    ],
)
def test_symmetry_is_the_categorys_unless_what_is_seen_decides(
    make_engine, text_features, category, probability, expected
):
    engine = make_engine(lambda o: o["axis_symmetric"].__setitem__(slice(None), probability))
    (pose,) = PoseEstimator(engine, text_features).estimate(_frame(), [_instance(category)])
    assert pose.symmetry == expected


def test_the_models_calibration_scales_the_variances(make_engine, text_features):
    scale = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    plain, calibrated = (
        PoseEstimator(engine, text_features).estimate(_frame(), [_instance("camera")])[0].covariance
        for engine in (make_engine(), make_engine(calibration={"variance_scale": scale}))
    )
    np.testing.assert_allclose(np.diag(calibrated) / np.diag(plain), scale)


def test_text_features_of_another_training_are_told(make_engine, text_features, caplog):
    own = text_features.fingerprint(["mug", "bottle"])
    PoseEstimator(make_engine(text_hash=own), text_features)
    PoseEstimator(make_engine(text_hash=""), text_features)
    PoseEstimator(make_engine(text_hash="other", categories=["mug", "unknown"]), text_features)
    assert not caplog.records
    PoseEstimator(make_engine(text_hash="other"), text_features)
    assert "text features of mug, bottle are not those that model tiny was trained with" in caplog.text


def test_an_instance_may_not_change(make_engine, text_features):
    instance = _instance()
    before = replace(instance, mask=instance.mask.copy())
    PoseEstimator(make_engine(), text_features).estimate(_frame(), [instance])
    np.testing.assert_array_equal(instance.mask, before.mask)


def _shifts_by(shift: float, features: int) -> dict:
    """A refiner's metadata that moves each box along its own axes by as many half-sizes, whatever it sees."""
    bias = np.concatenate([np.full(3, shift), np.zeros(6)])
    nothing = Perceptron(np.zeros(features), np.ones(features), (np.zeros((features, 9)),), (bias,))
    return Refiner(nothing, 1).to_metadata()


def test_the_refiner_has_the_last_word_on_categories_it_knows(make_engine, text_features):
    features = 66 + 6 * CELLS**2 + text_features.shape[1]
    calibration = {"pose_source": "refined", "refiner": _shifts_by(0.5, features)}
    frame, boxes = _frame(), ((10, 10, 60, 50), (80, 10, 140, 50))
    instances = [_instance("mug", boxes[0]), _instance("gadget", boxes[1])]
    fused, found = (
        PoseEstimator(
            make_engine(
                calibration=c,
            ),
            text_features,
        ).estimate(frame, instances)
        for c in ({"pose_source": "fused"}, calibration)
    )
    np.testing.assert_allclose(
        found[0].T_cam_obj[:3, 3], fused[0].T_cam_obj[:3, 3] + fused[0].T_cam_obj[:3, :3] @ (0.25 * fused[0].size_m)
    )
    np.testing.assert_array_equal(found[1].T_cam_obj, fused[1].T_cam_obj)  # the model was not trained on gadgets


def test_a_category_never_trained_on_gets_the_box_of_its_cloud(make_engine, text_features):
    features = 66 + 6 * CELLS**2 + text_features.shape[1]
    calibration = {"pose_source": "refined", "refiner": _shifts_by(0.0, features)}
    seen = completion_features(cloud_frame(np.zeros((1, 2, 3)), np.ones((1, 3)))).shape[1]
    nothing_to_add = Perceptron(np.zeros(seen), np.ones(seen), (np.zeros((seen, 6)),), (np.zeros(6),))
    frame, wall_m = _frame(), 0.01
    instances = [_instance("mug", (10, 10, 60, 50)), _instance("gadget", (80, 10, 140, 50))]
    plain, found = (
        PoseEstimator(make_engine(calibration=c), text_features).estimate(frame, instances)
        for c in (calibration, calibration | {"completion": CloudBoxes(nothing_to_add).to_metadata()})
    )
    np.testing.assert_array_equal(found[0].T_cam_obj, plain[0].T_cam_obj)
    assert not np.allclose(found[1].size_m, plain[1].size_m)
    u, v = np.meshgrid(np.arange(80, 140), np.arange(10, 50))
    cloud_m = deproject(u, v, frame.depth_m[10:50, 80:140], K).reshape(-1, 3)
    local_m = (cloud_m - found[1].T_cam_obj[:3, 3]) @ found[1].T_cam_obj[:3, :3]
    assert np.mean(np.abs(local_m) < 0.5 * found[1].size_m + wall_m) > 0.9  # the box holds what is seen
    assert np.prod(found[1].size_m) < 1.2 * np.prod(np.ptp(cloud_m, axis=0) + wall_m)


def test_a_refined_pose_without_a_refiner_is_refused(make_engine, text_features):
    with pytest.raises(ModelError, match="no refiner"):
        PoseEstimator(make_engine(calibration={"pose_source": "refined"}), text_features)
