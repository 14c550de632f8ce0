"""Depth codes, masks and NOCS maps; damaged files are refused by name."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mkpose_ros.datasets.images import decode_depth_m, read_color, read_depth_m, read_mask, read_nocs_map
from mkpose_ros.errors import InputError


def test_millimetres_in_one_channel_become_metres():
    assert decode_depth_m(np.array([[0, 1, 4000, 65535]], np.uint16)) == pytest.approx(
        np.array([[0, 0.001, 4.0, 65.535]])
    )


def test_three_channels_hold_green_times_256_plus_red_without_overflow():
    bgr = np.zeros((1, 3, 3), np.uint8)
    bgr[0, :, 1], bgr[0, :, 2], bgr[0, :, 0] = [4, 200, 125], [10, 255, 1], 77
    assert decode_depth_m(bgr)[0] == pytest.approx([1.034, 51.455, 0.0])  # 125 * 256 + 1 = 32001: none


def test_an_8_bit_grey_image_is_no_depth():
    with pytest.raises(InputError, match="uint8 of shape"):
        decode_depth_m(np.zeros((2, 2), np.uint8))


def test_background_becomes_zero_and_the_red_channel_holds_the_ids(tmp_path):
    image = np.full((2, 2, 3), 255, np.uint8)
    image[0, 0] = (0, 0, 7)
    cv2.imwrite(str(tmp_path / "mask.png"), image)
    assert read_mask(tmp_path / "mask.png", (2, 2)).tolist() == [[7, 0], [0, 0]]


def test_the_z_of_a_nocs_map_is_turned_round(tmp_path):
    image = np.zeros((1, 1, 3), np.uint8)
    image[0, 0] = (51, 102, 204)  # B G R
    cv2.imwrite(str(tmp_path / "coord.png"), image)
    assert read_nocs_map(tmp_path / "coord.png", (1, 1))[0, 0] == pytest.approx([0.8, 0.4, 0.8], abs=1e-6)


def test_color_is_rgb_whatever_the_channels(tmp_path):
    for name, image, expected in (
        ("grey", np.full((1, 1), 9, np.uint8), [9, 9, 9]),
        ("bgr", np.array([[[1, 2, 3]]], np.uint8), [3, 2, 1]),
        ("bgra", np.array([[[1, 2, 3, 255]]], np.uint8), [3, 2, 1]),
    ):
        cv2.imwrite(str(tmp_path / f"{name}.png"), image)
        assert read_color(tmp_path / f"{name}.png")[0, 0].tolist() == expected


@pytest.mark.parametrize("part", [0.0, 0.2, 0.6, 0.95])
def test_a_truncated_image_is_refused_by_name(tmp_path, part):
    path = tmp_path / "0000_depth.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 4000, (50, 60)).astype(np.uint16))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(InputError, match=r"0000_depth\.png: truncated or damaged"):
        read_depth_m(path, (50, 60))


def test_depth_of_another_size_is_refused_with_both_sizes(tmp_path):
    path = tmp_path / "0000_depth.png"
    cv2.imwrite(str(path), np.zeros((40, 60), np.uint16))
    with pytest.raises(InputError, match=r"60x40.*64x48"):
        read_depth_m(path, (48, 64))


def test_a_missing_image_is_named(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        read_color(tmp_path / "nowhere.png")
