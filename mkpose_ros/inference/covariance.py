"""From the network's log variances to the covariance of a pose in camera axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mkpose_ros.errors import ModelError
from mkpose_ros.inference.fusion import POSE_SOURCES
from mkpose_ros.types import Symmetry

__all__ = ["AGREEMENT", "LEAST_VARIANCE", "MOST_VARIANCE", "UNIFORM_TURN_VARIANCE", "Calibration", "pose_covariances"]

UNIFORM_TURN_VARIANCE = np.pi**2 / 3.0  # rad^2 of an angle about which nothing is known, uniform on a full turn
LEAST_VARIANCE = np.array([1e-8] * 3 + [1e-6] * 3)  # (0.1 mm)^2 and (0.06 degrees)^2: no camera knows better
MOST_VARIANCE = np.array([1e2] * 3 + [UNIFORM_TURN_VARIANCE] * 3)  # (10 m)^2 and nothing known
AGREEMENT = np.array([0.003] * 3 + [np.radians(3.0)] * 3)  # disagreement (m, rad) from which it counts
_FIELDS = {"variance_scale": 6, "power": 6, "disagreement": 6, "tail": 2}


@dataclass(frozen=True)
class Calibration:
    """variance = scale * exp(power * log_variance) * (1 + (apart / AGREEMENT)^2)^disagreement, per component.

    The components are translation along the camera's axes and turns about the object's; ``apart`` is how far the
    network's two answers are from each other, in m and rad. The default is the network's own word.
    """

    variance_scale: np.ndarray = field(default_factory=lambda: np.ones(6))
    power: np.ndarray = field(default_factory=lambda: np.ones(6))
    disagreement: np.ndarray = field(default_factory=lambda: np.zeros(6))
    # Degrees of freedom of Student's t of the translation and the rotation errors; training/calibrate.py.
    tail: np.ndarray = field(default_factory=lambda: np.full(2, 200.0))
    pose_source: str = "head"  # whose errors these are, one of fusion.POSE_SOURCES

    @classmethod
    def from_metadata(cls, values: Mapping[str, Any]) -> Calibration:
        """Of a model's metadata; what is missing has its default. Raises ModelError for values that can't be."""
        arrays = {name: np.asarray(values[name], np.float64) for name in _FIELDS if name in values}
        source = str(values.get("pose_source", "head"))
        wrong = [name for name, value in arrays.items() if value.shape != (_FIELDS[name],)]
        if wrong or source not in POSE_SOURCES:
            raise ModelError(
                f"model calibration {dict(values)}: expected {_FIELDS} numbers and pose_source "
                f"{' or '.join(POSE_SOURCES)}; run `mkpose train --ship` again"
            )
        return cls(**arrays, pose_source=source)

    def to_metadata(self) -> dict[str, Any]:
        """Plain values for `from_metadata`."""
        return {name: getattr(self, name).tolist() for name in _FIELDS} | {"pose_source": self.pose_source}

    def variance(self, log_variance: np.ndarray, disagreement: np.ndarray) -> np.ndarray:
        """Variances (..., 6) in m^2 and rad^2 of log variances (..., 6) and disagreements (..., 2) in m and rad."""
        apart = np.log1p((np.repeat(disagreement, 3, axis=-1) / AGREEMENT) ** 2)
        exponent = self.power * np.clip(log_variance, -40.0, 40.0) + self.disagreement * apart
        return self.variance_scale * np.exp(np.clip(exponent, -80.0, 80.0))


def pose_covariances(variance: np.ndarray, rotation: np.ndarray, symmetries: Sequence[Symmetry]) -> np.ndarray:
    """The covariances (B, 6, 6) in camera axes: x, y, z in m^2, then turns about x, y, z in rad^2.

    ``variance (B, 6)``: translation along the camera's axes, then turns about the object's axes; ``rotation (B, 3, 3)``
    takes object axes to camera axes. A turn about a continuous axis of symmetry is unknown: its variance is that of an
    angle drawn from the full circle.
    """
    variance = np.clip(variance, LEAST_VARIANCE, MOST_VARIANCE)
    for row, symmetry in zip(variance, symmetries, strict=True):
        for axis in symmetry.infinite_axes:
            row[3 + "xyz".index(axis)] = UNIFORM_TURN_VARIANCE
    turns = (rotation * variance[:, None, 3:]) @ rotation.swapaxes(1, 2)
    covariance = np.zeros((len(variance), 6, 6))
    covariance[:, range(3), range(3)] = variance[:, :3]
    covariance[:, 3:, 3:] = 0.5 * (turns + turns.swapaxes(1, 2))
    return covariance
