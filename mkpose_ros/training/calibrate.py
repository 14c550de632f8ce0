"""Makes the predicted covariance honest: fitted on held-out samples, its coverage measured on others.

The errors of a pose have longer tails than a normal law: a few objects are taken upside down or back to front. So
no covariance, read as a Gaussian, holds 50 % and 90 % of them in its regions of that name. Ours is scaled to be right
at 90 %, separately for translation and rotation (three axes together); the calibration's `tail`, the degrees of
freedom of Student's t, gives the regions of every other level (`region_radius2`).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.spatial.transform import Rotation
from scipy.stats import chi2, f

from mkpose_ros.geometry.symmetry import align_to_reference
from mkpose_ros.inference.covariance import AGREEMENT, LEAST_VARIANCE, MOST_VARIANCE, Calibration
from mkpose_ros.types import Symmetry

__all__ = ["Calibration", "coverage", "error_components", "fit_calibration", "region_radius2"]

COMPONENTS = ("x", "y", "z", "turn_x", "turn_y", "turn_z")
GROUPS = {"translation": slice(0, 3), "rotation": slice(3, 6)}
LEVEL = 0.9  # where the Gaussian reading is right
FIT_FREEDOM = 3.0  # of the t by which the shape is fitted: a normal law would follow the few upside-down poses
LEAST_TAIL, MOST_TAIL = 0.3, 200.0


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


def fit_calibration(
    errors: np.ndarray, log_variance: np.ndarray, disagreement: np.ndarray, pose_source: str = "fused"
) -> Calibration:
    """The calibration of errors (B, 6), log variances (B, 6) and disagreements (B, 2) in m and rad.

    Shape first (scale, power and the weight of the disagreement, per component, by maximum likelihood of a t), then
    one factor for translation and one for rotation that put 90 % of the errors into the 90 % ellipsoid, then the tail.
    """
    shape = [
        _fit_component(errors[:, k], log_variance[:, k], disagreement[:, k // 3] / AGREEMENT[k])
        for k in range(len(COMPONENTS))
    ]
    scale, power, weight = (np.array(column) for column in zip(*shape, strict=True))
    raw = Calibration(scale, power, weight).variance(log_variance, disagreement)
    tail = np.full(len(GROUPS), MOST_TAIL)
    for i, part in enumerate(GROUPS.values()):
        squared, freedom = _squared_distance(errors[:, part] / np.sqrt(raw[:, part]))
        if len(squared):
            in_units = squared / chi2.ppf(LEVEL, freedom)
            factor = max(float(np.quantile(in_units, LEVEL)), 1e-9)
            scale[part] *= factor
            tail[i] = _tail(float(np.quantile(in_units, 0.5)) / factor, int(np.median(freedom)))
    return Calibration(scale, power, weight, tail, pose_source)


def _fit_component(error: np.ndarray, log_variance: np.ndarray, apart: np.ndarray) -> tuple[float, float, float]:
    """(scale, power, weight of the disagreement); (1, 1, 0) without any error. Weak priors hold it at those."""
    known = np.isfinite(error)
    if not known.any():
        return 1.0, 1.0, 0.0
    error, log_variance, apart = error[known], log_variance[known], np.log1p(apart[known] ** 2)
    squared = error**2 + 1e-12
    centre = log_variance.mean()

    def cost(w: np.ndarray) -> float:
        log = w[0] + w[1] * (log_variance - centre) + w[2] * apart
        likelihood = 0.5 * log + 0.5 * (FIT_FREEDOM + 1.0) * np.log1p(squared * np.exp(-log) / FIT_FREEDOM)
        return float(likelihood.sum() + 2.0 * (w[1] - 1.0) ** 2 + 2.0 * w[2] ** 2)

    w = minimize(cost, [np.log(np.median(squared)), 1.0, 0.0], bounds=[(-40, 40), (0, 4), (0, 4)]).x
    return float(np.exp(w[0] - w[1] * centre)), float(w[1]), float(w[2])


def _squared_distance(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squared lengths of the rows of z (B, k), NaN left out, and how many entries are left; rows with none are not."""
    freedom = np.isfinite(z).sum(axis=1)
    return np.nansum(z**2, axis=1)[freedom > 0], freedom[freedom > 0]


def _tail(median: float, freedom: int) -> float:
    """Degrees of freedom of the t whose median squared distance is `median` of its 90 % quantile."""

    def excess(tail: float) -> float:
        return f.ppf(0.5, freedom, tail) / f.ppf(LEVEL, freedom, tail) - median

    if excess(LEAST_TAIL) > 0.0:
        return LEAST_TAIL
    return float(brentq(excess, LEAST_TAIL, MOST_TAIL)) if excess(MOST_TAIL) > 0.0 else MOST_TAIL


def region_radius2(level: float, freedom: np.ndarray | int, tail: float) -> np.ndarray:
    """The squared Mahalanobis distance, in units of the shipped covariance, that holds `level` of the errors.

    >>> round(float(region_radius2(0.9, 3, 2.0)), 2) == round(float(chi2.ppf(0.9, 3)), 2)  # by construction
    True
    """
    return chi2.ppf(LEVEL, freedom) * f.ppf(level, freedom, tail) / f.ppf(LEVEL, freedom, tail)


def coverage(errors: np.ndarray, variance: np.ndarray, tail: np.ndarray) -> dict[str, dict[str, float]]:
    """Percent of the errors (B, 6) within the 50 % and 90 % regions of variances (B, 6), by what they are of.

    Each component, translation and rotation (ellipsoids of as many axes as have an error), all six together; keys "50"
    and "90" read the covariance as a Gaussian, "t50" and "t90" as a t with the calibration's tail.
    """
    z = errors / np.sqrt(np.clip(variance, LEAST_VARIANCE, MOST_VARIANCE))  # as they are published
    parts = [(name, z[:, [k]], tail[k // 3]) for k, name in enumerate(COMPONENTS)]
    parts += [(name, z[:, part], tail[i]) for i, (name, part) in enumerate(GROUPS.items())]
    result = {}
    for name, part, freedom_of_t in [*parts, ("pose", z, None)]:
        squared, freedom = _squared_distance(part)
        if not len(squared):
            continue
        row = {f"{p}": 100.0 * float(np.mean(squared <= chi2.ppf(p / 100, freedom))) for p in (50, 90)}
        if freedom_of_t is not None:
            limits = {p: region_radius2(p / 100, freedom, freedom_of_t) for p in (50, 90)}
            row |= {f"t{p}": 100.0 * float(np.mean(squared <= limit)) for p, limit in limits.items()}
        result[name] = row
    return result
