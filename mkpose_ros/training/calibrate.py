"""Makes the predicted covariance honest: a factor per component, fitted on held-out samples.

The network gives a log variance of each error component (translation along the camera's axes, turns about the
object's axes). Its scale is off by the training loss's assumptions; here each component's factor is chosen so that
the 50 % and 90 % intervals hold as many of the held-out errors as they say, and coverage on other data is reported.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation
from scipy.stats import chi2, norm

from mkpose_ros.geometry.symmetry import align_to_reference
from mkpose_ros.types import Symmetry

__all__ = ["Calibration", "coverage", "error_components", "fit_calibration"]

COMPONENTS = ("x", "y", "z", "turn_x", "turn_y", "turn_z")


@dataclass(frozen=True)
class Calibration:
    """variance = scale * exp(log_variance), per component; NaN-free, > 0."""

    variance_scale: np.ndarray  # (6,)

    def sigma(self, log_variance: np.ndarray) -> np.ndarray:
        """Standard deviations (B, 6) in m and rad of log variances (B, 6)."""
        return np.sqrt(self.variance_scale * np.exp(log_variance))


def error_components(
    rotation: np.ndarray,
    translation_m: np.ndarray,
    true_rotation: np.ndarray,
    true_translation_m: np.ndarray,
    symmetries: list[Symmetry],
) -> np.ndarray:
    """(B, 6) signed errors: translation in the camera frame, then the rotation vector in the object frame.

    The truth is turned to the prediction where symmetry leaves it free; the component about a continuous axis carries
    no error then and is NaN.
    """
    errors = np.empty((len(rotation), 6))
    errors[:, :3] = translation_m - true_translation_m
    for i, symmetry in enumerate(symmetries):
        truth = align_to_reference(true_rotation[i].astype(float), rotation[i].astype(float), symmetry)
        errors[i, 3:] = Rotation.from_matrix(rotation[i].T @ truth).as_rotvec()
        for axis in symmetry.infinite_axes:
            errors[i, 3 + "xyz".index(axis)] = np.nan
    return errors


def fit_calibration(errors: np.ndarray, log_variance: np.ndarray) -> Calibration:
    """The scales that make |error| / sigma's 50 % and 90 % quantiles fit a normal law, in the geometric mean.

    Quantiles, not the mean square: a few mirrored poses 180 degrees off would set the scale for all others.
    A component without any error keeps scale 1.
    """
    scale = np.ones(errors.shape[1])
    for k in range(errors.shape[1]):
        z = np.abs(errors[:, k]) / np.exp(0.5 * log_variance[:, k])
        z = z[np.isfinite(z)]
        if len(z):
            ratios = [np.quantile(z, p) / norm.ppf(0.5 + p / 2) for p in (0.5, 0.9)]
            scale[k] = max(ratios[0] * ratios[1], 1e-6)  # the squared geometric mean
    return Calibration(scale)


def coverage(errors: np.ndarray, sigma: np.ndarray) -> dict[str, dict[str, float]]:
    """Percent of the errors within the 50 % and 90 % regions: of each component, of the translation and rotation
    together (ellipsoids of as many degrees of freedom as have an error), and of all components pooled."""
    z = np.abs(errors) / sigma
    result = {}
    for name, column in [*zip(COMPONENTS, z.T, strict=True), ("all", z.ravel())]:
        if np.isfinite(column).any():
            result[name] = _shares(column[np.isfinite(column)] ** 2, 1)
    for name, part in (("translation", z[:, :3]), ("rotation", z[:, 3:])):
        result[name] = _shares(np.nansum(part**2, axis=1), np.isfinite(part).sum(axis=1))
    return result


def _shares(squared: np.ndarray, freedom: np.ndarray | int) -> dict[str, float]:
    return {f"{p}": 100.0 * float(np.mean(squared <= chi2.ppf(p / 100, freedom))) for p in (50, 90)}
