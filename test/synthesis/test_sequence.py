"""Recordings: a still world, a smooth camera, one look."""

from __future__ import annotations

import numpy as np
import pytest

from mkpose_ros.errors import InputError
from mkpose_ros.geometry.rotations import rotation_angle_rad
from mkpose_ros.synthesis.generate import SceneGenerator
from mkpose_ros.synthesis.library import ShapeLibrary
from mkpose_ros.synthesis.scene import SceneConfig
from mkpose_ros.synthesis.sequence import Sequence, SequenceConfig


@pytest.fixture(scope="module")
def recorder(renderer):
    generator = SceneGenerator(ShapeLibrary("val", 0), SceneConfig(width=320, height=240), 2)
    generator._renderer = renderer
    return generator


@pytest.fixture(scope="module")
def sequence(recorder):
    return Sequence(recorder, SequenceConfig(occluder=(10, 20)))


def test_objects_stay_where_they_are_in_the_world(sequence):
    world = {}
    for index in (0, 7, 30, 90):
        shot = sequence.shot(index)
        assert shot.sample.frame.stamp_ns == round(index * 1e9 / 30.0)
        for o in shot.sample.objects:
            T = sequence.truth_in_world(o, shot)
            np.testing.assert_allclose(T, world.setdefault(o.instance_id, T), atol=1e-9)
    assert len(world) >= 5


def test_the_recording_has_the_objects_and_categories_asked_for(sequence):
    categories = [t.shape.category for t in sequence.scene.things if t.instance_id]
    assert len(categories) >= 5
    assert len(set(categories)) >= 4


def test_the_camera_moves_smoothly_and_about_as_fast_as_asked(sequence):
    poses = np.array([sequence.camera_pose(i / 30.0) for i in range(200)])
    steps = np.diff(poses[:, :3, 3], axis=0)
    speed = 30.0 * np.linalg.norm(steps, axis=1)
    assert 0.05 < speed.mean() < 0.3
    assert np.linalg.norm(np.diff(steps, axis=0), axis=1).max() * 30.0**2 < 1.5  # m/s^2
    assert np.degrees(rotation_angle_rad(poses[:-1, :3, :3], poses[1:, :3, :3])).max() < 1.5
    assert np.linalg.norm(poses[-1, :3, 3] - poses[0, :3, 3]) > 0.1


def test_any_frame_can_be_had_alone(recorder, sequence):
    again = Sequence(recorder, SequenceConfig(occluder=(10, 20)))
    np.testing.assert_array_equal(again.shot(33).sample.frame.rgb, sequence.shot(33).sample.frame.rgb)


def test_what_passes_by_hides_objects_for_a_while(sequence):
    def pixels(index):
        return (sequence.shot(index).sample.instance_ids > 0).sum()

    assert pixels(15) < 0.8 * pixels(8)
    assert pixels(22) > 0.8 * pixels(8)


def test_bad_settings_are_refused(recorder):
    with pytest.raises(InputError, match="rate_hz"):
        SequenceConfig(rate_hz=0.0)
    with pytest.raises(InputError, match="occluder"):
        SequenceConfig(occluder=(5, 5))
    with pytest.raises(InputError, match="expected 0 or more"):
        Sequence(recorder).shot(-1)
    few = SceneGenerator(ShapeLibrary("val", 0), SceneConfig(categories=("can",)), 0)
    with pytest.raises(InputError, match="4 categories wanted"):
        _ = Sequence(few, SequenceConfig()).scene
