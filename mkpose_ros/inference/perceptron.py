"""A small perceptron in numpy that travels as plain values in a model's metadata."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mkpose_ros.errors import ModelError

__all__ = ["Perceptron"]


@dataclass(frozen=True)
class Perceptron:
    """Layers with ReLU between them, from features that are centred and scaled first."""

    mean: np.ndarray  # (F,)
    scale: np.ndarray  # (F,)
    weights: tuple[np.ndarray, ...]  # (inputs, outputs) of each layer
    biases: tuple[np.ndarray, ...]

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """(B, outputs) float64 of features (B, F)."""
        x = (features - self.mean) / self.scale
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = (np.maximum(x, 0.0) if i else x) @ weight + bias
        return x.astype(np.float64)

    @classmethod
    def from_metadata(cls, values: Mapping[str, Any], *, what: str, outputs: int) -> Perceptron:
        """Of `to_metadata`. Raises ModelError, which names `what` it was for, for values that are none."""
        try:
            shapes = [tuple(shape) for shape in values["shapes"]]
            flat = np.frombuffer(base64.b64decode(values["float16"]), "<f2").astype(np.float32)
            arrays = np.split(flat, np.cumsum([np.prod(shape, dtype=int) for shape in shapes])[:-1])
            mean, scale, *layers = (a.reshape(shape) for a, shape in zip(arrays, shapes, strict=True))
            weights, biases = tuple(layers[::2]), tuple(layers[1::2])
            if weights[0].shape[0] != len(mean) or len(scale) != len(mean) or weights[-1].shape[1] != outputs:
                raise ValueError(f"layers {shapes}")
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ModelError(f"model {what}: {error}; run `mkpose train --ship` again") from error
        return cls(mean, scale, weights, biases)

    def to_metadata(self) -> dict[str, Any]:
        """Plain values for `from_metadata`; numbers lose what half precision does not hold."""
        layers = [a for pair in zip(self.weights, self.biases, strict=True) for a in pair]
        arrays = [self.mean, self.scale, *layers]
        flat = np.concatenate([a.ravel() for a in arrays]).astype("<f2")
        return {"shapes": [list(a.shape) for a in arrays], "float16": base64.b64encode(flat.tobytes()).decode()}
