"""Each loss against a slow, literal reading of its equation, and against what symmetry means."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from mkpose_ros.geometry.symmetry import align_to_reference, finite_rotations
from mkpose_ros.network import losses
from mkpose_ros.network.config import Ablation
from mkpose_ros.network.model import ModelOutput
from mkpose_ros.network.symmetry import align_ground_truth, rotation_vector
from mkpose_ros.types import Symmetry

from .conftest import make_targets, random_rotations, tiny_config

BOX, BOTTLE, NONE = Symmetry(orders=(2, 2, 2)), Symmetry(("y",)), Symmetry()
DRUM = Symmetry(("y",), (2, 1, 1))  # a closed cylinder whose ends look the same
SPHERE = Symmetry(("x", "y", "z"))


def symmetric_targets(symmetries: list[Symmetry], seed: int = 0) -> losses.Targets:
    groups = [np.array(finite_rotations(s)) for s in symmetries]
    most = max(len(g) for g in groups)
    # Padding that would be chosen if the count were ignored: it is a perfect answer to everything.
    padded = np.stack([np.concatenate([g, np.full((most - len(g), 3, 3), np.nan)]) for g in groups])
    padded = np.nan_to_num(padded, nan=0.0)
    return make_targets(
        random_rotations(len(symmetries), seed),
        symmetries=torch.from_numpy(padded),
        symmetry_count=torch.tensor([len(g) for g in groups]),
        axis_mask=torch.tensor([[float(a in s.infinite_axes) for a in "xyz"] for s in symmetries], dtype=torch.float64),
    )


def output_of(rotation: torch.Tensor, **changes: object) -> ModelOutput:
    b, dtype = len(rotation), rotation.dtype
    g = torch.Generator().manual_seed(5)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=g, dtype=dtype)

    values = {
        "rotation": rotation,
        "translation_m": 0.02 * random(b, 3),
        "size_m": 0.1 + 0.02 * random(b, 3).abs(),
        "keypoints_m": 0.03 * random(b, 7, 3),
        "nocs": 0.2 * random(b, 7, 3),
        "log_variance": random(b, 6) - 4.0,
        "axis_symmetric_logit": random(b),
        "reconstruction_m": 0.03 * random(b, 14, 3),
        "offsets_m": 0.01 * random(b, 7, 2, 3),
        "heatmap": random(b, 7, 9),
    }
    return ModelOutput(**{**values, **changes})


@pytest.mark.parametrize("symmetry", [NONE, BOX, BOTTLE, DRUM, SPHERE])
def test_rotation_loss_is_equation_19_read_literally(symmetry: Symmetry) -> None:
    targets, R = symmetric_targets([symmetry, BOX]), random_rotations(2, seed=9)
    got = losses.rotation_loss(R, targets)[0].item()
    axes = [i for i, a in enumerate("xyz") if a in symmetry.infinite_axes] or [0, 1, 2]
    expected = min(
        sum(math.dist((targets.rotation[0].numpy() @ R_s)[:, a], R[0].numpy()[:, a]) for a in axes) / len(axes)
        for R_s in finite_rotations(symmetry)
    )
    assert got == pytest.approx(0.0 if len(axes) > 1 and symmetry.infinite_axes else expected, abs=1e-12)


@pytest.mark.parametrize("symmetry", [BOX, BOTTLE, DRUM])
def test_rotation_loss_forgives_every_symmetric_turn_and_nothing_else(symmetry: Symmetry) -> None:
    targets = symmetric_targets([symmetry])
    truth = targets.rotation[0].numpy()
    for R_s, angle in itertools.product(finite_rotations(symmetry), (0.0, 1.0, 2.5)):
        turn = Rotation.from_rotvec([0.0, angle * bool(symmetry.infinite_axes), 0.0]).as_matrix()
        equal = torch.from_numpy(truth @ R_s @ turn)[None]
        assert losses.rotation_loss(equal, targets).item() < 1e-9
    upside_down = torch.from_numpy(truth @ Rotation.from_rotvec([np.pi / 2, 0.0, 0.0]).as_matrix())[None]
    assert losses.rotation_loss(upside_down, targets).item() > 0.5


def test_a_turn_about_one_one_one_is_punished_without_symmetry() -> None:
    targets = symmetric_targets([NONE])
    turn = torch.from_numpy(Rotation.from_rotvec(np.full(3, 2.0 / math.sqrt(3))).as_matrix())
    assert losses.rotation_loss(targets.rotation @ turn, targets).item() > 1.0


@pytest.mark.parametrize("symmetry", [NONE, BOX, BOTTLE, DRUM])
def test_aligned_truth_equals_the_one_of_the_geometry_room(symmetry: Symmetry) -> None:
    targets, reference = symmetric_targets([symmetry] * 6, seed=3), random_rotations(6, seed=4)
    got = align_ground_truth(
        targets.rotation, targets.symmetries, targets.symmetry_count, targets.axis_mask, reference
    ).numpy()
    for i in range(6):
        expected = align_to_reference(targets.rotation[i].numpy(), reference[i].numpy(), symmetry)
        np.testing.assert_allclose(got[i], expected, atol=1e-9)


def test_a_sphere_aligns_to_any_prediction() -> None:
    targets, reference = symmetric_targets([SPHERE]), random_rotations(1, seed=2)
    got = align_ground_truth(targets.rotation, targets.symmetries, targets.symmetry_count, targets.axis_mask, reference)
    torch.testing.assert_close(got, reference)


def test_rotation_vectors_match_scipy_up_to_half_a_turn() -> None:
    rng = np.random.default_rng(0)
    axes = rng.normal(size=(60, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    angles = np.concatenate([[0.0, 1e-9, 1e-5, np.pi - 1e-4], rng.uniform(0, np.pi, 56)])
    vectors = axes * angles[:, None]
    got = rotation_vector(torch.from_numpy(Rotation.from_rotvec(vectors).as_matrix())).numpy()
    np.testing.assert_allclose(got, vectors, atol=1e-6)
    half_turn = rotation_vector(torch.from_numpy(Rotation.from_rotvec(np.pi * axes).as_matrix())).numpy()
    np.testing.assert_allclose(np.abs(np.sum(half_turn * axes, axis=1)), np.pi, atol=1e-6)


def test_pose_size_loss_adds_the_lengths_of_equation_19() -> None:
    targets, output = symmetric_targets([NONE, BOTTLE]), output_of(random_rotations(2, seed=8))
    t, s = (
        [math.dist(a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
        for x, y in ((targets.translation_m, output.translation_m), (targets.size_m, output.size_m))
    )
    rotation = losses.rotation_loss(output.rotation, targets).tolist()
    expected = sum(rotation[i] + 2.0 * t[i] + 3.0 * s[i] for i in range(2)) / 2
    assert losses.pose_size_loss(output, targets, 2.0, 3.0).item() == pytest.approx(expected)


def test_chamfer_is_equation_23_over_the_seen_points() -> None:
    g = torch.Generator().manual_seed(0)
    keypoints, points = torch.randn(2, 5, 3, generator=g), torch.randn(2, 11, 3, generator=g)
    seen = torch.rand(2, 11, generator=g) > 0.4
    expected = np.mean(
        [
            min(math.dist(k, p) for p, s in zip(points[b].tolist(), seen[b].tolist(), strict=True) if s)
            for b in range(2)
            for k in keypoints[b].tolist()
        ]
    )
    assert losses.chamfer_loss(keypoints, points, seen).item() == pytest.approx(expected, rel=1e-5)


def test_diversity_is_equations_24_and_25() -> None:
    keypoints = 0.01 * torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0))
    T = 0.01
    expected = np.mean(
        [
            sum(1.0 - min(math.dist(a, b), T) / T for a, b in itertools.permutations(cloud, 2)) / (6 * 5)
            for cloud in keypoints.tolist()
        ]
    )
    assert losses.diversity_loss(keypoints, T).item() == pytest.approx(expected, rel=1e-4)


def test_diversity_of_coinciding_keypoints_is_one_with_a_finite_gradient() -> None:
    keypoints = torch.zeros(1, 4, 3, requires_grad=True)
    loss = losses.diversity_loss(keypoints, 0.01)
    loss.backward()
    assert loss.item() == pytest.approx(1.0, abs=1e-3)
    assert keypoints.grad.isfinite().all()


def test_reconstruction_is_equation_26_with_halves() -> None:
    g = torch.Generator().manual_seed(0)
    rec, points = torch.randn(1, 8, 3, generator=g), torch.randn(1, 11, 3, generator=g)
    seen = torch.tensor([[True] * 7 + [False] * 4])
    inside = points[0, :7].tolist()
    to_rec = np.mean([min(math.dist(p, r) for r in rec[0].tolist()) for p in inside])
    to_points = np.mean([min(math.dist(p, r) for p in inside) for r in rec[0].tolist()])
    got = losses.reconstruction_loss(rec, points, seen).item()
    assert got == pytest.approx(0.5 * to_rec + 0.5 * to_points, rel=1e-5)


def test_delta_is_equation_27() -> None:
    offsets = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    expected = np.mean([np.linalg.norm(v) for v in offsets.reshape(-1, 3).numpy()])
    assert losses.delta_loss(offsets).item() == pytest.approx(expected, rel=1e-5)


def test_nocs_loss_is_smooth_l1_to_the_normalised_keypoints() -> None:
    targets, output = symmetric_targets([NONE]), output_of(random_rotations(1, seed=8))
    R, t, s = targets.rotation[0].numpy(), targets.translation_m[0].numpy(), targets.size_m[0].numpy()
    total = 0.0
    for p, q in zip(output.keypoints_m[0].numpy(), output.nocs[0].numpy(), strict=True):
        for e in np.abs(R.T @ (p - t) / np.linalg.norm(s) - q):
            total += 0.5 * e * e / 0.1 if e < 0.1 else e - 0.05
    assert losses.nocs_loss(output, targets, targets.rotation, 0.1).item() == pytest.approx(total / 7)


def test_nocs_target_of_a_bottle_follows_the_prediction_about_its_axis() -> None:
    targets = symmetric_targets([BOTTLE])
    for angle in (0.3, 3.0):
        turn = torch.from_numpy(Rotation.from_rotvec([0.0, angle, 0.0]).as_matrix())
        predicted = targets.rotation @ turn
        keypoints = 0.03 * torch.randn(1, 7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        scale = targets.size_m.norm(dim=-1)[:, None, None]
        nocs = (keypoints - targets.translation_m[:, None]) / scale @ predicted
        output = output_of(predicted, keypoints_m=keypoints, nocs=nocs)
        _, terms = losses.total_loss(output, targets, tiny_config(), torch.randn(1, 9, 3).double() * 0.02)
        assert terms["nocs"].item() < 1e-12


def test_only_points_near_the_true_box_count_as_seen() -> None:
    targets = make_targets(random_rotations(1), size_m=torch.tensor([[0.1, 0.2, 0.1]], dtype=torch.float64))
    margin = 0.1 * math.sqrt(0.06)
    local = torch.tensor([[[0.05 + margin - 1e-6, 0, 0], [0.05 + margin + 1e-6, 0, 0], [0, 0.1, 0.05]]]).double()
    points = local @ targets.rotation.transpose(1, 2) + targets.translation_m[:, None]
    assert losses.on_object(points, targets).tolist() == [[True, False, True]]


def test_uncertainty_trains_to_the_residual_and_leaves_the_pose_alone() -> None:
    targets, R = symmetric_targets([NONE, BOTTLE]), random_rotations(2, seed=8).requires_grad_()
    log_variance = torch.zeros(2, 6, dtype=torch.float64, requires_grad=True)
    output = output_of(R, log_variance=log_variance)
    aligned = align_ground_truth(
        targets.rotation, targets.symmetries, targets.symmetry_count, targets.axis_mask, R.detach()
    )
    losses.gaussian_nll(output, targets, aligned).backward()
    assert R.grad is None
    residual = losses.pose_residual(output, targets, aligned)
    # The gradient vanishes where exp(log variance) is the squared residual.
    torch.testing.assert_close(log_variance.grad, 0.5 * (1.0 - residual) / 12)
    assert residual[1, 4].item() == pytest.approx(math.pi**2 / 3)


def test_total_is_the_weighted_sum_of_equation_22() -> None:
    config = tiny_config()
    total, terms = losses.total_loss(
        output_of(random_rotations(2, seed=8)), symmetric_targets([NONE, BOX]), config, torch.randn(2, 9, 3).double()
    )
    weights = {"pose": 0.3, "chamfer": 2.0, "diversity": 10.0, "reconstruction": 15.0, "delta": 1.0, "nocs": 2.0}
    for name, weight in weights.items():
        assert getattr(config.loss, name) == weight
    assert set(terms) == {*weights, "uncertainty", "axis_symmetric"}
    expected = sum(getattr(config.loss, name) * value.item() for name, value in terms.items())
    assert total.item() == pytest.approx(expected)


def test_without_the_symmetry_loss_a_turned_bottle_is_wrong() -> None:
    targets = symmetric_targets([BOTTLE])
    turned = targets.rotation @ torch.from_numpy(Rotation.from_rotvec([0.0, 2.0, 0.0]).as_matrix())
    points = torch.randn(1, 9, 3).double() * 0.02
    exact = {"translation_m": targets.translation_m, "size_m": targets.size_m}
    full = losses.total_loss(output_of(turned, **exact), targets, tiny_config(), points)[1]
    plain_config = tiny_config(ablation=Ablation(symmetry_loss=False))
    plain = losses.total_loss(output_of(turned, **exact), targets, plain_config, points)[1]
    assert full["pose"].item() < 1e-9
    assert plain["pose"].item() > 1.0


@pytest.mark.parametrize("symmetry", [NONE, BOX, BOTTLE, DRUM])
def test_gradients_of_the_losses_match_finite_differences(symmetry: Symmetry) -> None:
    targets, points = symmetric_targets([symmetry]), 0.03 * torch.randn(1, 9, 3).double()
    start = output_of(random_rotations(1, seed=8))
    names = ("rotation", "translation_m", "size_m", "keypoints_m", "nocs", "reconstruction_m", "offsets_m")

    def loss(*values: torch.Tensor) -> torch.Tensor:
        # The uncertainty and the NOCS target hold the pose and the keypoints fixed, so they are not part of this check.
        output = start._replace(**dict(zip(names, values, strict=True)))
        seen = losses.on_object(points, targets)
        return (
            losses.pose_size_loss(output, targets)
            + losses.chamfer_loss(output.keypoints_m, points, seen)
            + losses.diversity_loss(output.keypoints_m, 0.05)
            + losses.reconstruction_loss(output.reconstruction_m, points, seen)
            + losses.delta_loss(output.offsets_m)
            + losses.nocs_loss(output._replace(keypoints_m=start.keypoints_m), targets, targets.rotation, 0.1)
        )

    values = tuple(getattr(start, name).clone().requires_grad_() for name in names)
    assert torch.autograd.gradcheck(loss, values, eps=1e-7, atol=1e-5)
