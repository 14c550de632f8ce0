"""Token features of category descriptions: the file models/text_features.safetensors, and batches of it. numpy only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mkpose_ros.errors import InputError, ModelError

__all__ = ["TextFeatures", "load_text_features", "save_text_features"]


@dataclass(frozen=True)
class TextFeatures:
    """What the network knows of each category's name and description (Eq 3)."""

    encoder: str  # such as "minilm"
    descriptions: Mapping[str, str]  # category -> the encoded prompt
    features: Mapping[str, np.ndarray] = field(repr=False)  # category -> (T_c, D) float32, without padding

    @property
    def hash(self) -> str:
        """SHA-256 (16 hex digits) of the encoder, the names and the features."""
        digest = hashlib.sha256(self.encoder.encode())
        for name in sorted(self.features):
            digest.update(name.encode() + np.ascontiguousarray(self.features[name], dtype="<f4").tobytes())
        return digest.hexdigest()[:16]

    def batch(self, categories: Sequence[str], tokens: int = 48) -> tuple[np.ndarray, np.ndarray]:
        """Features (B, tokens, D) and mask (B, tokens), float32, of B categories.

        Raises InputError for a category without features, naming those that have some.
        """
        unknown = sorted(set(categories) - set(self.features))
        if unknown:
            raise InputError(
                f"text features: no category {', '.join(unknown)}; known are {', '.join(sorted(self.features))}. "
                "Add its description to a categories file and run mkpose export --text-features"
            )
        width = next(iter(self.features.values())).shape[1]
        text = np.zeros((len(categories), tokens, width), dtype=np.float32)
        mask = np.zeros((len(categories), tokens), dtype=np.float32)
        for row, name in enumerate(categories):
            values = self.features[name][:tokens]
            text[row, : len(values)], mask[row, : len(values)] = values, 1.0
        return text, mask


def save_text_features(features: TextFeatures, path: Path) -> None:
    """Write a safetensors file: one tensor per category, encoder and descriptions in its metadata."""
    from safetensors.numpy import save_file

    header = {"encoder": features.encoder, "descriptions": dict(features.descriptions), "hash": features.hash}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(
        {k: np.ascontiguousarray(v, dtype=np.float32) for k, v in features.features.items()},
        path,
        metadata={"mkpose": json.dumps(header)},
    )


def load_text_features(path: Path) -> TextFeatures:
    """Read a file of `save_text_features`. Raises ModelError when it is missing, damaged or does not fit its hash."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            header = json.loads((file.metadata() or {})["mkpose"])
            values = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        features = TextFeatures(header["encoder"], header["descriptions"], values)
        stored = header["hash"]
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ModelError(
            f"text features {path}: {type(error).__name__}: {error}. Expected the shipped "
            "models/text_features.safetensors or one that mkpose export --text-features wrote"
        ) from error
    if stored != features.hash:
        raise ModelError(f"text features {path}: content hash {features.hash}, header says {stored}; write it again")
    return features
