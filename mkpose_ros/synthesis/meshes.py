"""Real meshes turned into shapes: a catalogue says which file is what, this module makes it canonical and metric.

The catalogue (YAML, such as config/real_meshes.yaml) lists models:

    models:
      - name: robosuite_can       # of the shape; also its file's name
        category: can
        files: [meshes/can.stl]   # relative to the source's folder; several are put together
        axes: x z -y              # which of the source's axes become the object's x, y and z
        size_m: [0, 0.12, 0]      # known extents in the object frame, 0 where unknown; the shape is scaled evenly
        licence: MIT              # SPDX
        author: robosuite

Optional: ``parts`` (which of the files' parts, by number; default all), ``scale`` (metres per unit, instead of size_m),
``symmetry`` (default: the category's), ``half`` ("x-": of a pair, keep the components on that side of the source),
``transmissive`` (made of glass), ``albedo`` (a colour, or one a file, for files without materials), and ``offsets`` and
``turns`` ({file: [x, y, z]}, in the source's unit and in degrees, to put several files together).
"""

from __future__ import annotations

import subprocess
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import trimesh
import yaml
from scipy.spatial.transform import Rotation

from mkpose_ros.categories import load_categories
from mkpose_ros.errors import InputError
from mkpose_ros.resources import share_path
from mkpose_ros.synthesis.mesh_reading import read_parts, thinned, with_creases
from mkpose_ros.synthesis.mesh_store import MeshRecord, symmetry_from, write_index, write_shape
from mkpose_ros.synthesis.shapes.base import Part, Shape, assemble, concatenate

__all__ = [
    "convert_folder", "convert_metaworld", "convert_pybullet", "convert_robosuite", "convert_sweethome3d",
    "load_catalogue",
]  # fmt: skip

_MAX_FACES = 4000
_LICENCES = ("CC0-1.0", "CC-BY-3.0", "CC-BY-3.0-US", "CC-BY-4.0", "MIT", "Apache-2.0", "BSD-3-Clause", "Zlib")


def convert_folder(
    root: Path, catalogue: Sequence[Mapping] | Path, out: Path, source: str = "", max_faces: int = _MAX_FACES
) -> list[MeshRecord]:
    """Convert a catalogue's models from ``root`` into ``out`` (.npz, index.json, LICENSES.md); their records.

    Raises InputError that names the model for a bad file or entry; nothing of the folder is used half.
    """
    entries = load_catalogue(catalogue) if isinstance(catalogue, Path) else list(catalogue)
    records = []
    for entry in entries:
        shape, scale = _convert(root, entry, source or str(entry.get("source", root.name)), max_faces)
        write_shape(shape, out)
        records.append(_record(shape, entry, scale))
    write_index(records, out)
    return records


def convert_sweethome3d(path: Path, out: Path) -> list[MeshRecord]:
    """Convert the catalogue's models of Debian's sweethome3d-furniture: its .deb, or a folder of .sh3f files."""
    with tempfile.TemporaryDirectory() as scratch, _unpacked(path) as root:
        for archive in sorted(root.rglob("*.sh3f")):
            with zipfile.ZipFile(archive) as files:
                files.extractall(Path(scratch) / archive.stem)
        return convert_folder(Path(scratch), _shipped("sweethome3d"), out, "sweethome3d-furniture 1.8")


def convert_robosuite(path: Path, out: Path) -> list[MeshRecord]:
    """Convert the catalogue's models of PyPI robosuite: its wheel, or the folder it was unpacked to."""
    with _unpacked(path, "assets/objects/meshes/") as root:
        return convert_folder(root, _shipped("robosuite"), out, "robosuite 1.5.2")


def convert_metaworld(path: Path, out: Path) -> list[MeshRecord]:
    """Convert the catalogue's models of PyPI metaworld: its wheel, or the folder it was unpacked to."""
    with _unpacked(path, "assets/objects/meshes/") as root:
        return convert_folder(root, _shipped("metaworld"), out, "metaworld 3.1.1")


