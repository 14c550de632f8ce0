"""Each equation of the network against a slow, literal implementation, one point or keypoint at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mkpose_ros.network.config import Ablation
from mkpose_ros.network.fusion import FeatureFusion, FusionBlock
from mkpose_ros.network.heads import NocsHead, Reconstructor, rotation_from_axes
from mkpose_ros.network.image import sample_bilinear
from mkpose_ros.network.keypoints import GraphAttention, KeypointDetector, ObjectFeatures, TextTokens, masked_mean
from mkpose_ros.network.layers import CrossAttention, gather_points
from mkpose_ros.network.points import PointNet2, SetAbstraction, ball_query, propagate

from .conftest import tiny_config


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def softmax(values: list[float]) -> np.ndarray:
    e = np.exp(np.array(values) - max(values))
    return e / e.sum()


def test_equation_1_samples_maps_as_grid_sample_does() -> None:
    feature_map, pixels = torch.randn(2, 5, 7, 4), torch.rand(2, 9, 2) * 2.4 - 1.2
    expected = F.grid_sample(
        feature_map.permute(0, 3, 1, 2), pixels[:, :, None], align_corners=False, padding_mode="border"
    )
    torch.testing.assert_close(sample_bilinear(feature_map, pixels), expected[..., 0].transpose(1, 2))


def test_ball_query_takes_the_first_points_in_the_ball_and_repeats_the_first() -> None:
    squared = torch.tensor([[[0.0, 4.0, 0.5, 0.9, 0.2]]])
    assert ball_query(squared, 1.0, 3).tolist() == [[[0, 2, 3]]]
    assert ball_query(squared, 0.6, 4).tolist() == [[[0, 4, 0, 0]]]


def test_equation_2_set_abstraction_is_the_maximum_over_each_ball() -> None:
    level = tiny_config().point[0]
    layer = SetAbstraction(level, 2).eval()
    for mlp in layer.mlps:
        for norm in mlp.norms:
            norm.running_mean.uniform_(-0.5, 0.5)
            norm.running_var.uniform_(0.5, 2.0)
    points, features = 0.03 * torch.randn(1, 20, 3), torch.randn(1, 20, 2)
    got = layer(points[:, :6], points, features)[0, 3]
    expected = []
    for radius, count, mlp in zip(level.radii_m, level.samples, layer.mlps, strict=True):
        inside = [j for j in range(20) if math.dist(points[0, 3].tolist(), points[0, j].tolist()) < radius][:count]
        best = torch.full((level.widths[0][-1],), -torch.inf)
        for j in inside:
            x = torch.cat([(points[0, j] - points[0, 3]) / radius, features[0, j]])
            for linear, norm in zip(mlp.linears, mlp.norms, strict=True):
                x = F.relu(norm(linear(x)[None])[0])
            best = torch.maximum(best, x)
        expected.append(best)
    torch.testing.assert_close(got, torch.cat(expected))


def test_propagation_weighs_the_three_nearest_by_inverse_distance() -> None:
    points, coarse, features = torch.randn(1, 4, 3), torch.randn(1, 5, 3), torch.randn(1, 5, 2)
    got = propagate(points, coarse, features)
    for i in range(4):
        d = [math.dist(points[0, i].tolist(), c) for c in coarse[0].tolist()]
        near = np.argsort(d)[:3]
        w = np.array([1.0 / (d[j] + 1e-6) for j in near])
        expected = (w / w.sum()) @ features[0, near].numpy()
        np.testing.assert_allclose(got[0, i].numpy(), expected, rtol=1e-4, atol=1e-5)


def test_the_point_encoder_sees_no_translation() -> None:
    config = tiny_config()
    encoder = PointNet2(config.point, config.d_point).eval()
    points = 0.03 * torch.randn(2, 32, 3)
    torch.testing.assert_close(encoder(points + 0.5), encoder(points), atol=1e-4, rtol=1e-3)


def test_equation_4_attends_to_the_tokens_that_exist() -> None:
    module = ObjectFeatures(tiny_config())
    f_obj, f_text, mask = torch.randn(1, 3, 16), torch.randn(1, 5, 16), torch.tensor([[1.0, 1, 1, 0, 0]])
    got = module.attend_text(f_obj, f_text, mask)
    for i in range(3):
        q = module.to_q(f_obj[0, i])
        scores = [float(q @ module.to_k(f_text[0, t])) / math.sqrt(16) for t in range(3)]
        values = torch.stack([module.to_v(f_text[0, t]) for t in range(3)])
        expected = torch.from_numpy(softmax(scores)).float() @ values
        torch.testing.assert_close(got[0, i], expected, atol=1e-5, rtol=1e-4)


def test_equation_5_adds_position_and_the_mean() -> None:
    module = ObjectFeatures(tiny_config())
    f_obj, points = torch.randn(1, 4, 16), 0.05 * torch.randn(1, 4, 3)
    x = [f_obj[0, i] + module.position(points[0, i]) for i in range(4)]
    mean = sum(x) / 4
    for i, got in enumerate(module.with_context(f_obj, points)[0]):
        torch.testing.assert_close(got, module.enrich(torch.cat([x[i], mean])))


def test_equation_6_is_multi_head_attention() -> None:
    module = CrossAttention(8, heads=2)
    query, memory = torch.randn(1, 3, 8), torch.randn(1, 5, 8)
    got = module(query, memory)
    memory_n = module.norm_memory(memory[0])
    keys, values = module.to_kv(memory_n).chunk(2, dim=-1)
    for i in range(3):
        q = module.to_q(module.norm_query(query[0, i]))
        heads = []
        for h in (slice(0, 4), slice(4, 8)):
            weights = softmax([float(q[h] @ keys[j, h]) / 2.0 for j in range(5)])
            heads.append(sum(float(weights[j]) * values[j, h] for j in range(5)))
        torch.testing.assert_close(got[0, i], query[0, i] + module.out(torch.cat(heads)), atol=1e-5, rtol=1e-4)


def test_equations_7_to_9_are_a_softmax_of_cosines_over_the_points() -> None:
    config = tiny_config()
    module = KeypointDetector(config)
    f_obj, context, points = torch.randn(1, 7, 16), torch.randn(1, 7, 16), torch.randn(1, 7, 3)
    f_text, mask = torch.randn(1, 5, 16), torch.ones(1, 5)
    found = module(f_obj, context, f_text, mask, points)
    f_out = module.decode(context, f_text, mask)
    for i in range(config.n_keypoints):
        s = [
            float(f_out[0, i] @ f_obj[0, j]) / (float(f_out[0, i].norm() * f_obj[0, j].norm()) + 1e-7) for j in range(7)
        ]
        h = torch.from_numpy(softmax([v / 0.1 for v in s])).float()
        torch.testing.assert_close(found.heatmap[0, i], h, atol=1e-5, rtol=1e-3)
        torch.testing.assert_close(found.points_m[0, i], h @ points[0], atol=1e-5, rtol=1e-3)
        torch.testing.assert_close(found.features[0, i], h @ f_obj[0], atol=1e-5, rtol=1e-3)


def test_equation_10_is_graph_attention_over_all_keypoints() -> None:
    module = GraphAttention(8, heads=2)
    h = torch.randn(1, 5, 8)
    got = module(h)
    w = module.weight(module.norm(h[0]))
    for i in range(5):
        parts = []
        for head, c in enumerate((slice(0, 4), slice(4, 8))):
            a, b = module.a_self[head], module.a_other[head]
            e = [float(F.leaky_relu(a @ w[i, c] + b @ w[j, c], 0.2)) for j in range(5)]
            alpha = softmax(e)
            parts.append(F.elu(sum(float(alpha[j]) * w[j, c] for j in range(5))))
        torch.testing.assert_close(got[0, i], h[0, i] + torch.cat(parts), atol=1e-5, rtol=1e-4)


def test_equations_11_to_13_gather_the_nearest_points() -> None:
    seen: list[torch.Tensor] = []

    class Spy(torch.nn.Module):
        def forward(self, f_kpt: torch.Tensor, f_knn: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
            seen.extend((f_knn, *rest))
            return f_kpt

    module = FeatureFusion(4, 1, neighbors=3, blocks=1)
    module.blocks = torch.nn.ModuleList([Spy()])
    keypoints, points, f_obj = torch.randn(1, 2, 3), torch.randn(1, 9, 3) + 1.0, torch.randn(1, 9, 4)
    module(keypoints, torch.randn(1, 2, 4), points, f_obj)
    f_knn, given, kpt_rel, knn_rel = seen
    assert torch.equal(given, keypoints)
    for i in range(2):
        near = np.argsort([math.dist(keypoints[0, i].tolist(), p) for p in points[0].tolist()])[:3]
        torch.testing.assert_close(f_knn[0, i], f_obj[0, near])
        torch.testing.assert_close(knn_rel[0, i], points[0, near] - keypoints[0, i])  # Eq 15
        torch.testing.assert_close(kpt_rel[0, i], keypoints[0, i] - points[0].mean(dim=0))


def test_equations_14_to_18_one_keypoint_at_a_time() -> None:
    block = FusionBlock(8, heads=2)
    f_kpt, f_knn = torch.randn(1, 3, 8), torch.randn(1, 3, 4, 8)
    keypoints, kpt_rel, knn_rel = torch.randn(1, 3, 3), torch.randn(1, 3, 3), torch.randn(1, 3, 4, 3)
    rows = []
    for i in range(3):
        f = f_kpt[0, i] + block.position_kpt(kpt_rel[0, i])  # Eq 14
        neighbors = f_knn[0, i] + block.position_knn(knn_rel[0, i])
        q = block.to_q(block.norm_query(f))  # Eq 16
        keys, values = block.to_kv(block.norm_memory(neighbors)).chunk(2, dim=-1)
        heads = []
        for c in (slice(0, 4), slice(4, 8)):
            weights = softmax([float(q[c] @ keys[m, c]) / 2.0 for m in range(4)])
            heads.append(sum(float(weights[m]) * values[m, c] for m in range(4)))
        rows.append(f + block.out(torch.cat(heads)) + block.position(keypoints[0, i]))  # Eq 17
    mean = sum(rows) / 3  # Eq 18
    rows = torch.stack([f + block.fuse_global(torch.cat([f, mean])) for f in rows])
    expected = block.attention(rows[None])
    torch.testing.assert_close(block(f_kpt, f_knn, keypoints, kpt_rel, knn_rel), expected, atol=1e-5, rtol=1e-4)


def test_the_reconstruction_surrounds_its_keypoints() -> None:
    module = Reconstructor(8, points=3)
    keypoints = torch.randn(2, 4, 3)
    reconstruction, offsets = module(keypoints, torch.randn(2, 4, 8))
    assert offsets.shape == (2, 4, 3, 3)
    torch.testing.assert_close(reconstruction[1, 2 * 3 + 1], keypoints[1, 2] + offsets[1, 2, 1])


def test_nocs_are_expectations_over_bin_centres() -> None:
    module = NocsHead(8, heads=2, bins=4)
    with torch.no_grad():
        module.to_bins.weight.zero_()
        module.to_bins.bias.copy_(torch.tensor([50.0, 0, 0, 0] + [0.0] * 4 + [0, 0, 50, 50.0]))
    expected = torch.tensor([-0.375, 0.0, 0.25]).expand(1, 2, 3)
    torch.testing.assert_close(module(torch.randn(1, 2, 8)), expected)


def test_rotations_keep_y_exactly_and_are_orthonormal() -> None:
    axes = torch.randn(20, 6, dtype=torch.float64)
    R = rotation_from_axes(axes)
    torch.testing.assert_close(R[:, :, 1], F.normalize(axes[:, :3], dim=-1))
    torch.testing.assert_close(R.transpose(1, 2) @ R, torch.eye(3, dtype=torch.float64).expand(20, 3, 3))
    torch.testing.assert_close(torch.linalg.det(R), torch.ones(20, dtype=torch.float64))
    # x leans to the side of the second vector.
    assert ((R[:, :, 0] * axes[:, 3:]).sum(dim=-1) > 0).all()


def test_masked_mean_ignores_padding_and_survives_an_empty_mask() -> None:
    tokens = torch.tensor([[[1.0], [3.0], [100.0]]])
    assert masked_mean(tokens, torch.tensor([[1.0, 1.0, 0.0]])).item() == 2.0
    assert masked_mean(tokens, torch.zeros(1, 3)).item() == 0.0


def test_gathering_rows_of_each_cloud() -> None:
    values, index = torch.randn(2, 5, 3), torch.randint(0, 5, (2, 4, 6))
    got = gather_points(values, index)
    assert all(
        torch.equal(got[b, i, j], values[b, index[b, i, j]]) for b in range(2) for i in range(4) for j in range(6)
    )


def test_text_tokens_are_projected_one_by_one() -> None:
    module = TextTokens(12, 16)
    text = torch.randn(2, 5, 12)
    torch.testing.assert_close(module(text)[1, 2], module(text[1, 2]))


def test_without_global_features_no_other_point_matters_to_equation_5() -> None:
    module = ObjectFeatures(tiny_config(ablation=Ablation(global_features=False)))
    f_obj, points = torch.randn(1, 4, 16), torch.randn(1, 4, 3)
    changed = f_obj.clone()
    changed[0, 1:] += 1.0
    torch.testing.assert_close(module.with_context(f_obj, points)[0, 0], module.with_context(changed, points)[0, 0])
