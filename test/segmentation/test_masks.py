"""Label images, boxes of masks and pasted masks."""

from __future__ import annotations

import numpy as np
import pytest

from mkpose_ros.errors import InputError
from mkpose_ros.segmentation.masks import instances_from_label_image, label_image, mask_box, paste_mask


def slow_paste(probability, box, height, width):
    """The same by the definition, pixel by pixel."""
    m = probability.shape[0]
    padded = np.pad(probability, 1)
    mask = np.zeros((height, width))
    for v in range(height):
        for u in range(width):
            x = (u + 0.5 - box[0]) / (box[2] - box[0]) * m - 0.5
            y = (v + 0.5 - box[1]) / (box[3] - box[1]) * m - 0.5
            if not (-1 < x < m and -1 < y < m):
                continue
            x0, y0 = int(np.floor(x)), int(np.floor(y))
            fx, fy = x - x0, y - y0
            q = padded[y0 + 1 : y0 + 3, x0 + 1 : x0 + 3]
            mask[v, u] = np.array([1 - fy, fy]) @ q @ np.array([1 - fx, fx])
    return mask


def test_a_label_image_survives_the_round_trip():
    labels = np.zeros((30, 40), np.uint16)
    labels[3:10, 4:12] = 1
    labels[15:25, 20:38] = 2
    instances = instances_from_label_image(labels, {1: "mug", 2: "can"})
    assert [i.category for i in instances] == ["mug", "can"]
    assert instances[1].box2d.tolist() == [20, 15, 38, 25]
    assert np.array_equal(label_image(instances, 30, 40), labels)


def test_values_without_a_name_are_background():
    labels = np.full((10, 10), 255, np.uint8)
    labels[2:5, 2:5] = 7
    assert [i.category for i in instances_from_label_image(labels, {7: "bowl", 8: "mug"})] == ["bowl"]


def test_instances_come_with_the_most_certain_first():
    labels = np.array([[1, 2, 3]], np.int32)
    found = instances_from_label_image(labels, {1: "a", 2: "b", 3: "c"}, {1: 0.2, 2: 0.9})
    assert [i.category for i in found] == ["c", "b", "a"]


def test_a_colour_image_is_no_label_image():
    with pytest.raises(InputError, match="label image"):
        instances_from_label_image(np.zeros((4, 4, 3), np.uint8), {1: "mug"})


def test_the_box_of_an_empty_mask_is_empty():
    assert mask_box(np.zeros((5, 5), bool)).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("box", [(5.3, 4.8, 24.1, 17.2), (-3.0, -2.5, 11.7, 40.0), (10.2, 10.1, 11.9, 12.2)])
def test_pasting_agrees_with_its_definition(box):
    probability = np.random.default_rng(1).random((28, 28))
    slow = slow_paste(probability, box, 30, 30)
    undecided = np.abs(slow - 0.5) < 0.02  # OpenCV interpolates in steps of 1/32 pixel
    assert np.array_equal(paste_mask(probability, box, 30, 30) | undecided, (slow >= 0.5) | undecided)


@pytest.mark.parametrize("box", [(50, 50, 60, 60), (-9, -9, -2, -2), (5, 5, 5, 9), (5, 5, 3, 3)])
def test_a_box_outside_or_turned_over_gives_an_empty_mask(box):
    assert not paste_mask(np.ones((28, 28)), box, 30, 30).any()
