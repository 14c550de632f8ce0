"""Foreign meshes made fit for use: read with their materials, cleaned, thinned out, and given normals with creases."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import trimesh

from mkpose_ros.errors import DependencyError, InputError
from mkpose_ros.synthesis.shapes.base import Material, Part

__all__ = ["read_parts", "thinned", "with_creases"]

_CREASE_COSINE = np.cos(np.deg2rad(40.0))


def read_parts(path: Path, max_texture_px: int = 192) -> list[Part]:
    """The parts of a mesh file (anything trimesh reads), one a material, in the file's frame and unit.

    Raises InputError for a file that is missing, unreadable, empty, or holds coordinates that are not finite.
    """
    try:
        scene = trimesh.load_scene(path, process=False)
        meshes = [g for g in scene.dump() if isinstance(g, trimesh.Trimesh) and len(g.faces)]
    except Exception as error:  # trimesh's loaders raise whatever the damage triggers
        raise InputError(f"mesh {path}: {type(error).__name__}: {error}. Expected OBJ, GLB, PLY or STL") from error
    if not meshes:
        raise InputError(f"mesh {path}: no triangles. Expected at least one; is it a point cloud or an empty export?")
    for mesh in meshes:
        if not np.isfinite(mesh.vertices).all():
            raise InputError(f"mesh {path}: coordinates that are not finite. Expected numbers; export it again")
    return [_part(mesh, max_texture_px) for mesh in meshes]


def _part(mesh: trimesh.Trimesh, max_texture_px: int) -> Part:
    uv = getattr(mesh.visual, "uv", None)
    uv = np.zeros((len(mesh.vertices), 2)) if uv is None or len(uv) != len(mesh.vertices) else np.asarray(uv)
    faces = np.asarray(mesh.faces)
    welded = trimesh.Trimesh(mesh.vertices, faces, process=False)
    welded.merge_vertices(merge_tex=True, merge_norm=True)
    if len(welded.faces) == len(faces):
        trimesh.repair.fix_normals(welded, multibody=True)
        turned = _cross(welded.vertices, welded.faces)
        flipped = np.einsum("ij,ij->i", turned, _cross(np.asarray(mesh.vertices), faces)) < 0.0
        faces = np.where(flipped[:, None], faces[:, ::-1], faces)
    material = _material(mesh.visual, max_texture_px)
    part = Part(
        np.asarray(mesh.vertices, dtype=np.float64),
        np.zeros_like(mesh.vertices),
        np.nan_to_num(uv),
        faces,
        np.zeros(len(faces), dtype=int),
        (material,),
    )
    return replace(part, normals=_smooth_normals(part))


def _material(visual, max_texture_px: int) -> Material:
    """A Phong or PBR material read as ours; grey where the file has none."""
    source = getattr(visual, "material", None)
    image = getattr(source, "image", None)
    if image is None:
        image = getattr(source, "baseColorTexture", None)
    rgba = getattr(source, "diffuse", None)
    if rgba is None:
        rgba = getattr(source, "main_color", None)
    rgba = np.array([180, 180, 180, 255]) if rgba is None else np.asarray(rgba)
    shininess = float(getattr(source, "glossiness", None) or 20.0)
    roughness = float(np.clip(np.sqrt(2.0 / (shininess + 2.0)), 0.08, 0.9))
    clear = bool(len(rgba) > 3 and rgba[3] < 128)
    albedo = tuple(float(v) / 255.0 for v in rgba[:3])
    if image is None:
        return Material(albedo, roughness, transmissive=clear)
    texture = np.asarray(image.convert("RGB"))
    scale = min(1.0, max_texture_px / max(texture.shape[:2]))
    if scale < 1.0:
        size = (max(1, round(texture.shape[1] * scale)), max(1, round(texture.shape[0] * scale)))
        texture = cv2.resize(texture, size, interpolation=cv2.INTER_AREA)
    return Material(
        tuple(texture.reshape(-1, 3).mean(axis=0) / 255.0), roughness, texture=np.ascontiguousarray(texture)
    )


def thinned(part: Part, max_faces: int) -> Part:
    """The part with at most about ``max_faces`` triangles (quadric decimation); texture coordinates are carried over.

    Raises DependencyError without open3d.
    """
    if len(part.faces) <= max_faces:
        return part
    try:
        import open3d as o3d
    except ImportError as error:
        raise DependencyError("thinning out meshes needs open3d: pip install 'mkpose_ros[view]'") from error
    dense = trimesh.Trimesh(part.vertices, part.faces, process=False)
    dense.merge_vertices(merge_tex=True, merge_norm=True)
    legacy = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(dense.vertices), o3d.utility.Vector3iVector(dense.faces)
    )
    thin = legacy.simplify_quadric_decimation(max_faces)
    vertices, faces = np.asarray(thin.vertices), np.asarray(thin.triangles)
    corners = vertices[faces]  # (F, 3, 3)
    probe = corners + 0.1 * (corners.mean(axis=1, keepdims=True) - corners)  # inside, away from texture seams
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(part.vertices.astype(np.float32), part.faces.astype(np.uint32))
    nearest = scene.compute_closest_points(probe.reshape(-1, 3).astype(np.float32))
    face = part.faces[nearest["primitive_ids"].numpy()]
    weight = nearest["primitive_uvs"].numpy()
    weight = np.concatenate([1.0 - weight.sum(axis=1, keepdims=True), weight], axis=1)
    uv = np.einsum("nk,nkc->nc", weight, part.uv[face])
    result = Part(
        corners.reshape(-1, 3),
        np.zeros((len(uv), 3)),
        uv,
        np.arange(len(uv)).reshape(-1, 3),
        part.face_materials[nearest["primitive_ids"].numpy()[::3]],
        part.materials,
    )
    return replace(result, normals=_smooth_normals(result))


def with_creases(part: Part) -> Part:
    """The part with normals that are smooth up to 40 degrees, and its vertices split where normals or uv differ."""
    _, weld = np.unique(np.round(part.vertices, 7), axis=0, return_inverse=True)
    weld = weld.reshape(-1)
    face_normals = _cross(part.vertices, part.faces)
    area = np.linalg.norm(face_normals, axis=1)
    keep = area > 1e-14
    faces, face_normals, area = part.faces[keep], face_normals[keep], area[keep]
    unit = face_normals / area[:, None]
    around: dict[int, list[int]] = {}
    for corner, vertex in enumerate(weld[faces].reshape(-1)):
        around.setdefault(int(vertex), []).append(corner)
    corner_normals = np.zeros((3 * len(faces), 3))
    for corners in around.values():
        index = np.array(corners) // 3
        near = unit[index] @ unit[index].T > _CREASE_COSINE
        corner_normals[corners] = near @ face_normals[index]
    corner_normals /= np.maximum(np.linalg.norm(corner_normals, axis=1, keepdims=True), 1e-30)
    corner = faces.reshape(-1)
    key = np.column_stack([weld[corner], np.round(part.uv[corner] * 4096), np.round(corner_normals * 100)])
    _, first, inverse = np.unique(key, axis=0, return_index=True, return_inverse=True)
    return replace(
        part,
        vertices=part.vertices[corner][first],
        normals=corner_normals[first],
        uv=part.uv[corner][first],
        faces=inverse.reshape(-1, 3),
        face_materials=part.face_materials[keep],
    )


def _cross(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return np.cross(b - a, c - a)


def _smooth_normals(part: Part) -> np.ndarray:
    normals = np.zeros_like(part.vertices)
    for k in range(3):
        np.add.at(normals, part.faces[:, k], _cross(part.vertices, part.faces))
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
