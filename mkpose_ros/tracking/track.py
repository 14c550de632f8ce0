"""What is remembered of an object beside its filter, and what one frame measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mkpose_ros.tracking.config import TrackerConfig
from mkpose_ros.tracking.filter import turn_covariances
from mkpose_ros.tracking.silhouette import Silhouette
from mkpose_ros.types import ObjectPose, RgbdFrame, Symmetry

__all__ = ["Measured", "Track"]


@dataclass(frozen=True)
class Measured:
    """The detections of one frame, in the reference frame."""

    objects: Sequence[ObjectPose]
    poses: np.ndarray  # (D, 4, 4)
    covariances: np.ndarray  # (D, 6, 6)
    sizes_m: np.ndarray  # (D, 3)
    shapes: list[Silhouette]
    areas_m2: np.ndarray  # (D,) a quarter of what shows of each object, at its distance

    @classmethod
    def of(cls, objects: Sequence[ObjectPose], T_ref_cam: np.ndarray, frame: RgbdFrame) -> Measured:
        shapes = [Silhouette.of(o) for o in objects]
        depths_m = np.array([o.T_cam_obj[2, 3] for o in objects])
        return cls(
            objects,
            T_ref_cam @ np.stack([o.T_cam_obj for o in objects]),
            turn_covariances(T_ref_cam[:3, :3], np.stack([o.covariance for o in objects])),
            np.stack([o.size_m for o in objects]),
            shapes,
            np.array([s.area for s in shapes]) * (depths_m / frame.intrinsics.fx) ** 2,
        )


@dataclass
class Track:
    """What is remembered of one object beside its filter."""

    last: ObjectPose  # the latest detection, as measured
    last_seen_ns: int
    confirmed: bool
    category: str  # believed
    symmetry: Symmetry  # of the last detection of that category
    shape: Silhouette | None = None  # the last mask that was not only a part of the one before
    whole_ns: int = 0  # when it was seen
    pixel: np.ndarray | None = None  # (2,) where its centre then was in the picture
    area_m2: float = 0.0  # of what has been seen of it, as `Measured`; 0 while nothing is known
    track_id: str = ""
    hits: int = 0
    absent_s: float = 0.0  # since it was last seen, how long its place was in plain view
    own_mps: np.ndarray = field(default_factory=lambda: np.full(3, 0.05))  # beside what most do; at first not trusted
    evidence: dict[str, float] = field(default_factory=dict)  # score, summed up and fading, by category

    def see(self, detection: ObjectPose, stamp_ns: int, config: TrackerConfig) -> None:
        """Remember a detection and count it for its category; the believed one changes when another leads clearly."""
        self.last, self.last_seen_ns, self.absent_s = detection, stamp_ns, 0.0
        self.hits += 1
        for category in self.evidence:
            self.evidence[category] *= config.category_memory
        self.evidence[detection.category] = self.evidence.get(detection.category, 0.0) + detection.score
        best = max(self.evidence, key=self.evidence.__getitem__)
        if self.evidence[best] > config.category_lead * self.evidence[self.category]:
            self.category = best
        if detection.category == self.category:
            self.symmetry = detection.symmetry
        self.confirmed = self.confirmed or self.hits >= config.min_hits

    def likeness(self, categories: Sequence[str]) -> list[float]:
        """The evidence for each category beside that for the best one; 0 if it was never taken for that."""
        best = max(*self.evidence.values(), 1e-9)
        return [self.evidence.get(category, 0.0) / best for category in categories]

    def symmetry_of(self, detection: ObjectPose) -> Symmetry:
        """Under which a detection is turned to it: what is a bottle for now doesn't turn by a box's corners."""
        if detection.category == self.category:
            return detection.symmetry
        axes = {*self.symmetry.infinite_axes, *detection.symmetry.infinite_axes}
        return Symmetry(tuple(sorted(axes)), detection.symmetry.orders)

    def visible(self, area_m2: float, stamp_ns: int, memory_s: float) -> float:
        """The share of it that a detection of this area shows, judged by what showed before; 1 if nothing did."""
        if self.area_m2 <= 0.0:
            return 1.0
        unseen_s = (stamp_ns - self.last_seen_ns) * 1e-9
        self.area_m2 *= float(np.exp(-min(unseen_s, 0.2) / memory_s))
        return area_m2 / self.area_m2

    def is_over(self, stamp_ns: int, config: TrackerConfig) -> bool:
        """Whether it was out of sight for too long."""
        unseen_s = (stamp_ns - self.last_seen_ns) * 1e-9
        if not self.confirmed:
            return unseen_s > config.max_tentative_s
        if self.hits < config.known_hits and unseen_s > config.max_glimpse_s:
            return True
        return unseen_s > config.max_occlusion_s or self.absent_s > config.max_absence_s
