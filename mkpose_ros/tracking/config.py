"""The tracker's settings, with units."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TrackerConfig"]


@dataclass(frozen=True, kw_only=True)
class TrackerConfig:
    """How tracks are born, associated, filtered and dropped; the defaults suit a table-top at 5 to 30 Hz."""

    # Association, in the larger one's largest extent: the distance of centres less two sigma of the track's.
    gate_distance: float = 0.75  # at most ...
    return_gate_distance: float = 1.0  # ... and of a track that was not seen in the last frames
    # A segmenter takes a bottle for a can now and then. Whatever the category, a detection is a track's object when its
    # mask covers the track's last one this much, or its box the track's in space (IoU); there no other track begins.
    same_mask_iou: float = 0.4
    same_place_iou: float = 0.15
    # A segmenter finds only a part of an object now and then. Pixels that were a track's are still: a smaller mask of
    # which this share lies in the track's last one is a part of that object, if nothing shows more of it and it is not
    # the whole of another.
    part_inside: float = 0.8
    part_memory_s: float = 1.0  # parts count as parts for this long; then the part is all there is to see
    side_by_side: int = 5  # tracks that were seen both in this many frames are two things, however near
    category_memory: float = 0.95  # what a frame's evidence for a category is worth one detection later
    category_lead: float = 1.5  # evidence for another category over that for the believed one, before it is believed
    min_hits: int = 2  # frames of evidence before a track is published, unless ...
    sure_score: float = 0.7  # ... its first detection scores at least this
    max_occlusion_s: float = 60.0  # a track that is hidden or out of view is kept this long, unpublished, ...
    max_absence_s: float = 10.0  # ... and this long while its place is in plain view
    max_tentative_s: float = 0.5  # an unconfirmed track is kept this long
    # Fragments and shadows are detected for a moment; tracks of them that lived on would take what comes back there.
    known_hits: int = 10  # a track seen in fewer frames is kept out of sight ...
    max_glimpse_s: float = 2.0  # ... this long

    # What shows of an object (mask area in square metres) is compared with what was seen of it before: half hidden, its
    # estimated centre and size are those of the visible part.
    area_memory_s: float = 10.0
    least_visible: float = 0.35  # share of the area below which a measurement is not used
    full_visible: float = 0.8  # ... and above which it counts fully; the variance grows with its inverse fourth power

    # Accelerations of the motion model, one sigma: how fast objects may start to move relative to the
    # reference frame. `static_*` serve when the camera's pose in the world is given, so that objects mostly rest.
    acceleration_mps2: float = 0.6
    turn_acceleration_radps2: float = 3.0
    static_acceleration_mps2: float = 0.05
    static_turn_acceleration_radps2: float = 0.5
    motion_s: float = 1.0  # a velocity that nothing confirms dies away in this time
    static_motion_s: float = 0.3

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
    vote_memory_s: float = 1.0
    hypothesis_radius_rad: float = 0.6  # orientations this near are one hypothesis; farther ones never averaged
