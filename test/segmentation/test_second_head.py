"""A box head of its own for the second look at boxes."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from mkpose_ros.errors import InputError  # noqa: E402
from mkpose_ros.segmentation.maskrcnn.boxes import decode  # noqa: E402
from mkpose_ros.segmentation.maskrcnn.config import MaskRcnnConfig, SegmenterTrainConfig  # noqa: E402
from mkpose_ros.segmentation.maskrcnn.losses import Truth, losses  # noqa: E402
from mkpose_ros.segmentation.maskrcnn.model import BOX_WEIGHTS, MaskRcnn  # noqa: E402
from mkpose_ros.segmentation.maskrcnn.weights import load_trained, save_trained  # noqa: E402

ONE = MaskRcnnConfig(
    categories=("bowl", "mug"), input_height=96, input_width=128, nms_iou=0.99, box_passes=2, box_head_convolutions=1
)
OWN = replace(ONE, own_second_head=True)
IMAGE = torch.randint(0, 256, (1, 3, 96, 128), generator=torch.Generator().manual_seed(1)).byte()
PROPOSALS = torch.tensor([[20.0, 20.0, 50.0, 60.0], [60.0, 10.0, 80.0, 30.0]])
TRUTH = Truth(
    boxes=torch.tensor([[30.0, 20.0, 70.0, 60.0]]),
    labels=torch.tensor([1]),
    masks=torch.ones(1, 96, 128, dtype=torch.uint8),
    ignored=torch.zeros(0, 4),
)


def network(config):
    torch.manual_seed(0)
    model = MaskRcnn(config)
    for name, weight in model.named_parameters():
        if "cls_score.weight" in name:
            torch.nn.init.normal_(weight, std=0.3)
    return model


def classified(model):
    with torch.inference_mode():
        boxes, scores, labels = model.classify(model.features(IMAGE), PROPOSALS)
    order = torch.argsort(labels * 1000 + boxes[:, 0])
    return boxes[order], scores[order], labels[order]


def test_from_weights_of_one_head_both_begin_alike(tmp_path):
    one = network(ONE).eval()
    save_trained(one, tmp_path / "one.safetensors")
    own = MaskRcnn(OWN).eval()
    load_trained(own, tmp_path / "one.safetensors")
    for expected, found in zip(classified(one), classified(own), strict=True):
        torch.testing.assert_close(expected, found)


def test_weights_of_two_heads_come_back_as_two(tmp_path):
    own, other = network(OWN), MaskRcnn(OWN)
    save_trained(own, tmp_path / "own.safetensors")
    load_trained(other, tmp_path / "own.safetensors")
    weights = other.state_dict()
    assert not torch.equal(weights["roi_heads.box_head.fc1.weight"], weights["roi_heads.box_head_again.fc1.weight"])
    for name, value in own.roi_heads.state_dict().items():
        assert torch.equal(value, other.roi_heads.state_dict()[name]), name


def test_the_second_head_looks_at_the_boxes_that_the_first_one_moved():
    model = network(OWN).eval()
    heads = model.roi_heads
    with torch.no_grad():
        for name, deltas in (("box_predictor", (3.0, 0.0, 0.0, 0.0)), ("box_predictor_again", (0.0, 2.0, 0.0, 0.0))):
            heads[name].bbox_pred.weight.zero_()
            heads[name].bbox_pred.bias.copy_(torch.tensor(deltas))
    boxes, scores, labels = classified(model)
    with torch.inference_mode():
        pyramid = model.features(IMAGE)
        moved = decode(torch.tensor([(3.0, 0.0, 0.0, 0.0)] * 2), PROPOSALS, BOX_WEIGHTS)
        last = decode(torch.tensor([(0.0, 2.0, 0.0, 0.0)] * 2), moved, BOX_WEIGHTS)
        first, second = model.look(pyramid, 0, PROPOSALS, again=False)[0], model.look(pyramid, 0, moved, again=True)[0]
    for label in (0, 1):
        torch.testing.assert_close(boxes[labels == label], last)
        torch.testing.assert_close(scores[labels == label], torch.softmax((first + second) / 2, dim=1)[:, label])


def losses_of(model, truth=TRUTH):
    model.train()
    settings = SegmenterTrainConfig(roi_samples=32)
    return losses(model, IMAGE, [truth], settings, torch.Generator().manual_seed(0))


def test_the_second_head_learns_from_moved_boxes_and_the_first_head_does_not_learn_from_that():
    model = network(OWN)
    terms = losses_of(model)
    assert set(terms) == {
        "rpn_objectness", "rpn_box", "class", "box", "class_again", "box_again", "mask"
    }  # fmt: skip
    (terms["class_again"] + terms["box_again"]).backward()
    learnt = {name for name, p in model.roi_heads.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert learnt == {name for name, _ in model.roi_heads.named_parameters() if "_again" in name}
    assert model.backbone.fpn_lateral3.weight.grad.abs().sum() > 0


def test_moved_boxes_are_compared_with_the_objects_where_they_are_now():
    model = network(OWN)
    with torch.no_grad():  # every proposal becomes a box far outside: none lies on an object any more
        model.roi_heads["box_predictor"].bbox_pred.weight.zero_()
        model.roi_heads["box_predictor"].bbox_pred.bias.copy_(torch.tensor([100.0, 100.0, 0.0, 0.0]))
    terms = losses_of(model)
    assert terms["box"] > 0
    assert terms["box_again"] == 0


def test_a_picture_without_objects_teaches_the_second_head_background():
    nothing = Truth(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 96, 128), torch.zeros(0, 4))
    terms = losses_of(network(OWN), nothing)
    assert terms["class_again"] > 0
    assert terms["box_again"] == 0


def test_a_second_head_that_never_looks_is_refused():
    with pytest.raises(InputError, match="own_second_head with box_passes 1"):
        replace(OWN, box_passes=1)
