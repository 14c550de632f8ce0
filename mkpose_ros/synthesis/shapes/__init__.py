"""Parametric generators, one function a category: ``(rng, name) -> Shape``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from mkpose_ros.synthesis.shapes.base import Material, Shape
from mkpose_ros.synthesis.shapes.bottles import bottle, can
from mkpose_ros.synthesis.shapes.clutter import distractor
from mkpose_ros.synthesis.shapes.devices import camera, laptop
from mkpose_ros.synthesis.shapes.household import box, cutlery, remote, shoe, tube
from mkpose_ros.synthesis.shapes.vessels import bowl, cup, glass, mug, teapot

__all__ = ["GENERATORS", "Material", "Shape"]

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
