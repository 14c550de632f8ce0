"""One declaration of parameters: its rules, its table, the files that repeat its names."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mkpose_ros.commands.image import image
from mkpose_ros.errors import InputError
from mkpose_ros.resources import share_path
from mkpose_ros.ros.frames import FrameMessages
from mkpose_ros.ros.parameters import Settings, check_change, markdown_table
from mkpose_ros.ros.pipeline_factory import prepare_pipeline

FIELDS = {field.name: field for field in dataclasses.fields(Settings)}


def test_the_documented_table_is_the_declared_one():
    path = Path(__file__).resolve().parents[2] / "docs" / "parameters.md"
    assert path.read_text(encoding="utf-8") == markdown_table(), "run: make docs"


def test_the_shipped_params_file_holds_every_parameter_with_its_default():
    values = yaml.safe_load(share_path("config", "mkpose.yaml").read_text())["/**"]["ros__parameters"]
    defaults = {n: list(f.default) if isinstance(f.default, tuple) else f.default for n, f in FIELDS.items()}
    assert values == defaults
    assert {n: type(v) for n, v in values.items()} == {n: type(v) for n, v in defaults.items()}


@pytest.mark.parametrize("camera", ["realsense", "orbbec", "zed", "kinect"])
def test_a_camera_preset_names_known_topics_and_allowed_values(camera):
    preset = yaml.safe_load(share_path("config", f"camera_{camera}.yaml").read_text())
    assert set(preset["topics"]) == {
        f"{stream}/{kind}" for stream in ("color", "depth") for kind in ("image_raw", "camera_info")
    }
    assert all(topic.startswith("/") for topic in preset["topics"].values())
    check_change(Settings(), preset["parameters"])


def test_the_defaults_keep_their_own_rules():
    values = {name: getattr(Settings(), name) for name in FIELDS}
    assert check_change(Settings(), values) == Settings()


def test_one_frame_from_files_is_judged_as_the_nodes_frames_are():
    (option,) = (option for option in image.params if option.name == "min_score")
    assert option.default == Settings().min_score


@pytest.mark.parametrize("text", ["mug", "mug:", "mug:1.5", "mug:nan", "calibrated, mug:0.5", "mug=0.5"])
def test_thresholds_of_another_form_are_refused(text):
    with pytest.raises(InputError, match="class_thresholds"):
        check_change(Settings(), {"class_thresholds": text})


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", {}), ("calibrated", {"mug": 0.6, "can": 0.3}), ("can:0.9, cup:0.1", {"can": 0.9, "cup": 0.3})],
)
def test_a_category_has_its_own_threshold_never_below_the_one_of_all(text, expected):
    pipeline = SimpleNamespace(segmenter=SimpleNamespace(thresholds={"mug": 0.6, "can": 0.1}))
    prepare_pipeline(pipeline, Settings(class_thresholds=text, min_score=0.3), None, FrameMessages(None, None, None))
    assert pipeline.clean.class_thresholds == expected


def test_every_parameter_is_described_in_a_sentence():
    for field in FIELDS.values():
        assert field.metadata["description"].endswith("."), field.name
        assert len(field.metadata["description"]) > 20, field.name


@given(st.sampled_from([n for n, f in FIELDS.items() if f.metadata["limits"]]), st.floats())
def test_a_number_outside_its_limits_is_refused_naming_them(name, value):
    low, high = FIELDS[name].metadata["limits"]
    if low <= value <= high:
        return
    with pytest.raises(InputError, match=rf"Parameter {name}: got .* from {low} to {high}.*old value is kept"):
        check_change(Settings(), {name: value})


def test_conflicts_name_both_parameters():
    with pytest.raises(InputError, match=r"min_depth \(5.0 m\) must be less than max_depth \(2.0 m\)"):
        check_change(Settings(), {"min_depth": 5.0, "max_depth": 2.0})
    with pytest.raises(InputError, match=r"max_age.*greater than slop"):
        check_change(Settings(), {"max_age": 0.01})
    check_change(Settings(), {"max_age": 0.0})
    check_change(Settings(), {"segmenter": "outside", "mask_classes": "mug, bottle"})


def test_masks_from_outside_need_names_or_the_message_that_has_them(monkeypatch):
    monkeypatch.setattr("mkpose_ros.ros.parameters.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"mask_classes does not say.*vision_msgs.* is not installed"):
        check_change(Settings(), {"segmenter": "outside"})
    monkeypatch.setattr("mkpose_ros.ros.parameters.find_spec", lambda name: name)
    check_change(Settings(), {"segmenter": "outside"})


def test_segment_every_takes_auto_or_a_number_of_frames():
    for value in ("auto", "1", 1, 5):
        assert check_change(Settings(), {"segment_every": value}).segment_every == value
    for value in ("never", "", "0", 0, -1, 1.5, True):
        with pytest.raises(InputError, match="expected auto or a whole number"):
            check_change(Settings(), {"segment_every": value})
