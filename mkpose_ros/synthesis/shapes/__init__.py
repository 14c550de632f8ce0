"""Parametric generators, one function a category: ``(rng, name) -> Shape``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from mkpose_ros.synthesis.shapes.base import Material, Shape
from mkpose_ros.synthesis.shapes.bottle_variants import bottle_variant, can_variant
from mkpose_ros.synthesis.shapes.bottles import bottle, can
from mkpose_ros.synthesis.shapes.clutter import distractor
from mkpose_ros.synthesis.shapes.clutter_variants import distractor_variant
from mkpose_ros.synthesis.shapes.device_variants import camera_variant, laptop_variant
from mkpose_ros.synthesis.shapes.devices import camera, laptop
from mkpose_ros.synthesis.shapes.footwear import shoe_variant
from mkpose_ros.synthesis.shapes.household import box, cutlery, remote, shoe, tube
from mkpose_ros.synthesis.shapes.household_variants import cutlery_variant, remote_variant
from mkpose_ros.synthesis.shapes.vessel_variants import cup_variant, glass_variant, mug_variant, teapot_variant
from mkpose_ros.synthesis.shapes.vessels import bowl, cup, glass, mug, teapot

__all__ = ["GENERATORS", "VARIANTS", "Material", "Shape"]

GENERATORS: Mapping[str, Callable[[np.random.Generator, str], Shape]] = MappingProxyType(
    {
        "bottle": bottle,
        "bowl": bowl,
        "camera": camera,
        "can": can,
        "laptop": laptop,
        "mug": mug,
        "box": box,
        "cup": cup,
        "remote": remote,
        "teapot": teapot,
        "cutlery": cutlery,
        "glass": glass,
        "shoe": shoe,
        "tube": tube,
        "distractor": distractor,
    }
)

VARIANTS: Mapping[str, Callable[[np.random.Generator, str], Shape]] = MappingProxyType(
    {
        "bottle": bottle_variant,
        "camera": camera_variant,
        "can": can_variant,
        "laptop": laptop_variant,
        "mug": mug_variant,
        "cup": cup_variant,
        "remote": remote_variant,
        "teapot": teapot_variant,
        "cutlery": cutlery_variant,
        "glass": glass_variant,
        "shoe": shoe_variant,
        "distractor": distractor_variant,
    }
)
"""Rarer kinds of the same categories; a category without an entry has none."""
