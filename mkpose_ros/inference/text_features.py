"""The text features that tell the network which category it looks at, computed once and shipped with the models."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from mkpose_ros.errors import DependencyError, InputError, MkposeError, ModelError
from mkpose_ros.resources import share_path

__all__ = ["TEXT_TOKENS", "TextFeatures", "load_text_features"]

TEXT_TOKENS = 48  # T, the token slots of the network's text input


class TextFeatures:
    """Token features of category descriptions, padded to T slots; new categories can be added by description."""

    def __init__(self, features: Mapping[str, np.ndarray], tokens: int = TEXT_TOKENS) -> None:
        """``features``: name -> (t, D) float32 with t <= tokens; the rest of the slots is masked out."""
        if not features:
            raise InputError("text features of no category: expected at least one")
        self._tokens = tokens
        self._rows: dict[str, int] = {}
        width = next(iter(features.values())).shape[1]
        self._text = np.zeros((0, tokens, width), np.float32)
        self._mask = np.zeros((0, tokens), np.float32)
        self._last: tuple[list[str], tuple[np.ndarray, np.ndarray]] | None = None  # names and their batch
        for name, value in features.items():
            self._append(name, value)

    @property
    def names(self) -> tuple[str, ...]:
        """The categories that have features."""
        return tuple(self._rows)

    @property
    def shape(self) -> tuple[int, int]:
        """(T, D) of one category's features."""
        return self._text.shape[1:]

    def __contains__(self, name: str) -> bool:
        return name in self._rows

    def batch(self, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Text (B, T, D) and mask (B, T), float32, of B category names. Raises InputError for unknown ones.

        The same names twice in a row, as in most frames, give the same arrays: they are for reading.
        """
        if self._last is not None and self._last[0] == list(names):
            return self._last[1]
        unknown = sorted({name for name in names if name not in self._rows})
        if unknown:
            raise InputError(
                f"category {', '.join(unknown)} has no text features: known are {', '.join(self.names)}; "
                "a new category needs a name and a description in config/categories.yaml"
            )
        rows = [self._rows[name] for name in names]
        self._last = list(names), (self._text[rows], self._mask[rows])
        return self._last[1]

    def add(self, descriptions: Mapping[str, str]) -> None:
        """Encode new categories (name -> description of the shape); known names get the new description.

        Needs the text encoder: raises DependencyError that names the extra where it is not installed.
        """
        try:
            from mkpose_ros.network.text import encode_descriptions
        except ImportError as error:
            raise DependencyError(
                f"new categories ({', '.join(descriptions)}) need the text encoder: {error}; "
                "install it with `pip install mkpose_ros[train]`"
            ) from error
        for name, value in encode_descriptions(dict(descriptions)).items():
            self._append(name, value)

    def fingerprint(self, names: Sequence[str]) -> str:
        """A hash of the features of some categories, to compare with those that a model was trained on."""
        digest = hashlib.sha256()
        for name in sorted(names):
            text, mask = self.batch([name])
            digest.update(name.encode() + text[mask > 0].tobytes())
        return digest.hexdigest()

    def _append(self, name: str, value: np.ndarray) -> None:
        value = np.asarray(value, np.float32)
        if value.ndim != 2 or value.shape[1] != self._text.shape[2] or not 0 < len(value) <= self._tokens:
            raise InputError(
                f"text features of {name} are {value.shape}, expected (1 to {self._tokens}, {self._text.shape[2]})"
            )
        text = np.zeros((1, *self.shape), np.float32)
        text[0, : len(value)] = value
        mask = (np.arange(self._tokens) < len(value)).astype(np.float32)[None]
        self._rows[name], self._last = len(self._text), None
        self._text, self._mask = np.concatenate([self._text, text]), np.concatenate([self._mask, mask])


def load_text_features(path: Path | str | None = None) -> TextFeatures:
    """The text features of a safetensors file; None: the shipped models/text_features.safetensors.

    Raises ModelError that names the path when the file is missing or damaged.
    """
    try:
        path = Path(path) if path else share_path("models", "text_features.safetensors")
        return TextFeatures(load_file(str(path)))
    except (OSError, SafetensorError, InputError) as error:
        raise ModelError(f"text features {path}: {error}; copy the file again or run `mkpose export`") from error
    except MkposeError as error:
        raise ModelError(f"text features: {error}") from error
