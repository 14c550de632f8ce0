"""Pictures of shapes: each alone on a plain table in the same light, a row for each kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from mkpose_ros.drawing import tile_images
from mkpose_ros.geometry.rotations import compose_pose
from mkpose_ros.synthesis.layout import UPRIGHT
from mkpose_ros.synthesis.library import ShapeLibrary
from mkpose_ros.synthesis.lighting import random_lighting
from mkpose_ros.synthesis.render import Renderer
from mkpose_ros.synthesis.scene import Camera, Lighting, Placed, Scene
from mkpose_ros.synthesis.sensor import Dice, expose
from mkpose_ros.synthesis.shapes.base import Material, Shape
from mkpose_ros.synthesis.surfaces import box_shape
from mkpose_ros.synthesis.viewpoints import look_at
from mkpose_ros.types import CameraIntrinsics

__all__ = ["draw_shapes", "rows_of"]

_TURNS_RAD = (-0.6, 0.3, 1.2, 2.1)  # of neighbours, so that handles, lids and backs are seen
_VIEW = np.array([0.6, -0.6, 0.5])  # from the shape towards the camera
_LEAST_M = 0.08  # smaller shapes are drawn smaller
_LIGHT_SEED = 4  # one soft lamp and a window


def rows_of(
    library: ShapeLibrary, categories: Sequence[str], count: int, variants: bool = False
) -> dict[str, list[Shape]]:
    """Up to ``count`` shapes of each category, real meshes first; or of its variants, where it has some."""
    rows = {}
    for category in categories:
        if variants:
            row = [library.get(category, index) for index in library.variants(category)[:count]]
        else:
            row = [library.real(category, index) for index in range(min(count, library.count_real(category)))]
            if library.generates(category):
                row += [library.get(category, index) for index in range(count - len(row))]
        if row:
            rows[category] = row
    return rows


def draw_shapes(rows: Mapping[str, Sequence[Shape]], tile_px: int = 120) -> np.ndarray:
    """A sheet (H, W, 3) uint8 of shapes, a named row each. Raises DependencyError or EngineError without OpenGL."""
    columns = max((len(row) for row in rows.values()), default=0)
    lighting = random_lighting(np.random.default_rng(_LIGHT_SEED))
    renderer, tiles = Renderer(), []
    try:
        for name, row in rows.items():
            tiles.append(_label(name, tile_px))
            tiles += [
                _portrait(renderer, shape, _TURNS_RAD[k % len(_TURNS_RAD)], lighting, tile_px)
                for k, shape in enumerate(row)
            ]
            tiles += [_label("", tile_px)] * (columns - len(row))
    finally:
        renderer.close()
    return tile_images(tiles, columns + 1, gap_px=1)


def _portrait(renderer: Renderer, shape: Shape, turn_rad: float, lighting: Lighting, tile_px: int) -> np.ndarray:
    R = Rotation.from_euler("z", turn_rad).as_matrix() @ UPRIGHT
    z_m = shape.vertices_m @ R[2]
    T_world_obj = compose_pose(R, np.array([0.0, 0.0, -z_m.min()]))
    middle = np.array([0.0, 0.0, 0.5 * np.ptp(z_m)])
    distance_m = 3.4 * max(float(np.linalg.norm(shape.size_m)), _LEAST_M)
    middle_px = 0.5 * (tile_px - 1)
    intrinsics = CameraIntrinsics(2.75 * tile_px, 2.75 * tile_px, middle_px, middle_px, tile_px, tile_px)
    camera = Camera(intrinsics, look_at(middle + _VIEW * distance_m, middle))
    table = Placed(_TABLE, compose_pose(np.eye(3), np.array([0.0, 0.0, -0.05])), casts_shadow=False)
    rendering = renderer.render(Scene((table, Placed(shape, T_world_obj, 1)), lighting, camera))
    return expose(rendering, Dice(*(np.random.default_rng(0) for _ in range(2))), perfect=True)


def _label(name: str, tile_px: int) -> np.ndarray:
    tile = np.full((tile_px, tile_px, 3), 24, np.uint8)
    cv2.putText(tile, name, (6, tile_px // 2 + 5), cv2.FONT_HERSHEY_SIMPLEX, tile_px / 240, (235,) * 3, 1, cv2.LINE_AA)
    return tile


_TABLE = box_shape("portrait_table", (16.0, 16.0, 0.1), Material((0.55, 0.58, 0.62), 0.8), 1.0)
