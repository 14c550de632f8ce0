"""`mkpose image` and `mkpose view` on files: units, masks, categories, outputs, wrong usage."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from mkpose_ros.cli import cli
from mkpose_ros.commands.image import instances_from_file, read_frame
from mkpose_ros.errors import InputError

SHARED = Path(os.environ.get("MKPOSE_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
HEIGHT, WIDTH = 120, 160
K = "150,150,79.5,59.5"


@pytest.fixture
def files(tmp_path, make_tiny_model):
    """Options of a frame with two boxes on a table, as 16-bit millimetres, with a label image."""
    rng = np.random.default_rng(0)
    depth = np.full((HEIGHT, WIDTH), 900, np.uint16)
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    depth[30:70, 20:60], labels[30:70, 20:60] = 700, 3
    depth[40:90, 90:140], labels[40:90, 90:140] = 800, 7
    cv2.imwrite(str(tmp_path / "rgb.png"), rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    cv2.imwrite(str(tmp_path / "depth.png"), depth)
    cv2.imwrite(str(tmp_path / "labels.png"), labels)
    model = make_tiny_model(tmp_path / "model" / "model.onnx", tokens=48, text_dim=384)
    return {
        "--rgb": tmp_path / "rgb.png",
        "--depth": tmp_path / "depth.png",
        "--k": K,
        "--masks": tmp_path / "labels.png",
        "--categories": "mug,bottle",
        "--model": model.parent,
        "--engine": "onnxruntime",
        "--out": tmp_path / "out",
    }


def _run(options: dict, *more: str):
    words = [str(word) for name, value in options.items() if value is not None for word in (name, value)]
    return CliRunner().invoke(cli, ["image", *words, *more])


def _objects(options: dict) -> list[dict]:
    result = _run(options)
    assert result.exit_code == 0, result.output
    return json.loads((Path(options["--out"]) / "poses.json").read_text())["objects"]


def test_poses_and_overlay_are_written(files):
    objects = _objects(files)
    assert [o["category"] for o in objects] == ["mug", "bottle"]
    for entry, z in zip(objects, (0.7, 0.8), strict=True):
        assert {"category", "score", "rotation", "translation_m", "size_m", "covariance", "box2d"} <= set(entry)
        assert np.shape(entry["covariance"]) == (6, 6)
        assert entry["translation_m"][2] == pytest.approx(z, abs=1e-3)
    assert objects[0]["box2d"] == [20.0, 30.0, 60.0, 70.0]
    assert cv2.imread(str(files["--out"] / "overlay.png")).shape == (HEIGHT, WIDTH, 3)


def test_json_on_standard_output_is_the_same_document(files):
    result = _run(files, "--json", "-")
    document = json.loads(result.stdout)
    assert document == json.loads((files["--out"] / "poses.json").read_text())


def test_float_metres_give_the_poses_of_sixteen_bit_millimetres(files, tmp_path):
    expected = _objects(files)
    depth_m = cv2.imread(str(files["--depth"]), cv2.IMREAD_UNCHANGED).astype(np.float32) / np.float32(1000.0)
    cv2.imwrite(str(tmp_path / "depth.tiff"), depth_m)
    got = _objects(files | {"--depth": tmp_path / "depth.tiff"})
    for one, other in zip(expected, got, strict=True):
        np.testing.assert_allclose(one["translation_m"], other["translation_m"], atol=1e-6)


def test_the_depth_scale_is_metres_a_unit(files):
    objects = _objects(files | {"--depth-scale": "0.0001"})
    assert objects[0]["translation_m"][2] == pytest.approx(0.07, abs=1e-4)


def test_the_same_seed_gives_the_same_file(files):
    assert _objects(files) == _objects(files)
    assert _objects(files | {"--seed": 1}) != _objects(files)


def test_one_category_serves_all_ids(files):
    assert [o["category"] for o in _objects(files | {"--categories": "mug"})] == ["mug", "mug"]


def test_nocs_masks_bring_their_categories(files, tmp_path):
    labels = cv2.imread(str(files["--masks"]), cv2.IMREAD_UNCHANGED)
    red = np.where(labels == 0, 255, labels)
    cv2.imwrite(str(tmp_path / "0000_mask.png"), np.dstack([np.zeros_like(red), np.zeros_like(red), red]))
    (tmp_path / "0000_meta.txt").write_text("3 6 some_mug\n7 0 something_else\n9 1 unseen_bottle\n")
    objects = _objects(files | {"--masks": tmp_path / "0000_mask.png", "--categories": None})
    assert [o["category"] for o in objects] == ["mug"]


def test_a_black_and_white_mask_is_one_object(tmp_path):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[5:20, 5:30] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    (instance,) = instances_from_file(tmp_path / "mask.png", (HEIGHT, WIDTH), ("can",))
    np.testing.assert_array_equal(instance.mask, mask > 0)


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"--k": "1,2,3"}, 2, "expected four"),
        ({"--k": "a,b,c,d"}, 2, "fx,fy,cx,cy"),
        ({"--categories": None}, 2, "--masks needs --categories"),
        ({"--rgb": None}, 2, "--rgb"),
    ],
)
def test_wrong_usage_ends_with_status_two(files, change, status, message):
    result = _run(files | change)
    assert result.exit_code == status
    assert message in result.output


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--categories": "mug,bottle,can"}, r"holds 2 ids \(\[3, 7\]\), but --categories names 3"),
        ({"--categories": "mug,toaster"}, "toaster has no text features: known are"),
        ({"--k": "0,150,79,59"}, "positive focal"),
        ({"--depth-scale": "-1"}, "expected metres a unit"),
        ({"--rgb": "nowhere.png"}, "nowhere.png"),
        ({"--depth": "nowhere.png"}, "nowhere.png: no such file"),
        ({"--model": "nowhere/model.onnx"}, "nowhere/model.onnx is missing"),
        ({"--engine": "steam"}, "'steam' is unknown"),
    ],
)
def test_bad_input_is_one_sentence_that_names_it(files, change, message):
    with pytest.raises(Exception, match=message) as caught:
        CliRunner().invoke(
            cli,
            ["image", *[str(w) for pair in (files | change).items() for w in pair]],
            catch_exceptions=False,
            standalone_mode=False,
        )
    assert type(caught.value).__module__ == "mkpose_ros.errors"


def test_images_of_two_sizes_are_refused_with_both(files, tmp_path):
    cv2.imwrite(str(tmp_path / "small.png"), np.ones((60, 80), np.uint16))
    result = _run(files | {"--depth": tmp_path / "small.png"})
    assert "depth is 80x60, colour 160x120" in str(result.exception)


def test_eight_bit_depth_is_refused(files, tmp_path):
    cv2.imwrite(str(tmp_path / "grey.png"), np.ones((HEIGHT, WIDTH), np.uint8))
    with pytest.raises(InputError, match="expected one channel of 16-bit or float depth"):
        read_frame(files["--rgb"], tmp_path / "grey.png", (150, 150, 80, 60))


def test_view_draws_what_image_wrote(files, tmp_path, monkeypatch):
    _objects(files)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["view", str(files["--out"]), "--json", "-"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"png": "view.png", "objects": 2}
    picture = cv2.imread("view.png")
    assert picture.shape[1] > 2 * WIDTH
    side = picture[10:-10, WIDTH + 20 :]
    assert len(np.unique(side.reshape(-1, 3), axis=0)) > 1000  # the cloud's many colours, not an empty page


def test_view_of_another_folder_says_what_it_expects(tmp_path):
    (tmp_path / "poses.json").write_text("{}")
    result = CliRunner().invoke(cli, ["view", str(tmp_path)])
    assert "expected the --out folder of `mkpose image`" in str(result.exception)


@pytest.mark.skipif(not (SHARED / "d435_mug").is_dir(), reason="the reference frames are not here")
def test_a_real_camera_frame_is_read_in_metres():
    folder = SHARED / "d435_mug"
    frame = read_frame(folder / "0000_color.png", folder / "0000_depth.png", (606.9, 606.3, 319.9, 240.8))
    (mug,) = instances_from_file(folder / "0000_mask.png", frame.depth_m.shape, ("mug",))
    assert 0.3 < np.median(frame.depth_m[mug.mask & (frame.depth_m > 0)]) < 1.5


@pytest.mark.skipif(not (SHARED / "nocs").is_dir(), reason="the reference frames are not here")
def test_a_benchmark_frame_brings_its_categories():
    folder = SHARED / "nocs" / "camera" / "val" / "00000"
    instances = instances_from_file(folder / "0000_mask.png", (480, 640))
    assert {i.category for i in instances} == {"laptop"}
