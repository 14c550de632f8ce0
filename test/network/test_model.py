"""The whole network: equivariance, ablations, checkpoints, faults, and that it can learn."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from mkpose_ros.errors import InputError, MkposeError, ModelError
from mkpose_ros.geometry.sampling import farthest_point_order
from mkpose_ros.inference.text_features import load_text_features
from mkpose_ros.network.config import Ablation, config_from_dict, load_config
from mkpose_ros.network.losses import total_loss
from mkpose_ros.network.model import MKPose, load_checkpoint, save_checkpoint
from mkpose_ros.network.symmetry import align_ground_truth, rotation_vector

from .conftest import make_targets, random_rotations, tensors, tiny_config


def test_a_translated_cloud_moves_only_t_and_the_keypoints(tiny: MKPose) -> None:
    image, points, pixels, text, mask = tensors(tiny.config)
    shift = torch.tensor([0.2, -0.1, 0.5])
    with torch.no_grad():
        here, there = tiny(image, points, pixels, text, mask), tiny(image, points + shift, pixels, text, mask)
    for name in ("rotation", "size_m", "nocs", "log_variance", "axis_symmetric_logit"):
        torch.testing.assert_close(getattr(there, name), getattr(here, name), atol=1e-3, rtol=1e-3)
    for name in ("translation_m", "keypoints_m", "reconstruction_m"):
        torch.testing.assert_close(getattr(there, name), getattr(here, name) + shift, atol=1e-4, rtol=1e-4)


def test_instances_of_a_batch_do_not_see_each_other(tiny: MKPose) -> None:
    inputs = tensors(tiny.config, batch=3)
    with torch.no_grad():
        together, alone = tiny(*inputs), tiny(*(x[1:2] for x in inputs))
    for name in ("rotation", "translation_m", "size_m", "nocs"):
        torch.testing.assert_close(getattr(together, name)[1:2], getattr(alone, name), atol=1e-5, rtol=1e-4)


def test_an_empty_batch_gives_empty_outputs(tiny: MKPose) -> None:
    output = tiny(*(x[:0] for x in tensors(tiny.config)))
    assert output.rotation.shape == (0, 3, 3)
    assert output.keypoints_m.shape == (0, tiny.config.n_keypoints, 3)


@pytest.mark.parametrize("size", ["small", "base"])
def test_shipped_sizes_have_the_shapes_they_promise(size: str) -> None:
    config = load_config(size)
    with torch.no_grad():
        output = MKPose(config).eval()(*tensors(config, batch=1))
    assert output.keypoints_m.shape == (1, config.n_keypoints, 3)
    assert output.reconstruction_m.shape == (1, config.n_keypoints * config.reconstruction_points, 3)
    assert output.heatmap.shape == (1, config.n_keypoints, config.n_points)
    assert all(value.isfinite().all() for value in output)


def test_base_has_the_dimensions_of_the_paper() -> None:
    config = load_config("base")
    assert (config.n_points, config.n_keypoints, config.d, config.d_image, config.d_point) == (1024, 96, 256, 128, 128)
    assert (config.neighbors, config.temperature, config.crop_px) == (16, 0.1, 224)


def test_base_with_dinov2_has_the_paper_baseline_s_parameter_count() -> None:
    config = load_config("base")
    image = dataclasses.replace(config.image, backbone="dinov2-vits14")
    with torch.device("meta"):
        model = MKPose(dataclasses.replace(config, image=image))
    count = sum(p.numel() for p in model.parameters()) / 1e6
    assert count == pytest.approx(32.6, rel=0.05)  # AG-Pose, from its public code


def test_the_frozen_backbone_gets_no_gradient_and_everything_else_does() -> None:
    model = MKPose(tiny_config()).train()
    inputs = tensors(model.config)
    output = model(*inputs)
    total_loss(output, make_targets(random_rotations(2).float()), model.config, inputs[1])[0].backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == name.startswith("image.backbone"), name


def test_an_unfrozen_backbone_learns() -> None:
    config = tiny_config()
    config = dataclasses.replace(config, image=dataclasses.replace(config.image, frozen=False))
    model = MKPose(config).train()
    model(*tensors(config)).rotation.sum().backward()
    assert model.image.backbone.stem.weight.grad.abs().sum() > 0


def test_without_text_the_description_changes_nothing() -> None:
    inputs = tensors(tiny_config())
    other = (*inputs[:3], inputs[3] + torch.randn_like(inputs[3]), inputs[4])
    for with_text in (True, False):
        torch.manual_seed(0)
        model = MKPose(tiny_config(ablation=Ablation(text=with_text))).eval()
        with torch.no_grad():
            same = torch.allclose(model(*inputs).rotation, model(*other).rotation, atol=1e-7)
        assert same != with_text


def test_without_the_reconstructor_its_losses_are_gone() -> None:
    model = MKPose(tiny_config(ablation=Ablation(reconstructor=False)))
    inputs = tensors(model.config)
    output = model(*inputs)
    assert output.reconstruction_m is None
    terms = total_loss(output, make_targets(random_rotations(2).float()), model.config, inputs[1])[1]
    assert not {"reconstruction", "delta"} & set(terms)


def test_without_feature_fusion_its_weights_change_nothing() -> None:
    for with_fusion in (True, False):
        torch.manual_seed(0)
        model = MKPose(tiny_config(ablation=Ablation(feature_fusion=with_fusion))).eval()
        inputs = tensors(model.config)
        with torch.no_grad():
            before = model(*inputs).rotation
            for parameter in model.fusion.parameters():
                parameter += 0.1
            assert torch.allclose(before, model(*inputs).rotation, atol=1e-7) != with_fusion


def test_evaluation_folds_batch_norms_without_changing_them(tiny: MKPose) -> None:
    mlp = tiny.point.down[0].mlps[0]
    x = torch.randn(50, mlp.linears[0].in_features)
    expected = x
    for linear, norm in zip(mlp.linears, mlp.norms, strict=True):
        expected = torch.relu(norm(linear(expected)))
    torch.testing.assert_close(mlp(x), expected, atol=1e-5, rtol=1e-4)


def test_a_checkpoint_comes_back_as_the_same_model(tiny: MKPose, tmp_path) -> None:
    save_checkpoint(tiny, tmp_path / "m.safetensors", {"categories": ["mug"]})
    model, extra = load_checkpoint(tmp_path / "m.safetensors")
    assert model.config == tiny.config
    assert extra == {"categories": ["mug"]}
    inputs = tensors(tiny.config)
    with torch.no_grad():
        assert torch.equal(model(*inputs).rotation, tiny(*inputs).rotation)


@pytest.mark.parametrize("content", [None, b"", b"\x00" * 100, b"{not a header}" * 50])
def test_missing_and_damaged_checkpoints_are_named(tmp_path, content) -> None:
    path = tmp_path / "weights.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=r"weights\.safetensors"):
        load_checkpoint(path)


def test_a_checkpoint_of_another_version_says_so(tiny: MKPose, tmp_path, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("mkpose_ros.network.model.FORMAT_VERSION", 99)
        save_checkpoint(tiny, tmp_path / "m.safetensors")
    with pytest.raises(ModelError, match="format version 99"):
        load_checkpoint(tmp_path / "m.safetensors")


def test_weights_that_do_not_fit_their_config_name_the_keys(tiny: MKPose, tmp_path) -> None:
    other = MKPose(tiny_config(n_keypoints=7))
    other.config = tiny.config
    save_checkpoint(other, tmp_path / "m.safetensors")
    with pytest.raises(ModelError, match=r"detector\.queries"):
        load_checkpoint(tmp_path / "m.safetensors")


def test_wrong_shapes_and_nan_points_are_refused_by_name(tiny: MKPose) -> None:
    image, points, pixels, text, mask = tensors(tiny.config)
    tiny.check_inputs(image, points, pixels, text, mask)
    with pytest.raises(InputError, match=r"points_m has shape \(2, 31, 3\), expected \(2, 32, 3\)"):
        tiny.check_inputs(image, points[:, 1:], pixels, text, mask)
    with pytest.raises(InputError, match="image_u8"):
        tiny.check_inputs(image[:, 1:], points, pixels, text, mask)
    broken = points.clone()
    broken[1, 3, 2] = torch.nan
    with pytest.raises(InputError, match="points_m holds NaN"):
        tiny.check_inputs(image, broken, pixels, text, mask)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"heads": 3}, "multiple of heads"),
        ({"point": ()}, "at least one level"),
        ({"neighbors": 33}, "exceeds n_points"),
        ({"image": {"backbone": "resnet"}}, "resnet"),
        ({"colour": 1}, "unknown keys"),
    ],
)
def test_wrong_configurations_say_what_is_wrong(change: dict, text: str) -> None:
    with pytest.raises(InputError, match=text):
        config_from_dict({**tiny_config().to_dict(), **change})


def test_configurations_survive_the_way_through_plain_values() -> None:
    assert config_from_dict(load_config("base").to_dict()) == load_config("base")


def test_an_unknown_configuration_names_the_choices() -> None:
    with pytest.raises(MkposeError, match="small, base"):
        load_config("huge")


def test_farthest_point_order_matches_the_textbook_loop() -> None:
    points = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    order = farthest_point_order(points, 20)
    chosen = [int(np.argmin(np.linalg.norm(points - points.mean(axis=0), axis=1)))]
    while len(chosen) < 20:
        gaps = np.linalg.norm(points[:, None] - points[chosen][None], axis=-1).min(axis=1)
        chosen.append(int(gaps.argmax()))
    assert order[:20].tolist() == chosen
    assert sorted(order.tolist()) == list(range(60))
    assert farthest_point_order(np.zeros((4, 3))).tolist() == [0, 1, 2, 3]
    assert len(farthest_point_order(np.zeros((0, 3)))) == 0


@pytest.mark.slow
def test_small_overfits_eight_objects_to_below_1_degree_and_2_mm() -> None:
    torch.manual_seed(0)
    model = MKPose(load_config("small")).train()
    categories = ("bottle", "bowl", "can", "camera", "laptop", "mug", "box", "shoe")
    text = [torch.from_numpy(array) for array in load_text_features().batch(categories)]
    inputs = (*tensors(model.config, batch=8)[:3], *text)
    axis_mask = torch.zeros(8, 3)
    axis_mask[:3, 1] = 1.0  # the first three are continuous about y
    targets = make_targets(random_rotations(8).float(), axis_mask=axis_mask)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    steps = 600
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 1e-3 * min(1.0, (step + 1) / 20) * (1.0 - step / steps)
        loss, _ = total_loss(model(*inputs), targets, model.config, inputs[1])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
    with torch.no_grad():
        output = model(*inputs)
        aligned = align_ground_truth(
            targets.rotation, targets.symmetries, targets.symmetry_count, axis_mask, output.rotation
        )
        degrees = torch.rad2deg(rotation_vector(output.rotation.transpose(1, 2) @ aligned).norm(dim=1))
        millimetres = 1e3 * (output.translation_m - targets.translation_m).norm(dim=1)
    assert degrees.max().item() < 1.0
    assert millimetres.max().item() < 2.0
