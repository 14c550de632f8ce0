"""Pictures of poses: what is drawn is where it should be, and nothing odd breaks it."""

from __future__ import annotations

import numpy as np
import pytest

from mkpose_ros.drawing import category_color, draw_instances, draw_poses, draw_text, tile_images
from mkpose_ros.types import CameraIntrinsics, Instance, ObjectPose, Symmetry

K = CameraIntrinsics(300.0, 300.0, 159.5, 119.5, 320, 240)


def pose(t=(0.0, 0.0, 1.0), size=(0.2, 0.2, 0.2), category="mug", symmetry=None) -> ObjectPose:
    T = np.eye(4)
    T[:3, 3] = t
    box, none = np.zeros(4, np.float32), np.zeros((0, 3), np.float32)
    return ObjectPose(category, 0.9, T, np.array(size), np.zeros((6, 6)), symmetry or Symmetry(), box, none)


def blank():
    return np.full((240, 320, 3), 128, np.uint8)


def changed(image):
    rows, columns = np.nonzero((image != 128).any(axis=2))
    return columns.min(), rows.min(), columns.max(), rows.max()


def test_the_box_lies_where_its_corners_project():
    x0, y0, x1, y1 = changed(draw_poses(blank(), [pose()], K, axes=False, labels=False))
    half = 300.0 * 0.1 / 0.9  # the near face
    assert [x0, y0, x1, y1] == pytest.approx([159.5 - half, 119.5 - half, 159.5 + half, 119.5 + half], abs=2.5)


def test_the_input_is_not_touched_and_no_poses_change_nothing():
    image = blank()
    assert (draw_poses(image, [], K) == 128).all()
    draw_poses(image, [pose()], K)
    assert (image == 128).all()


def test_only_the_symmetry_axis_of_a_bottle_is_drawn():
    free = draw_poses(blank(), [pose(symmetry=Symmetry(("y",)))], K, labels=False, fill=False)
    full = draw_poses(blank(), [pose()], K, labels=False, fill=False)

    def red(image):
        return ((image[..., 0] > 180) & (image[..., 1] < 110) & (image[..., 2] < 110)).sum()

    assert red(full) > 20
    assert red(free) == 0


@pytest.mark.parametrize(
    "odd",
    [
        pose((0, 0, -1.0)),
        pose((0, 0, 0.05)),
        pose((5.0, 0, 0.3)),
        pose((0, 0, 1e-9)),
        pose(size=(np.nan, 0.1, 0.1)),
        pose((np.nan, 0, 1)),
        pose((0, 0, np.inf)),
        pose(size=(50.0, 50.0, 50.0)),
    ],
    ids=range(8),
)
def test_odd_poses_do_not_break_the_picture(odd):
    assert draw_poses(blank(), [odd, pose()], K).shape == (240, 320, 3)


def test_masks_are_tinted_in_the_colour_of_their_category():
    mask = np.zeros((240, 320), bool)
    mask[100:150, 100:150] = True
    image = draw_instances(blank(), [Instance(mask, np.array([100, 100, 150, 150], np.float32), "bowl", 0.5)])
    assert (
        np.sign(image[140, 140].astype(int) - 128).tolist() == np.sign(np.array(category_color("bowl")) - 128).tolist()
    )


def test_colours_are_steady_and_exist_for_any_name():
    assert category_color("gizmo") == category_color("gizmo") != category_color("mug")


@pytest.mark.parametrize("corner", [(-50, -50), (1000, 1000), (0, 0), (310, 5)])
def test_text_stays_inside_the_image(corner):
    image = blank()
    draw_text(image, "mug 0.93", corner, (255, 0, 0))
    assert ((image == (255, 0, 0)).all(axis=2)).sum() > 100


def test_labels_of_objects_at_one_place_do_not_cover_each_other():
    poses = [pose(category=c) for c in ("mug", "bowl", "can")]
    image = draw_poses(blank(), poses, K, axes=False, fill=False)
    for category in ("mug", "bowl", "can"):
        assert (image == category_color(category)).all(axis=2).sum() > 400


def test_tiles_fill_rows_and_odd_sizes_are_fitted():
    sheet = tile_images([blank(), blank(), np.zeros((10, 10, 3), np.uint8)], columns=2, gap_px=4)
    assert sheet.shape == (2 * 244 + 4, 2 * 324 + 4, 3)
    assert tile_images([], columns=3).shape == (1, 1, 3)
