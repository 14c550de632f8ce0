"""The tracker's settings, with units."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TrackerConfig"]


@dataclass(frozen=True, kw_only=True)
class TrackerConfig:
    """How tracks are born, associated, filtered and dropped; the defaults suit a table-top at 5 to 30 Hz."""

    gate_distance: float = 1.0  # association: centre distance over the object's largest extent, at most
    min_hits: int = 2  # frames of evidence before a track is published, unless ...
    sure_score: float = 0.7  # ... its first detection scores at least this
    max_occlusion_s: float = 5.0  # an unseen track is kept this long, unpublished, and may be recovered
    max_tentative_s: float = 0.5  # an unconfirmed track is kept this long

    # Accelerations of the constant-velocity model, one sigma: how fast objects may start to move relative to the
    # reference frame. `static_*` serve when the camera's pose in the world is given, so that objects mostly rest.
    acceleration_mps2: float = 0.6
    turn_acceleration_radps2: float = 1.5
    static_acceleration_mps2: float = 0.05
    static_turn_acceleration_radps2: float = 0.1

    # A network's errors persist from frame to frame; its covariance is inflated so that averaging doesn't make the
    # filter believe what one view repeats.
    correlation_factor: float = 4.0
    size_correlation_factor: float = 4.0
    min_size_sigma: float = 0.02  # relative: size keeps adapting at this certainty

    # Innovation test: a squared Mahalanobis distance above the gate for `reset_after` frames in a row resets the track
    # to what is seen. 22.46 is the 99.9 % point of chi-squared with 6 degrees of freedom.
    innovation_gate: float = 22.46
    reset_after: int = 3
