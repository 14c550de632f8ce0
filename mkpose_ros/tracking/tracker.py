"""The tracker: detections of one frame in, the same detections with identity and steady poses out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mkpose_ros.geometry.rotations import invert_pose
from mkpose_ros.tracking.association import associate, mask_areas, mask_iou
from mkpose_ros.tracking.config import TrackerConfig
from mkpose_ros.tracking.filter import FilterBank, turn_covariances
from mkpose_ros.types import ObjectPose, RgbdFrame

__all__ = ["Tracker"]

# Of a pair, beside a distance of up to 1 and a missing overlap of up to 1:
_OTHER_CATEGORY_COST = 0.5
_YOUNG_COST = 0.5  # with a track seen once, less the oftener it was: of two at one place the older one goes on
_FRESH_NS = 300_000_000  # a mask is compared with the next one for this long; then the camera may have moved on


@dataclass
class _Track:
    """What is remembered of one object beside its filter."""

    last: ObjectPose  # the latest detection, as measured
    last_seen_ns: int
    confirmed: bool
    category: str  # believed
    area_px: float  # of the last mask, as `mask_areas` counts
    area_m2: float  # of what has been seen of it, at its distance; 0 while nothing is known
    track_id: str = ""
    hits: int = 1
    evidence: dict[str, float] = field(default_factory=dict)  # score, summed up and fading, by category

    def see(self, detection: ObjectPose, stamp_ns: int, config: TrackerConfig) -> None:
        """Remember a detection and count it for its category; the believed one changes when another leads clearly."""
        self.last, self.last_seen_ns = detection, stamp_ns
        for category in self.evidence:
            self.evidence[category] *= config.category_memory
        self.evidence[detection.category] = self.evidence.get(detection.category, 0.0) + detection.score
        best = max(self.evidence, key=self.evidence.__getitem__)
        if self.evidence[best] > config.category_lead * self.evidence[self.category]:
            self.category = best


class Tracker:
    """Keeps an identity, a category and a filtered pose for every object.

    `update` is called once a frame, in order of stamps; it adds no delay: what it returns belongs to the frame given.
    """

    def __init__(self, config: TrackerConfig | None = None):
        self._config = config or TrackerConfig()
        self._counts: Counter[str] = Counter()
        self.reset()

    def reset(self) -> None:
        """Forget all tracks (a bag loop, a jump of the clock). Ids go on counting, so that none is used twice."""
        self._tracks: list[_Track] = []
        self._filters = FilterBank(self._config)  # row i is that of track i
        self._stamp_ns: int | None = None
        self._T_world_cam: np.ndarray | None = None  # at the last frame

    @property
    def tracks(self) -> dict[str, ObjectPose]:
        """The confirmed tracks, also those out of sight, as last measured."""
        return {track.track_id: track.last for track in self._tracks if track.confirmed}

    def update(self, frame: RgbdFrame, objects: Sequence[ObjectPose]) -> list[ObjectPose]:
        """The confirmed objects seen in this frame, with track_id, filtered pose, size and covariance.

        objects: the frame's estimates in the camera frame. Where frame.T_world_cam is given, objects are filtered in
        the world; it may come and go. A stamp that goes backwards resets the tracks.
        """
        if self._stamp_ns is not None and frame.stamp_ns < self._stamp_ns:
            self.reset()
        self._predict(frame)
        T_ref_cam = np.eye(4) if frame.T_world_cam is None else frame.T_world_cam
        if not objects:
            self._bury(frame.stamp_ns)
            return []
        poses = T_ref_cam @ np.stack([o.T_cam_obj for o in objects])
        covariances = turn_covariances(T_ref_cam[:3, :3], np.stack([o.covariance for o in objects]))
        areas_px = mask_areas(objects)
        areas_m2 = areas_px * np.array([o.T_cam_obj[2, 3] for o in objects]) ** 2 / frame.intrinsics.fx**2
        sizes_m = np.stack([o.size_m for o in objects])
        track_of = dict.fromkeys(range(len(objects)), -1)
        track_of.update((d, t) for t, d in self._associate(objects, areas_px, poses[:, :3, 3], frame.stamp_ns))
        rows = np.array(list(track_of.values()))
        old, new = rows >= 0, rows < 0
        visible = self._visible(rows, areas_m2, frame.stamp_ns)
        used = old & (visible >= self._config.least_visible)
        if used.any():
            symmetries = tuple(o.symmetry for o, use in zip(objects, used, strict=True) if use)
            doubt = np.maximum(self._config.full_visible / visible[used], 1.0)[:, None, None] ** 4
            self._filters.update(rows[used], poses[used], covariances[used] * doubt, sizes_m[used], symmetries)
        rows[new] = len(self._tracks) + np.arange(np.count_nonzero(new))
        self._filters.add(poses[new], covariances[new], sizes_m[new])
        for i, (row, detection) in enumerate(zip(rows, objects, strict=True)):
            self._see(int(row), detection, frame.stamp_ns)
            self._tracks[row].area_px = areas_px[i]
            self._tracks[row].area_m2 = max(self._tracks[row].area_m2, areas_m2[i])
        published = self._publish(rows, invert_pose(T_ref_cam))
        self._bury(frame.stamp_ns)
        return published

    def _predict(self, frame: RgbdFrame) -> None:
        known, T_world_cam = self._T_world_cam, frame.T_world_cam
        if self._stamp_ns is not None:
            self._filters.predict((frame.stamp_ns - self._stamp_ns) * 1e-9, at_rest=known is not None)
            if known is None and T_world_cam is not None:
                self._filters.change_reference(T_world_cam)
            elif known is not None and T_world_cam is None:
                self._filters.change_reference(invert_pose(known))
        self._stamp_ns, self._T_world_cam = frame.stamp_ns, T_world_cam

    def _visible(self, rows: np.ndarray, areas_m2: np.ndarray, stamp_ns: int) -> np.ndarray:
        """The share (D,) of each detection's object that shows, judged by what showed before; 1 for new ones."""
        visible = np.ones(len(rows))
        for i, row in enumerate(rows):
            if row >= 0 and self._tracks[row].area_m2 > 0.0:
                track = self._tracks[row]
                seen_s = (stamp_ns - track.last_seen_ns) * 1e-9
                track.area_m2 *= np.exp(-min(seen_s, 0.2) / self._config.area_memory_s)
                visible[i] = areas_m2[i] / track.area_m2
        return visible

    def _associate(
        self, objects: Sequence[ObjectPose], areas_px: np.ndarray, centres_m: np.ndarray, stamp_ns: int
    ) -> list[tuple[int, int]]:
        if not self._tracks:
            return []
        config = self._config
        extents_m = self._filters.sizes_m.max(axis=1, keepdims=True)
        distances = np.linalg.norm(self._filters.centres_m[:, None] - centres_m, axis=-1) / extents_m
        fresh = np.array([[stamp_ns - track.last_seen_ns <= _FRESH_NS] for track in self._tracks])
        # Whatever the overlap: masks of a nested or hidden object overlap too.
        near = distances <= np.where(fresh, config.gate_distance, config.return_gate_distance)
        same = np.array([[o.category in track.evidence for o in objects] for track in self._tracks])
        known_px = np.array([track.area_px for track in self._tracks])
        overlaps = mask_iou([track.last for track in self._tracks], known_px, objects, areas_px, near)
        alike = np.where(fresh, overlaps >= config.other_category_iou, distances <= config.other_category_distance)
        young = np.array([[1.0 / track.hits] for track in self._tracks])
        costs = distances + (1.0 - overlaps) + _OTHER_CATEGORY_COST * ~same + _YOUNG_COST * young
        return associate(costs, near & (same | alike))

    def _see(self, row: int, detection: ObjectPose, stamp_ns: int) -> None:
        """Remember a detection of a track, or of a new one where the row is the next."""
        config = self._config
        if row == len(self._tracks):
            sure = detection.score >= config.sure_score or config.min_hits <= 1
            evidence = {detection.category: detection.score}
            self._tracks.append(_Track(detection, stamp_ns, sure, detection.category, 0.0, 0.0, evidence=evidence))
        else:
            self._tracks[row].see(detection, stamp_ns, config)
            self._tracks[row].hits += 1
        track = self._tracks[row]
        track.confirmed = track.confirmed or track.hits >= config.min_hits
        if track.confirmed and not track.track_id:
            self._counts[track.category] += 1
            track.track_id = f"{track.category}_{self._counts[track.category]}"

    def _bury(self, stamp_ns: int) -> None:
        config = self._config
        limits_s = [config.max_occlusion_s if track.confirmed else config.max_tentative_s for track in self._tracks]
        alive = np.array(
            [(stamp_ns - t.last_seen_ns) * 1e-9 <= limit for t, limit in zip(self._tracks, limits_s, strict=True)], bool
        )
        if not alive.all():
            self._tracks = [track for track, lives in zip(self._tracks, alive, strict=True) if lives]
            self._filters.keep(alive)

    def _publish(self, rows: np.ndarray, T_cam_ref: np.ndarray) -> list[ObjectPose]:
        poses = T_cam_ref @ self._filters.poses[rows]
        covariances = turn_covariances(T_cam_ref[:3, :3], self._filters.covariances[rows])
        sizes_m = self._filters.sizes_m[rows]
        return [
            replace(
                track.last,
                category=track.category,
                T_cam_obj=poses[i],
                size_m=sizes_m[i],
                covariance=covariances[i],
                track_id=track.track_id,
            )
            for i, track in enumerate(self._tracks[row] for row in rows)
            if track.confirmed
        ]
