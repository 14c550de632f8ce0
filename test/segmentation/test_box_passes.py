"""Looking again at boxes that were found, and means of boxes that agree."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from mkpose_ros.errors import InputError  # noqa: E402
from mkpose_ros.segmentation.maskrcnn.boxes import decode, encode, voted  # noqa: E402
from mkpose_ros.segmentation.maskrcnn.config import MaskRcnnConfig  # noqa: E402
from mkpose_ros.segmentation.maskrcnn.model import BOX_WEIGHTS, MaskRcnn  # noqa: E402

ONE = MaskRcnnConfig(categories=("bowl", "mug"), input_height=96, input_width=128, nms_iou=0.99)
IMAGE = torch.randint(0, 256, (1, 3, 96, 128), generator=torch.Generator().manual_seed(1)).byte()
PROPOSALS = torch.tensor([[20.0, 20.0, 50.0, 60.0], [60.0, 10.0, 80.0, 30.0]])


def network(config, deltas=(0.0, 0.0, 0.0, 0.0)):
    """Random weights that move every box by the same deltas."""
    torch.manual_seed(0)
    model = MaskRcnn(config).eval()
    predictor = model.roi_heads["box_predictor"]
    with torch.no_grad():
        torch.nn.init.normal_(predictor.cls_score.weight, std=0.3)
        predictor.bbox_pred.weight.zero_()
        predictor.bbox_pred.bias.copy_(torch.tensor(deltas))
    return model


@torch.inference_mode()
def classified(model):
    boxes, scores, labels = model.classify(model.features(IMAGE), PROPOSALS)
    order = torch.argsort(labels * 1000 + boxes[:, 0])
    return boxes[order], scores[order], labels[order]


def test_looking_again_at_boxes_that_stay_changes_nothing():
    once, twice = classified(network(ONE)), classified(network(replace(ONE, box_passes=2)))
    assert len(once[0]) == 4
    for first, second in zip(once, twice, strict=True):
        assert torch.allclose(first.float(), second.float(), atol=1e-5)


def test_each_look_moves_a_box_from_where_the_last_one_left_it():
    deltas = (1.0, 0.0, 0.5, 0.0)  # a tenth of its width to the right, a tenth wider
    expected = PROPOSALS
    for passes in (1, 2, 3):
        expected = decode(torch.tensor([deltas] * 2), expected, BOX_WEIGHTS)
        boxes, _, labels = classified(network(replace(ONE, box_passes=passes), deltas))
        for label in (0, 1):
            assert torch.allclose(boxes[labels == label], expected, atol=1e-3)


def test_scores_come_from_the_mean_of_what_all_looks_say():
    model = network(replace(ONE, box_passes=2), (3.0, 0.0, 0.0, 0.0))
    _, scores, labels = classified(model)
    with torch.inference_mode():
        moved = decode(torch.tensor([(3.0, 0.0, 0.0, 0.0)] * 2), PROPOSALS, BOX_WEIGHTS)
        pyramid = model.features(IMAGE)
        first, second = (model.look(pyramid, 0, boxes, again=False)[0] for boxes in (PROPOSALS, moved))
    assert not torch.allclose(first, second, atol=1e-3)
    for label in (0, 1):
        assert torch.allclose(scores[labels == label], torch.softmax((first + second) / 2, dim=1)[:, label], atol=1e-5)


def test_boxes_that_agree_move_towards_the_surer_one_and_others_stay():
    boxes = torch.tensor([[10.0, 10, 50, 50], [12.0, 10, 52, 50], [100.0, 10, 120, 30], [30.0, 30, 30, 30]])
    certainty = torch.tensor([0.9, 0.3, 0.5, 0.2])
    assert torch.equal(voted(boxes, certainty, 1.0), boxes)
    means = voted(boxes, certainty, 0.75)
    weight = (38 / 42 - 0.75) / 0.25  # their IoU is 38/42
    expected = torch.tensor(
        [10 + 2 * 0.3 * weight / (0.9 + 0.3 * weight), 12 - 2 * 0.9 * weight / (0.3 + 0.9 * weight)]
    )
    assert torch.allclose(means[:2, 0], expected, atol=1e-4)
    assert torch.allclose(means[:2, 2] - means[:2, 0], torch.tensor(40.0))
    assert torch.equal(means[2:], boxes[2:])


def test_a_vote_moves_little_when_a_box_moves_little():
    certainty, boxes = torch.tensor([0.9, 0.8]), torch.tensor([[10.0, 10, 50, 50], [16.0, 10, 56, 50]])
    steps = [voted(boxes + torch.tensor([[0.0], [0.01 * i]]), certainty, 0.7)[0] for i in range(200)]
    assert (torch.stack(steps).diff(dim=0).abs() < 0.02).all()
    assert steps[0][0] > 10.1 > steps[-1][0]  # at first they vote, at last they overlap too little


def test_a_vote_of_many_noisy_boxes_lies_nearer_the_truth_than_they_do():
    generator = torch.Generator().manual_seed(2)
    truth = torch.tensor([[40.0, 40.0, 140.0, 120.0]])
    noisy = truth + torch.randn(60, 4, generator=generator) * 2.0
    means = voted(noisy, torch.full((60,), 0.8), 0.75)
    assert (
        encode(means, truth.expand(60, 4), BOX_WEIGHTS).abs().mean()
        < 0.3 * encode(noisy, truth.expand(60, 4), BOX_WEIGHTS).abs().mean()
    )


def test_no_look_at_all_is_refused():
    with pytest.raises(InputError, match="box_passes 0, expected 1 or more"):
        replace(ONE, box_passes=0)
