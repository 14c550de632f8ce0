"""What a shape is: a triangle mesh in the object frame with materials, symmetry and size, and how parts become one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mkpose_ros.types import Symmetry

__all__ = ["ROUND", "Material", "Part", "Shape", "assemble", "concatenate"]

ROUND = Symmetry(infinite_axes=("y",))


@dataclass(frozen=True)
class Material:
    """How a surface answers light. Colours are sRGB; a texture, where given, replaces the albedo."""

    albedo: tuple[float, float, float]  # sRGB in [0, 1]
    roughness: float  # GGX, in [0, 1]
    metallic: float = 0.0
    texture: np.ndarray | None = None  # (h, w, 3) uint8 sRGB; row 0 is v = 1 (the top)
    transmissive: bool = False  # clear glass or plastic: colour shines through, depth sensors fail


@dataclass(frozen=True)
class Part:
    """A closed surface; vertices are doubled along creases and texture seams, at equal positions."""

    vertices: np.ndarray  # (V, 3) float64 metres
    normals: np.ndarray  # (V, 3) unit, outward
    uv: np.ndarray  # (V, 2)
    faces: np.ndarray  # (F, 3) int
    face_materials: np.ndarray  # (F,) int, index into materials
    materials: tuple[Material, ...]
    is_handle: bool = False

    def moved(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Part:
        """The part shifted by (x, y, z) metres."""
        return replace(self, vertices=self.vertices + np.array([x, y, z]))

    def turned(self, R: np.ndarray) -> Part:
        """The part turned by the rotation matrix R (3, 3) about the origin."""
        return replace(self, vertices=self.vertices @ R.T, normals=self.normals @ R.T)


@dataclass(frozen=True)
class Shape:
    """One object: metric, in the object frame (y up, origin at the centre of its tight box).

    ``faces`` turn counter-clockwise seen from outside. Each closed component is watertight once vertices at equal
    positions are welded. ``handle_vertices`` marks a mug's handle, from which a scene decides whether it is seen.
    """

    name: str  # unique; the same name is the same shape
    category: str
    vertices_m: np.ndarray  # (V, 3) float32
    normals: np.ndarray  # (V, 3) float32
    faces: np.ndarray  # (F, 3) int32
    uv: np.ndarray | None  # (V, 2) float32, v up
    materials: tuple[Material, ...]
    face_materials: np.ndarray  # (F,) int32, index into materials
    symmetry: Symmetry
    size_m: np.ndarray  # (3,) float64 full extents
    handle_vertices: np.ndarray | None = None  # (V,) bool
    source: str = "generator"  # or where a real mesh comes from, such as "robosuite"


def concatenate(parts: Sequence[Part]) -> Part:
    """One part that holds all of them, with the union of their materials."""
    vertex_offsets = np.cumsum([0, *(len(p.vertices) for p in parts)])
    material_offsets = np.cumsum([0, *(len(p.materials) for p in parts)])
    return Part(
        vertices=np.concatenate([p.vertices for p in parts]),
        normals=np.concatenate([p.normals for p in parts]),
        uv=np.concatenate([p.uv for p in parts]),
        faces=np.concatenate([p.faces + o for p, o in zip(parts, vertex_offsets, strict=False)]),
        face_materials=np.concatenate([p.face_materials + o for p, o in zip(parts, material_offsets, strict=False)]),
        materials=tuple(m for p in parts for m in p.materials),
    )


def assemble(name: str, category: str, parts: Sequence[Part], symmetry: Symmetry, source: str = "generator") -> Shape:
    """The shape made of closed parts (their frame: y up, metres), moved to the centre of its tight box."""
    whole = concatenate(parts)
    vertices_m = whole.vertices - 0.5 * (whole.vertices.min(axis=0) + whole.vertices.max(axis=0))
    handle = np.concatenate([np.full(len(p.vertices), p.is_handle) for p in parts])
    return Shape(
        name=name,
        category=category,
        vertices_m=vertices_m.astype(np.float32),
        normals=whole.normals.astype(np.float32),
        faces=whole.faces.astype(np.int32),
        uv=whole.uv.astype(np.float32),
        materials=whole.materials,
        face_materials=whole.face_materials.astype(np.int32),
        symmetry=symmetry,
        size_m=np.ptp(vertices_m, axis=0),
        handle_vertices=handle if handle.any() else None,
        source=source,
    )
