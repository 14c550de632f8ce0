"""A Detection2DArray that names the values of a label image."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from mkpose_ros.errors import InputError
from mkpose_ros.ros.outside import instances_of_detections


def detection(identity, *hypotheses):
    """What vision_msgs/Detection2D holds of an object: its id and (class, score) pairs."""
    results = [SimpleNamespace(hypothesis=SimpleNamespace(class_id=c, score=s)) for c, s in hypotheses]
    return SimpleNamespace(id=identity, results=results)


def array(*detections):
    return SimpleNamespace(detections=list(detections))


@pytest.fixture
def labels():
    image = np.zeros((20, 30), np.uint16)
    image[2:8, 3:9] = 1
    image[10:18, 12:28] = 7
    return image


def test_an_id_is_the_value_of_the_pixels_and_the_best_hypothesis_counts(labels):
    found = instances_of_detections(
        labels, array(detection("7", ("can", 0.3), ("bottle", 0.6)), detection("1", ("mug", 0.9)))
    )
    assert [(i.category, i.score) for i in found] == [("mug", 0.9), ("bottle", 0.6)]
    assert found[0].box2d.tolist() == [3, 2, 9, 8]
    assert np.array_equal(found[1].mask, labels == 7)


def test_without_ids_the_place_in_the_array_counts(labels):
    (found,) = instances_of_detections(labels, array(detection("", ("mug", 0.9)), detection("", ("can", 0.8))))
    assert (found.category, found.box2d.tolist()) == ("mug", [3, 2, 9, 8])


def test_what_has_no_hypothesis_or_no_pixels_is_no_object(labels):
    assert instances_of_detections(labels, array(detection("1"), detection("9", ("mug", 0.9)))) == []
    assert instances_of_detections(labels, array()) == []


@pytest.mark.parametrize("identity", ["mug_3", "-1", "1.5"])
def test_an_id_that_is_no_whole_number_is_refused(labels, identity):
    with pytest.raises(InputError, match=f"'{identity}'"):
        instances_of_detections(labels, array(detection(identity, ("mug", 0.9))))
