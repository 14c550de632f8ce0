"""The known numbers of the three IoUs on a 12x9x9 cm box that lies askew to the camera."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import DEFAULT_SIZE
from scipy.spatial.transform import Rotation

from mkpose_ros.evaluation.overlap import exact_iou, published_iou
from mkpose_ros.evaluation.protocol import Mode
from mkpose_ros.geometry.rotations import compose_pose
from mkpose_ros.types import Symmetry

ASKEW = Rotation.from_euler("xyz", [-150, 40, 10], degrees=True).as_matrix()
HALF_TURN = np.diag([-1.0, 1.0, -1.0])


def ious(rotation=ASKEW, shift_x_m=0.0, depth_m=1.0, scale=1.0) -> list[float]:
    """The overlaps nocs, corners, exact of a changed box with the box at (0.1, 0.05, depth)."""
    size = np.array([DEFAULT_SIZE])
    T_true = compose_pose(ASKEW, np.array([0.1, 0.05, depth_m]))
    T_pred = compose_pose(rotation, np.array([0.1 + shift_x_m, 0.05, depth_m]))
    arguments = (T_pred[None], size * scale, T_true[None], size)
    published = [published_iou(*arguments, np.array([False]), mode)[0] for mode in (Mode.NOCS, Mode.CORNERS)]
    return [float(v) for v in (*published, exact_iou(*arguments, [Symmetry()])[0])]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"shift_x_m": 0.5}, (0.932, 0.0, 0.0)),
        ({"shift_x_m": 0.02, "depth_m": 0.5}, (0.959, 0.781, 0.566)),
        ({"shift_x_m": 0.02}, (0.980, 0.781, 0.566)),
        ({"shift_x_m": 0.02, "depth_m": 2.0}, (0.990, 0.781, 0.566)),
        ({"scale": 1.3}, (0.807, 0.455, 1.3**-3)),
        ({"rotation": ASKEW @ HALF_TURN}, (0.433, 1.0, 1.0)),
    ],
)
def test_the_three_overlaps_of_the_reference_box(change, expected):
    published, corners, oriented = ious(**change)
    assert published == pytest.approx(expected[0], abs=6e-4)
    assert corners == pytest.approx(expected[1], abs=6e-4)
    assert oriented == pytest.approx(expected[2], abs=1e-3)


def test_the_published_overlap_grows_with_the_distance_to_the_camera():
    values = [ious(shift_x_m=0.02, depth_m=z)[0] for z in (0.5, 1.0, 2.0, 4.0)]
    assert values == sorted(values)


def test_the_oriented_overlap_does_not_depend_on_the_camera():
    values = [ious(shift_x_m=0.02, depth_m=z)[2] for z in (0.5, 1.0, 2.0, 4.0)]
    assert np.ptp(values) < 1e-12