def convert_pybullet(path: Path, out: Path) -> list[MeshRecord]:
    """Convert the catalogue's models of PyPI pybullet (pybullet_data): its wheel, or the folder it was unpacked to."""
    with _unpacked(path, "pybullet_data/objects/") as root:
        return convert_folder(root, _shipped("pybullet"), out, "pybullet_data 3.2.7")


def load_catalogue(path: Path) -> list[dict]:
    """The entries of a catalogue file. Raises InputError."""
    try:
        return list(yaml.safe_load(path.read_text(encoding="utf-8"))["models"])
    except (OSError, KeyError, TypeError, yaml.YAMLError) as error:
        raise InputError(f"mesh catalogue {path}: {error}. Expected `models:` with a list of entries") from error


def _shipped(source: str) -> list[dict]:
    return [e for e in load_catalogue(share_path("config", "real_meshes.yaml")) if e["source"] == source]


def _convert(root: Path, entry: Mapping, source: str, max_faces: int) -> tuple[Shape, float]:
    where = f"mesh catalogue, model {entry.get('name', '?')}"
    missing = [key for key in ("name", "category", "files", "axes", "licence") if key not in entry]
    if missing:
        raise InputError(f"{where}: lacks {', '.join(missing)}. Add them to the entry")
    if entry["licence"] not in _LICENCES:
        raise InputError(f"{where}: licence {entry['licence']!r}, expected one of {', '.join(_LICENCES)}")
    parts = _placed(root, entry)
    if "half" in entry:
        parts = _one_of_pair(parts, str(entry["half"]))
    whole = concatenate(parts)
    turn = _axes(where, entry["axes"])
    whole = whole.turned(turn)
    extent = np.ptp(whole.vertices[np.unique(whole.faces)], axis=0)
    scale = _scale(where, entry, extent)
    whole = replace(whole, vertices=whole.vertices * scale)
    whole = with_creases(_thinned_parts(whole, max_faces))
    category = load_categories().get(entry["category"])
    symmetry = symmetry_from(entry["symmetry"]) if "symmetry" in entry else category.symmetry if category else None
    if symmetry is None:
        raise InputError(f"{where}: category {entry['category']!r} is not in categories.yaml; give its `symmetry`")
    shape = assemble(str(entry["name"]), str(entry["category"]), [whole], symmetry, source)
    if category is not None and category.hidden_handle:
        shape = replace(shape, handle_vertices=_handle(shape.vertices_m))
    return shape, scale


def _placed(root: Path, entry: Mapping) -> list[Part]:
    """The entry's files side by side, each with its own turn, offset and colour."""
    placed = []
    for i, name in enumerate(entry["files"]):
        turn = Rotation.from_euler("xyz", entry.get("turns", {}).get(name, (0, 0, 0)), degrees=True).as_matrix()
        for k, part in enumerate(read_parts(root / name)):
            if k not in entry.get("parts", (k,)):
                continue
            if "albedo" in entry:
                colours = entry["albedo"]
                colour = colours[i] if isinstance(colours[0], Sequence) else colours
                part = replace(part, materials=tuple(replace(m, albedo=tuple(colour)) for m in part.materials))
            if entry.get("transmissive"):
                part = replace(part, materials=tuple(replace(m, transmissive=True) for m in part.materials))
            placed.append(part.turned(turn).moved(*entry.get("offsets", {}).get(name, (0, 0, 0))))
    return placed


def _one_of_pair(parts: Sequence[Part], half: str) -> list[Part]:
    """Of things that come in pairs, the connected pieces whose centre lies on one side ("x-", "z+") of the middle."""
    axis, sign = "xyz".index(half[0]), 1.0 if half[1] == "+" else -1.0
    points = np.concatenate([p.vertices[np.unique(p.faces)] for p in parts])
    middle = 0.5 * (points[:, axis].min() + points[:, axis].max())
    kept = []
    for part in parts:
        mesh = trimesh.Trimesh(part.vertices, part.faces, process=False)
        mesh.merge_vertices(merge_tex=True, merge_norm=True)
        label = trimesh.graph.connected_component_labels(mesh.face_adjacency, node_count=len(part.faces))
        centre = part.vertices[part.faces].mean(axis=1)[:, axis]
        mean = np.bincount(label, centre) / np.maximum(np.bincount(label), 1)
        keep = sign * (mean[label] - middle) > 0.0
        if keep.any():
            kept.append(replace(part, faces=part.faces[keep], face_materials=part.face_materials[keep]))
    return kept


