"""Masks of the user's own segmenter: a label image, and what names its values.

That is the parameter mask_classes, or a vision_msgs/Detection2DArray of the same stamp, whose detections have no
masks of their own: a detection's id is its value in the label image.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mkpose_ros.errors import InputError
from mkpose_ros.ros.lists import category_names
from mkpose_ros.ros.parameters import Settings
from mkpose_ros.segmentation import instances_from_label_image
from mkpose_ros.types import Instance

try:
    from vision_msgs.msg import Detection2DArray
except ImportError:
    Detection2DArray = None

__all__ = ["Detection2DArray", "instances_of_detections", "instances_of_labels", "needs_detections"]

_LABELS_PER_CLASS = 256  # a label image's pixel is 256 * class + instance


def needs_detections(settings: Settings) -> bool:
    """Whether a Detection2DArray names the values of the label image."""
    return settings.segmenter == "outside" and not settings.mask_classes


def instances_of_labels(labels: np.ndarray, mask_classes: str) -> list[Instance]:
    """The instances of a label image (H, W): value 256 * c + i is instance i of the c-th of mask_classes, from 1."""
    names = category_names(mask_classes)
    categories = {}
    for value in np.unique(labels).tolist():
        index = value // _LABELS_PER_CLASS
        if 1 <= index <= len(names):
            categories[value] = names[index - 1]
    return instances_from_label_image(labels, categories)


def instances_of_detections(labels: np.ndarray, message: Any) -> list[Instance]:
    """The instances of a label image (H, W) that a Detection2DArray names, with their best hypotheses' scores.

    A detection's id is its pixels' value; with an empty id it is the detection's place in the array, counted from 1.
    One without a hypothesis is no object. Raises InputError for an id that is no whole number.
    """
    categories, scores = {}, {}
    for place, detection in enumerate(message.detections, start=1):
        if detection.id and not detection.id.isdecimal():
            raise InputError(
                f"mask_detections: got the id '{detection.id}', expected the detection's value in the label image on "
                "masks as a whole number, or nothing"
            )
        if detection.results:
            best = max((result.hypothesis for result in detection.results), key=lambda hypothesis: hypothesis.score)
            value = int(detection.id) if detection.id else place
            categories[value], scores[value] = best.class_id, best.score
    return instances_from_label_image(labels, categories, scores)
