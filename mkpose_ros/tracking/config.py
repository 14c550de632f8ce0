"""The tracker's settings, with units."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TrackerConfig"]


@dataclass(frozen=True, kw_only=True)
class TrackerConfig:
    """How tracks are born, associated, filtered and dropped; the defaults suit a table-top at 5 to 30 Hz."""

    gate_distance: float = 1.0  # association: centre distance over the object's largest extent, at most
    # A segmenter takes a bottle for a can now and then. A detection of another category joins a track when its mask
    # covers the track's last one this much (IoU), or, after a pause, when it stands this near (in largest extents).
    other_category_iou: float = 0.4
    other_category_distance: float = 0.3
    category_memory: float = 0.95  # what a frame's evidence for a category is worth one detection later
    category_lead: float = 1.5  # evidence for another category over that for the believed one, before it is believed
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
    tail_freedom: float = 4.0  # of Student's t: errors have heavier tails than a Gaussian, far ones count less

    # A centre whose squared Mahalanobis distance is above the gate `reset_after` times in a row resets the track to
    # what is seen. 16.27 is the 99.9 % point of chi-squared with 3 degrees of freedom, for centre and turn alike.
    innovation_gate: float = 16.27
    reset_after: int = 3

    # Orientations that contradict the track's (a bottle seen upside down) are other hypotheses: each frame votes for
    # one, votes fade, and the one with most votes is published.
    vote_memory_s: float = 0.5
    hypothesis_radius_rad: float = 0.6  # orientations this near are one hypothesis; farther ones never averaged
