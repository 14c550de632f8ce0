"""The detectron2 backend: class maps everywhere, and the model itself where detectron2 is installed."""

from __future__ import annotations

import pytest
import yaml

from mkpose_ros.categories import load_categories
from mkpose_ros.errors import InputError, ModelError
from mkpose_ros.resources import share_path
from mkpose_ros.segmentation.detectron2_backend import Detectron2Segmenter, class_categories, load_class_map


def test_every_map_leads_to_categories_that_have_a_description():
    maps = yaml.safe_load(share_path("config", "class_maps.yaml").read_text(encoding="utf-8"))
    assert set(maps) == {"coco", "lvis"}
    for names in maps.values():
        assert set(names.values()) <= set(load_categories())


def test_classes_outside_the_map_or_without_a_description_are_skipped():
    names = ("person", "cup", "wine glass", "bottle")
    assert class_categories(names, load_class_map("coco"), frozenset({"mug", "bottle"})) == ("", "mug", "", "bottle")


def test_the_identity_keeps_our_own_names():
    assert class_categories(("mug", "unicorn"), load_class_map("identity"), frozenset({"mug"})) == ("mug", "")


def test_a_users_own_map_is_read_from_its_file(tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text("Tasse: mug\n", encoding="utf-8")
    assert load_class_map(str(path)) == {"Tasse": "mug"}


@pytest.mark.parametrize("name", ["nowhere.yaml", "imagenet"])
def test_an_unknown_map_is_named(name):
    with pytest.raises(InputError, match=name):
        load_class_map(name)


def test_weights_and_configs_that_are_missing_are_named(tmp_path):
    pytest.importorskip("detectron2")
    with pytest.raises(InputError, match="config"):
        Detectron2Segmenter(None, None)
    with pytest.raises(InputError, match="model zoo"):
        Detectron2Segmenter(tmp_path / "nothing.yaml", None)
    config = tmp_path / "config.yaml"
    config.write_text("VERSION: 2\n", encoding="utf-8")
    with pytest.raises(ModelError, match=r"weights\.pth"):
        Detectron2Segmenter(config, tmp_path / "weights.pth")


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"pyramid": (3, 4, 5), "box_head_convolutions": 1, "pool_samples": 1},
        {"relief": True},
        {"box_passes": 2, "box_vote_iou": 0.75},
        {"box_passes": 3, "box_vote_iou": 0.75, "own_second_head": True},
    ],
)
def test_our_weights_mean_the_same_to_detectron2(tmp_path, form):
    torch = pytest.importorskip("torch")
    pytest.importorskip("detectron2")
    from mkpose_ros.segmentation.detectron2_backend import load_detectron2
    from mkpose_ros.segmentation.maskrcnn.config import MaskRcnnConfig
    from mkpose_ros.segmentation.maskrcnn.detectron2_backbone import write_detectron2
    from mkpose_ros.segmentation.maskrcnn.model import MaskRcnn

    torch.manual_seed(0)
    ours = MaskRcnn(MaskRcnnConfig(categories=("bowl", "mug"), input_height=96, input_width=128, **form)).eval()
    _, theirs, _ = load_detectron2(*write_detectron2(ours, tmp_path), "cpu")
    image = torch.randint(0, 256, (96, 128, 7 if ours.config.relief else 3), dtype=torch.uint8)
    with torch.inference_mode():
        boxes, scores, labels, masks = ours(image)
        (found,) = theirs.inference([{"image": image.permute(2, 0, 1).float()}], do_postprocess=False)
    assert len(boxes) > 0
    assert torch.allclose(boxes, found.pred_boxes.tensor, atol=1e-2)
    assert torch.allclose(scores, found.scores, atol=1e-4)
    assert torch.equal(labels, found.pred_classes)
    assert torch.allclose(masks, found.pred_masks[:, 0], atol=1e-3)
