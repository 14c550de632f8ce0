"""Pictures of shapes, and `mkpose shapes`."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from mkpose_ros.commands.shapes import shapes
from mkpose_ros.synthesis.library import ShapeLibrary
from mkpose_ros.synthesis.portraits import draw_shapes, rows_of

TILE = 64


def tile_of(sheet, row, column):
    """A shape's square of a sheet: a gap of one pixel between tiles, names in column 0."""
    top, left = 1 + row * (TILE + 1), 1 + (column + 1) * (TILE + 1)
    return sheet[top : top + TILE, left : left + TILE].astype(np.int16)


def test_real_meshes_come_before_generated_shapes():
    rows = rows_of(ShapeLibrary("test"), ["camera", "tube"], 4)
    assert [shape.source == "generator" for shape in rows["camera"]] == [False, False, True, True]
    assert [shape.source for shape in rows["tube"]] == ["generator"] * 4


def test_only_categories_with_variants_have_a_row_of_them():
    library = ShapeLibrary("train")
    rows = rows_of(library, ["mug", "box"], 3, variants=True)
    assert [shape.name for shape in rows["mug"]] == ["mug_train_0_20000", "mug_train_0_20001", "mug_train_0_20002"]
    assert list(rows) == ["mug"]
    assert rows_of(ShapeLibrary("val"), ["mug"], 3, variants=True) == {}


@pytest.mark.usefixtures("renderer")
def test_each_shape_stands_whole_in_the_middle_of_its_square():
    library = ShapeLibrary("val")
    sheet = draw_shapes(rows_of(library, ["laptop", "cutlery", "bottle"], 2), TILE)
    assert sheet.shape == (3 * (TILE + 1) + 1, 3 * (TILE + 1) + 1, 3)
    for row in range(3):
        for column in range(2):
            tile = tile_of(sheet, row, column)
            contrast = np.abs(tile - np.median(tile, axis=(0, 1))).sum(axis=2)
            middle, corners = contrast[12:-12, 12:-12], contrast[[2, 2, -3, -3], [2, -3, 2, -3]]
            assert np.percentile(middle, 95) > 2 * corners.max()


@pytest.mark.usefixtures("renderer")
def test_rows_of_different_length_leave_dark_squares():
    library = ShapeLibrary("val")
    rows = {"mug": [library.get("mug", 0), library.get("mug", 1)], "can": [library.get("can", 0)]}
    assert (tile_of(draw_shapes(rows, TILE), 1, 1) == 24).all()


@pytest.mark.usefixtures("renderer")
def test_the_command_draws_and_names_what_it_drew(tmp_path):
    picture, report = tmp_path / "sheets" / "s.png", tmp_path / "r.json"
    arguments = [str(picture), "--categories", "mug, bowl", "--count", "2", "--tile", str(TILE), "--json", str(report)]
    assert CliRunner().invoke(shapes, arguments, catch_exceptions=False).exit_code == 0
    assert cv2.imread(str(picture)).shape[:2] == (2 * (TILE + 1) + 1, 3 * (TILE + 1) + 1)
    named = json.loads(report.read_text())["shapes"]
    assert named == {c: [f"{c}_train_0_0000{i}" for i in range(2)] for c in ("mug", "bowl")}


def test_variants_of_a_split_without_any_are_wrong_usage(tmp_path):
    result = CliRunner().invoke(shapes, [str(tmp_path / "s.png"), "--split", "test", "--variants"])
    assert result.exit_code == 2
    assert "the split test has none" in result.output
    assert not (tmp_path / "s.png").exists()


@pytest.mark.usefixtures("renderer")
def test_a_picture_of_an_unknown_kind_is_named(tmp_path):
    name = tmp_path / "s.picture"
    result = CliRunner().invoke(shapes, [str(name), "--categories", "mug", "--count", "1"])
    assert result.exit_code == 2
    assert f"{name}" in result.output.replace("\n", "")
