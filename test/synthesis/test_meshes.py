"""The converter: round trips on small meshes, refusals with names, files that stay pickle-free."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from mkpose_ros.errors import InputError
from mkpose_ros.synthesis.library import ShapeLibrary
from mkpose_ros.synthesis.mesh_store import read_index, read_shape, write_shape
from mkpose_ros.synthesis.meshes import convert_folder, convert_robosuite, load_catalogue

trimesh = pytest.importorskip("trimesh")

WEDGE = """mtllib wedge.mtl
usemtl red
v 0 0 0
v 10 0 0
v 10 40 0
v 0 40 0
v 0 0 20
v 10 0 20
f 1 4 3 2
f 1 2 6 5
f 2 3 6
f 1 5 4
f 3 4 5 6
"""  # 10 x 40 x 20, its high edge at y = 0


def entry(**changes) -> dict:
    base = {
        "name": "wedge", "category": "widget", "files": ["wedge.obj"], "axes": "x z -y", "size_m": [0, 0, 0.4],
        "licence": "MIT", "author": "A", "symmetry": {},
    }  # fmt: skip
    return {**base, **changes}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "wedge.obj").write_text(WEDGE)
    (tmp_path / "wedge.mtl").write_text("newmtl red\nKd 0.8 0.1 0.1\n")
    return tmp_path


def test_a_tiny_obj_comes_back_turned_scaled_and_coloured(folder: Path) -> None:
    (record,) = convert_folder(folder, [entry()], folder / "out")
    shape = read_shape(folder / "out", read_index(folder / "out")[0])
    np.testing.assert_allclose(shape.size_m, [0.1, 0.2, 0.4], atol=1e-4)
    assert record.scale == pytest.approx(0.01)
    mesh = trimesh.Trimesh(shape.vertices_m, shape.faces, process=True)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(0.1 * 0.2 * 0.4 / 2, rel=1e-3)
    high = shape.vertices_m[shape.vertices_m[:, 1] > 0.099]
    assert (high[:, 2] > 0.199).all()  # the source's y = 0 is the object's far +z
    np.testing.assert_allclose(shape.materials[0].albedo, [0.8, 0.1, 0.1], atol=0.01)
    normals = trimesh.Trimesh(shape.vertices_m, shape.faces, process=False).face_normals
    np.testing.assert_allclose(shape.normals[shape.faces[:, 0]], normals, atol=0.03)  # all edges of a wedge are sharp


def test_converted_meshes_join_a_library(folder: Path) -> None:
    convert_folder(folder, [entry()], folder / "out")
    library = ShapeLibrary("train", folders=[folder / "out"])
    shape = library.sample(np.random.default_rng(0), "widget")
    assert shape.name == "wedge"
    assert shape.source == folder.name
    assert "widget" in library.categories


def test_the_index_and_the_licences_are_written_and_grow(folder: Path) -> None:
    out = folder / "out"
    convert_folder(folder, [entry()], out)
    convert_folder(folder, [entry(name="second", licence="CC0-1.0")], out)
    assert [r.name for r in read_index(out)] == ["second", "wedge"]
    assert json.loads((out / "index.json").read_text())["format_version"] == 1
    assert "| second | widget |" in (out / "LICENSES.md").read_text()
    assert "CC0-1.0" in (out / "LICENSES.md").read_text()


def test_half_of_a_pair_is_kept(folder: Path) -> None:
    pair = [trimesh.creation.box((1, 2, 4)).apply_translation([x, 0, 0]) for x in (-3, 3)]
    trimesh.util.concatenate(pair).export(folder / "pair.stl")
    pair_entry = entry(files=["pair.stl"], axes="x y z", half="x-", size_m=[0, 0, 0.4])
    (record,) = convert_folder(folder, [pair_entry], folder / "out")
    np.testing.assert_allclose(record.size_m, [0.1, 0.2, 0.4], atol=1e-4)


def test_a_dense_mesh_is_thinned_without_changing_its_size(folder: Path) -> None:
    pytest.importorskip("open3d")
    trimesh.creation.icosphere(subdivisions=5, radius=2.0).export(folder / "ball.ply")
    ball = entry(files=["ball.ply"], axes="x y z", size_m=[0.1, 0, 0])
    (record,) = convert_folder(folder, [ball], folder / "out", max_faces=800)
    assert record.faces <= 820
    np.testing.assert_allclose(record.size_m, 0.1, atol=1e-3)


def test_a_shape_survives_the_store(tmp_path: Path) -> None:
    shape = ShapeLibrary("val").get("mug", 4)
    write_shape(shape, tmp_path)
    record = entry(name=shape.name, category="mug", size_m=tuple(shape.size_m))
    (tmp_path / "index.json").write_text(
        json.dumps(
            {
                "models": [
                    {
                        **{k: record[k] for k in ("name", "category", "licence", "author", "axes", "symmetry")},
                        "size_m": list(shape.size_m), "source": "test", "scale": 1.0, "faces": len(shape.faces),
                    }
                ]
            }
        )
    )  # fmt: skip
    back = read_shape(tmp_path, read_index(tmp_path)[0])
    np.testing.assert_allclose(back.vertices_m, shape.vertices_m, atol=3e-6)
    np.testing.assert_array_equal(back.faces, shape.faces)
    np.testing.assert_array_equal(back.handle_vertices, shape.handle_vertices)
    assert [m.texture is None for m in back.materials] == [m.texture is None for m in shape.materials]
    assert [m.transmissive for m in back.materials] == [m.transmissive for m in shape.materials]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"axes": "x y"}, "axes"),
        ({"axes": "x z y"}, "right-handed"),
        ({"axes": "x x y"}, "right-handed"),
        ({"licence": "proprietary"}, "licence 'proprietary'"),
        ({"size_m": [0, 0, 0]}, "neither scale nor size_m"),
        ({"files": ["absent.obj"]}, "absent.obj"),
        ({"symmetry": None}, "symmetry"),
    ],
)
def test_a_bad_entry_is_refused_with_its_reason(folder: Path, changes: dict, message: str) -> None:
    changed = {k: v for k, v in entry(**changes).items() if v is not None}
    with pytest.raises(InputError, match=message):
        convert_folder(folder, [changed], folder / "out")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.obj", b""),
        ("points.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\n"),
        ("cut.stl", b"solid x\nfacet normal 0 0"),
        ("nan.obj", b"v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"),
        ("noise.glb", bytes(range(200))),
        ("text.xyz", b"hello"),
    ],
)
def test_a_bad_mesh_is_refused_by_name(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        convert_folder(folder, [entry(files=[name])], folder / "out")


def test_damaged_stores_are_refused(folder: Path) -> None:
    out = folder / "out"
    (record,) = convert_folder(folder, [entry()], out)
    (out / "wedge.npz").write_bytes((out / "wedge.npz").read_bytes()[:100])
    with pytest.raises(InputError, match="wedge"):
        read_shape(out, record)
    with pytest.raises(InputError, match="other"):
        read_shape(out, replace(record, name="other"))
    np.savez(out / "wedge.npz", box_m=np.array([object()], dtype=object))  # a pickle in disguise
    with pytest.raises(InputError, match="wedge"):
        read_shape(out, record)
    (out / "index.json").write_text("{")
    with pytest.raises(InputError, match=r"index\.json"):
        read_index(out)
    with pytest.raises(InputError, match="nowhere"):
        ShapeLibrary("train", folders=[folder / "nowhere"])


def test_the_command_converts_a_folder_and_says_what_it_needs(folder: Path) -> None:
    from click.testing import CliRunner

    from mkpose_ros.commands.meshes import meshes

    (folder / "mine.yaml").write_text(yaml.safe_dump({"models": [entry()]}))
    arguments = [str(folder), "--out", str(folder / "out"), "--json", str(folder / "result.json")]
    result = CliRunner().invoke(meshes, [*arguments, "--catalogue", str(folder / "mine.yaml")])
    assert result.exit_code == 0, result.output
    assert json.loads((folder / "result.json").read_text()) == {"models": ["wedge"]}
    result = CliRunner().invoke(meshes, arguments)
    assert result.exit_code == 2
    assert "--catalogue" in result.output


def test_a_package_that_is_no_archive_is_refused(folder: Path) -> None:
    (folder / "broken.whl").write_bytes(b"no zip")
    with pytest.raises(InputError, match=r"broken\.whl"):
        convert_robosuite(folder / "broken.whl", folder / "out")


def test_the_shipped_catalogue_is_well_formed() -> None:
    from mkpose_ros.resources import share_path

    entries = load_catalogue(share_path("config", "real_meshes.yaml"))
    names = [e["name"] for e in entries]
    assert len(names) == len(set(names))
    assert {r.name for r in read_index(share_path("models", "test_meshes"))} == set(names)
