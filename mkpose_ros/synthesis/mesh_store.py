"""Shapes on disk: one compact .npz a shape (no pickles) and one index.json a folder, with licences and credits."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from mkpose_ros.errors import InputError
from mkpose_ros.synthesis.shapes.base import Material, Shape
from mkpose_ros.types import Symmetry

__all__ = ["INDEX", "MeshRecord", "read_index", "read_shape", "write_index", "write_shape"]

INDEX = "index.json"


@dataclass(frozen=True)
class MeshRecord:
    """What index.json says of one model."""

    name: str  # such as "robosuite_can"; its file is <name>.npz
    category: str
    source: str  # such as "robosuite 1.5.2"
    licence: str  # an SPDX identifier
    author: str
    size_m: tuple[float, float, float]
    axes: str  # which of the source's axes became x, y and z, such as "x z -y"
    scale: float  # metres per unit of the source
    symmetry: Mapping[str, Sequence]  # {"infinite": ["y"]} or {"orders": [1, 2, 1]}
    faces: int


def write_shape(shape: Shape, folder: Path) -> Path:
    """Write ``<folder>/<name>.npz``: 16-bit positions in the tight box, 8-bit normals, JPEG textures."""
    folder.mkdir(parents=True, exist_ok=True)
    low, high = shape.vertices_m.min(axis=0), shape.vertices_m.max(axis=0)
    extent = np.maximum(high - low, 1e-9)
    arrays = {
        "box_m": np.stack([low, high]).astype(np.float32),
        "vertices": np.round((shape.vertices_m - low) / extent * 65535.0).astype(np.uint16),
        "normals": np.round(shape.normals * 127.0).astype(np.int8),
        "faces": shape.faces.astype(np.uint16 if len(shape.vertices_m) < 65536 else np.uint32),
        "face_materials": shape.face_materials.astype(np.uint8),
    }
    if any(material.texture is not None for material in shape.materials) and shape.uv is not None:
        arrays["uv"] = shape.uv.astype(np.float32)
    if shape.handle_vertices is not None:
        arrays["handle_vertices"] = np.packbits(shape.handle_vertices)
    for i, material in enumerate(shape.materials):
        values = [*material.albedo, material.roughness, material.metallic, float(material.transmissive)]
        arrays[f"material_{i}"] = np.array(values, dtype=np.float32)
        if material.texture is not None:
            _, data = cv2.imencode(".jpg", material.texture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
            arrays[f"texture_{i}"] = data.reshape(-1)
    path = folder / f"{shape.name}.npz"
    np.savez_compressed(path, **arrays)
    return path


def read_shape(folder: Path, record: MeshRecord) -> Shape:
    """The shape of an index record. Raises InputError for a missing or damaged file."""
    path = folder / f"{record.name}.npz"
    try:
        with np.load(path, allow_pickle=False) as data:
            low, high = data["box_m"].astype(np.float64)
            vertices_m = (low + data["vertices"] / 65535.0 * (high - low)).astype(np.float32)
            normals = data["normals"].astype(np.float32) / 127.0
            n_vertices, faces = len(vertices_m), data["faces"].astype(np.int32)
            if faces.max() >= n_vertices or len(normals) != n_vertices:
                raise ValueError(f"faces point to vertex {faces.max()} of {n_vertices}")
            materials = tuple(_read_material(data, i) for i in range(sum(k.startswith("material_") for k in data)))
            handle = data.get("handle_vertices")
            return Shape(
                name=record.name,
                category=record.category,
                vertices_m=vertices_m,
                normals=normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6),
                faces=faces,
                uv=data.get("uv"),
                materials=materials,
                face_materials=data["face_materials"].astype(np.int32),
                symmetry=symmetry_from(record.symmetry),
                size_m=(high - low),
                handle_vertices=None if handle is None else np.unpackbits(handle)[:n_vertices].astype(bool),
                source=record.source,
            )
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"mesh file {path}: {error}. Expected an .npz written by `mkpose meshes`; convert it again"
        ) from error


def symmetry_from(entry: Mapping[str, Sequence]) -> Symmetry:
    """{"infinite": [...], "orders": [...]} as a Symmetry."""
    return Symmetry(tuple(entry.get("infinite", ())), tuple(entry.get("orders", (1, 1, 1))))


def write_index(records: Sequence[MeshRecord], folder: Path) -> Path:
    """Add ``records`` to the folder's index.json, by name, and rewrite LICENSES.md from it."""
    known = {r.name: r for r in read_index(folder)} if (folder / INDEX).exists() else {}
    known.update({r.name: r for r in records})
    ordered = [known[name] for name in sorted(known)]
    text = json.dumps({"format_version": 1, "models": [asdict(r) for r in ordered]}, indent=1)
    (folder / INDEX).write_text(text + "\n", encoding="utf-8")
    lines = ["# Licences and credits of these meshes", "", "| model | category | source | licence | author |"]
    lines += ["|---|---|---|---|---|"]
    lines += [f"| {r.name} | {r.category} | {r.source} | {r.licence} | {r.author} |" for r in ordered]
    lines += ["", "Changes: turned to the object frame, scaled to metres, thinned out, textures shrunk.", ""]
    (folder / "LICENSES.md").write_text("\n".join(lines), encoding="utf-8")
    return folder / INDEX


def read_index(folder: Path) -> list[MeshRecord]:
    """The records of a folder of converted meshes. Raises InputError."""
    path = folder / INDEX
    try:
        models = json.loads(path.read_text(encoding="utf-8"))["models"]
        return [MeshRecord(**{**entry, "size_m": tuple(entry["size_m"])}) for entry in models]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"mesh index {path}: {error}. Expected the index.json that `mkpose meshes` writes; convert the folder first"
        ) from error


def _read_material(data, i: int) -> Material:
    values = data[f"material_{i}"]
    texture = None
    if f"texture_{i}" in data:
        texture = cv2.imdecode(data[f"texture_{i}"], cv2.IMREAD_COLOR)
        if texture is None:
            raise ValueError(f"texture {i} is no JPEG")
        texture = np.ascontiguousarray(texture[..., ::-1])
    albedo = tuple(float(v) for v in values[:3])
    return Material(albedo, float(values[3]), float(values[4]), texture, bool(values[5] > 0.5))
