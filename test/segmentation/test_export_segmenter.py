"""`mkpose export-segmenter` as a user calls it, on a small model that finds things everywhere."""

from __future__ import annotations

import json
import sys

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from mkpose_ros.commands.export_segmenter import export_segmenter  # noqa: E402
from mkpose_ros.errors import DependencyError, InputError, ModelError  # noqa: E402
from mkpose_ros.segmentation import open_segmenter  # noqa: E402
from mkpose_ros.segmentation.maskrcnn.config import MaskRcnnConfig, config_to_dict  # noqa: E402
from mkpose_ros.segmentation.maskrcnn.model import MaskRcnn  # noqa: E402
from mkpose_ros.training.checkpoint import save_state  # noqa: E402


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A training run's folder with an untrained model whose every proposal is a mug that fills its box."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    config = MaskRcnnConfig(
        categories=("bowl", "mug"), input_height=96, input_width=128, pyramid=(3, 4, 5), pool_samples=1,
        box_head_convolutions=1, detections=10, box_passes=2, box_vote_iou=0.75,
    )  # fmt: skip
    model = MaskRcnn(config)
    with torch.no_grad():
        model.roi_heads["box_predictor"].cls_score.bias[1] = 3.0
        model.roi_heads["mask_head"].predictor.bias += 2.0
    (folder / "config.json").write_text(json.dumps({"model": config_to_dict(config)}), encoding="utf-8")
    save_state(folder, 7, model.state_dict(), model.state_dict(), {})
    return folder


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    for index in range(2):
        smooth = cv2.resize(rng.integers(0, 255, (6, 8, 3), np.uint8), (128, 96), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(tmp_path / f"{index}_color.png"), smooth)
    return tmp_path


def call(*arguments):
    return CliRunner().invoke(export_segmenter, [str(a) for a in arguments])


def test_a_run_becomes_a_file_that_agrees_with_torch(run_folder, pictures, make_frame):
    path = pictures / "model.onnx"
    result = call("--run", run_folder, "--out", path, "--images", pictures, "--json", "-")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["onnx"] == str(path)
    assert said["agreement"]["pictures"] == 2
    assert said["agreement"]["detections"] > 0
    assert said["agreement"]["unmatched"] == 0
    found = open_segmenter("auto", path).segment(make_frame(480, 640))
    assert found
    assert {i.category for i in found} == {"mug"}


def test_a_run_may_look_at_more_pixels_than_it_was_trained_with(run_folder, pictures, make_frame):
    path = pictures / "larger.onnx"
    result = call("--run", run_folder, "--out", path, "--size", "160x192", "--images", pictures, "--json", "-")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["agreement"]["detections"] > 0
    segmenter = open_segmenter("auto", path)
    assert (segmenter.metadata.input_height, segmenter.metadata.input_width) == (160, 192)
    assert segmenter.segment(make_frame(480, 640))
    assert "multiples of 32" in str(call("--run", run_folder, "--out", path, "--size", "150x192").exception)


def test_a_file_that_differs_from_torch_is_an_error(run_folder, pictures, monkeypatch):
    from mkpose_ros.segmentation.maskrcnn import export

    def other_weights(run, path, **options):
        model = original(run, path, **options)
        with torch.no_grad():
            model.roi_heads["box_predictor"].bbox_pred.bias += 1.0
        return model

    original = export.export_run
    monkeypatch.setattr(export, "export_run", other_weights)
    result = call("--run", run_folder, "--out", pictures / "model.onnx", "--images", pictures)
    assert isinstance(result.exception, ModelError)


@pytest.mark.parametrize("arguments", [(), ("--run", "a", "--detectron2-config", "b"), ("--size", "big")])
def test_what_to_export_must_be_said_once(arguments):
    result = call(*arguments)
    assert result.exit_code == 2
    assert "either --run" in result.output


def test_a_mean_with_weights_needs_a_run_of_ours():
    result = call("--detectron2-config", "a", "--mean-with", "b")
    assert result.exit_code == 2
    assert "--mean-with" in result.output


def test_pictures_that_are_missing_are_named(run_folder, tmp_path):
    result = call("--run", run_folder, "--out", tmp_path / "model.onnx", "--images", tmp_path)
    assert isinstance(result.exception, InputError)
    assert "color" in str(result.exception)


def test_a_detectron2_model_without_detectron2_is_explained(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "detectron2", None)
    result = call("--detectron2-config", "zoo.yaml", "--weights", "w.pkl", "--out", tmp_path / "model.onnx")
    assert isinstance(result.exception, DependencyError)
    assert "detectron2" in str(result.exception)


def test_our_model_goes_through_detectron2_and_back(run_folder, pictures):
    pytest.importorskip("detectron2")
    out = pictures / "ours"
    result = call("--run", run_folder, "--out", pictures / "a.onnx", "--detectron2-out", out)
    assert result.exit_code == 0, result.output
    result = call(
        "--detectron2-config", out / "config.yaml", "--weights", out / "model.pth", "--class-map", "identity",
        "--class-names", "bowl,mug", "--size", "96x128", "--out", pictures / "b.onnx", "--images", pictures,
        "--json", "-",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["agreement"]["detections"] > 0