def _axes(where: str, axes: str) -> np.ndarray:
    """ "x z -y" as the rotation whose rows pick the source's axes."""
    rows = np.zeros((3, 3))
    try:
        for row, name in zip(rows, axes.split(), strict=True):
            row["xyz".index(name[-1])] = -1.0 if name.startswith("-") else 1.0
    except ValueError as error:
        raise InputError(f"{where}: axes {axes!r}, expected three such as 'x z -y'") from error
    if not np.isclose(np.linalg.det(rows), 1.0):
        raise InputError(f"{where}: axes {axes!r} mirror the object or repeat an axis; expected a right-handed triple")
    return rows


def _scale(where: str, entry: Mapping, extent: np.ndarray) -> float:
    if "scale" in entry:
        return float(entry["scale"])
    known = np.asarray(entry.get("size_m", (0, 0, 0)), dtype=np.float64)
    if known.shape != (3,) or not (known > 0.0).any():
        raise InputError(f"{where}: neither scale nor size_m. Give metres per unit, or the extents that are known")
    axis = int(np.argmax(np.where(known > 0.0, extent, -1.0)))
    return float(known[axis] / extent[axis])


def _thinned_parts(whole: Part, max_faces: int) -> Part:
    """Each material's share of the triangle budget goes by its share of the triangles."""
    if len(whole.faces) <= max_faces:
        return whole
    thin = []
    for material in range(len(whole.materials)):
        mine = whole.face_materials == material
        if mine.any():
            budget = max(60, round(max_faces * mine.sum() / len(whole.faces)))
            part = replace(whole, faces=whole.faces[mine], face_materials=np.zeros(mine.sum(), dtype=int))
            thin.append(thinned(replace(part, materials=(whole.materials[material],)), budget))
    return concatenate(thin)


def _handle(vertices_m: np.ndarray) -> np.ndarray:
    """Which vertices of a mug belong to its handle: on +x outside the round body, whose diameter is the z extent."""
    radius = 0.5 * np.ptp(vertices_m[:, 2])
    from_axis = vertices_m[:, [0, 2]] - np.array([vertices_m[:, 0].min() + radius, 0.0])
    outside = np.linalg.norm(from_axis, axis=1) > 1.04 * radius
    return outside & (from_axis[:, 0] > 0.0) & (np.abs(from_axis[:, 1]) < 0.4 * radius)


def _record(shape: Shape, entry: Mapping, scale: float) -> MeshRecord:
    symmetry = {"infinite": list(shape.symmetry.infinite_axes), "orders": list(shape.symmetry.orders)}
    return MeshRecord(
        name=shape.name,
        category=shape.category,
        source=shape.source,
        licence=str(entry["licence"]),
        author=str(entry.get("author", "")),
        size_m=tuple(round(float(v), 5) for v in shape.size_m),
        axes=str(entry["axes"]),
        scale=float(scale),
        symmetry=symmetry,
        faces=len(shape.faces),
    )


@contextmanager
def _unpacked(path: Path, wanted: str = "") -> Iterator[Path]:
    """The folder of a package's files: ``path`` itself, or a scratch folder with what a wheel or a .deb holds."""
    if path.is_dir():
        yield path
        return
    with tempfile.TemporaryDirectory() as scratch:
        try:
            if path.suffix == ".deb":
                subprocess.run(["dpkg-deb", "-x", str(path), scratch], check=True, capture_output=True)
            else:
                with zipfile.ZipFile(path) as files:
                    files.extractall(scratch, [n for n in files.namelist() if wanted in n])
        except (OSError, subprocess.CalledProcessError, zipfile.BadZipFile) as error:
            raise InputError(f"mesh package {path}: {error}. Expected a folder, a .whl or a .deb") from error
        yield next(
            (p for p in sorted(Path(scratch).rglob("*")) if p.is_dir() and f"{p}/".endswith(wanted)), Path(scratch)
        )
