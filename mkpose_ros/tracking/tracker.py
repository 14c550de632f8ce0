"""The tracker: detections of one frame in, the same detections with identity and steady poses out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mkpose_ros.geometry.rotations import invert_pose
from mkpose_ros.tracking.association import associate, mask_iou
from mkpose_ros.tracking.config import TrackerConfig
from mkpose_ros.tracking.filter import PoseFilter
from mkpose_ros.types import ObjectPose, RgbdFrame

__all__ = ["Tracker"]


@dataclass
class _Track:
    """What is remembered of one object."""

    track_id: str
    filter: PoseFilter
    last: ObjectPose  # the latest detection, as measured
    last_seen_ns: int
    hits: int = 1
    confirmed: bool = False
    outliers: int = 0  # innovations over the gate, in a row


class Tracker:
    """Keeps an identity and a filtered pose for every object.

    `update` is called once a frame, in order of stamps; it adds no delay: what it returns belongs to the frame given.
    """

    def __init__(self, config: TrackerConfig | None = None):
        self._config = config or TrackerConfig()
        self._counts: Counter[str] = Counter()
        self.reset()

    def reset(self) -> None:
        """Forget all tracks (a bag loop, a jump of the clock). Ids go on counting, so that none is used twice."""
        self._tracks: list[_Track] = []
        self._stamp_ns: int | None = None

    @property
    def tracks(self) -> dict[str, ObjectPose]:
        """The confirmed tracks, also those out of sight, as last measured."""
        return {track.track_id: track.last for track in self._tracks if track.confirmed}

    def update(self, frame: RgbdFrame, objects: Sequence[ObjectPose]) -> list[ObjectPose]:
        """The confirmed objects seen in this frame, with track_id, filtered pose, size and covariance.

        objects: the frame's estimates in the camera frame. frame.T_world_cam is given in every frame or in none: a
        change resets the tracks, and so does a stamp that goes backwards.
        """
        stamp_ns, T_world_cam = frame.stamp_ns, frame.T_world_cam
        at_rest = T_world_cam is not None
        if self._stamp_ns is not None and (stamp_ns < self._stamp_ns or at_rest != self._at_rest):
            self.reset()
        dt_s = 0.0 if self._stamp_ns is None else (stamp_ns - self._stamp_ns) * 1e-9
        self._stamp_ns, self._at_rest = stamp_ns, at_rest
        T_ref_cam = np.eye(4) if T_world_cam is None else T_world_cam
        for track in self._tracks:
            track.filter.predict(dt_s, at_rest=at_rest)

        pairs = self._associate(objects, T_ref_cam)
        taken = {detection: self._tracks[track] for track, detection in pairs}
        seen: list[_Track] = []
        for index, detection in enumerate(objects):
            if index in taken:
                self._absorb(taken[index], detection, stamp_ns, T_ref_cam)
                seen.append(taken[index])
            else:
                seen.append(self._give_birth(detection, stamp_ns, T_ref_cam))
        self._bury(stamp_ns)
        return [self._publish(track, T_ref_cam) for track in seen if track.confirmed]

    def _associate(self, objects: Sequence[ObjectPose], T_ref_cam: np.ndarray) -> list[tuple[int, int]]:
        shape = (len(self._tracks), len(objects))
        if 0 in shape:
            return []
        centres_m = np.stack([(T_ref_cam @ o.T_cam_obj)[:3, 3] for o in objects])
        predicted_m = np.stack([track.filter.T_ref_obj[:3, 3] for track in self._tracks])
        extents_m = np.array([track.filter.size_m.max() for track in self._tracks])
        distances = np.linalg.norm(predicted_m[:, None] - centres_m[None], axis=-1) / extents_m[:, None]
        overlaps = mask_iou([track.last.mask for track in self._tracks], [o.mask for o in objects])
        allowed = np.array([[track.last.category == o.category for o in objects] for track in self._tracks])
        return associate(distances, overlaps, allowed, gate_distance=self._config.gate_distance)

    def _give_birth(self, detection: ObjectPose, stamp_ns: int, T_ref_cam: np.ndarray) -> _Track:
        config = self._config
        T_ref_obj, covariance = _to_reference(detection, T_ref_cam)
        state = PoseFilter(config, T_ref_obj, covariance, detection.size_m)
        sure = detection.score >= config.sure_score or config.min_hits <= 1
        track = _Track("", state, detection, stamp_ns, confirmed=sure)
        self._name_when_confirmed(track)
        self._tracks.append(track)
        return track

    def _absorb(self, track: _Track, detection: ObjectPose, stamp_ns: int, T_ref_cam: np.ndarray) -> None:
        """Update a track with its detection; innovations over the gate are left out until they insist."""
        config = self._config
        T_ref_obj, covariance = _to_reference(detection, T_ref_cam)
        innovation = track.filter.innovation(T_ref_obj, covariance, detection.size_m, detection.symmetry)
        track.outliers = track.outliers + 1 if innovation.distance2 > config.innovation_gate else 0
        if track.outliers >= config.reset_after:
            track.filter.reset(T_ref_obj, covariance)
            track.outliers = 0
        elif track.outliers == 0:
            track.filter.update(innovation)
        track.hits += 1
        track.last, track.last_seen_ns = detection, stamp_ns
        track.confirmed = track.confirmed or track.hits >= config.min_hits
        self._name_when_confirmed(track)

    def _name_when_confirmed(self, track: _Track) -> None:
        if track.confirmed and not track.track_id:
            category = track.last.category
            self._counts[category] += 1
            track.track_id = f"{category}_{self._counts[category]}"

    def _bury(self, stamp_ns: int) -> None:
        config = self._config
        self._tracks = [
            track
            for track in self._tracks
            if (stamp_ns - track.last_seen_ns) * 1e-9
            <= (config.max_occlusion_s if track.confirmed else config.max_tentative_s)
        ]

    def _publish(self, track: _Track, T_ref_cam: np.ndarray) -> ObjectPose:
        T_cam_ref = invert_pose(T_ref_cam)
        turn = np.kron(np.eye(2), T_cam_ref[:3, :3])
        return replace(
            track.last,
            T_cam_obj=T_cam_ref @ track.filter.T_ref_obj,
            size_m=track.filter.size_m,
            covariance=turn @ track.filter.covariance @ turn.T,
            track_id=track.track_id,
        )


def _to_reference(detection: ObjectPose, T_ref_cam: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A detection's pose (4, 4) and covariance (6, 6) in the reference frame."""
    turn = np.kron(np.eye(2), T_ref_cam[:3, :3])
    return T_ref_cam @ detection.T_cam_obj, turn @ detection.covariance @ turn.T
