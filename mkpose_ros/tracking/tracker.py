"""The tracker: detections of one frame in, the same detections with identity and steady poses out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mkpose_ros.geometry.camera import project
from mkpose_ros.geometry.rotations import invert_pose
from mkpose_ros.tracking.association import Silhouette, associate, box_iou, mask_iou
from mkpose_ros.tracking.config import TrackerConfig
from mkpose_ros.tracking.filter import FilterBank, turn_covariances
from mkpose_ros.types import ObjectPose, RgbdFrame, Symmetry

__all__ = ["Tracker"]

# Of a pair, beside a distance of up to 1 and a missing overlap of up to 1:
_OTHER_CATEGORY_COST = 0.5
_YOUNG_COST = 0.5  # with a track seen once, less the oftener it was: of two at one place the older one goes on
_NO_OVERLAP_COST = 0.5  # instead, of a track whose mask is old
_ALONE_COST = 2.0  # of a track and a detection that find nothing; a pair that costs more is none
_FRESH_NS = 1_000_000_000  # a mask is compared with the next one for this long; then the camera may have moved on


@dataclass(frozen=True)
class _Measured:
    """The detections of one frame, in the reference frame."""

    objects: Sequence[ObjectPose]
    poses: np.ndarray  # (D, 4, 4)
    covariances: np.ndarray  # (D, 6, 6)
    sizes_m: np.ndarray  # (D, 3)
    shapes: list[Silhouette]
    areas_m2: np.ndarray  # (D,) a quarter of what shows of each object, at its distance


@dataclass
class _Track:
    """What is remembered of one object beside its filter."""

    last: ObjectPose  # the latest detection, as measured
    last_seen_ns: int
    confirmed: bool
    category: str  # believed
    symmetry: Symmetry  # of the last detection of that category
    shape: Silhouette | None = None  # the last mask
    pixel: np.ndarray | None = None  # (2,) where its centre then was in the picture
    area_m2: float = 0.0  # of what has been seen of it, as `_Measured`; 0 while nothing is known
    track_id: str = ""
    hits: int = 0
    evidence: dict[str, float] = field(default_factory=dict)  # score, summed up and fading, by category

    def see(self, detection: ObjectPose, stamp_ns: int, config: TrackerConfig) -> None:
        """Remember a detection and count it for its category; the believed one changes when another leads clearly."""
        self.last, self.last_seen_ns = detection, stamp_ns
        self.hits += 1
        for category in self.evidence:
            self.evidence[category] *= config.category_memory
        self.evidence[detection.category] = self.evidence.get(detection.category, 0.0) + detection.score
        best = max(self.evidence, key=self.evidence.__getitem__)
        if self.evidence[best] > config.category_lead * self.evidence[self.category]:
            self.category = best
        if detection.category == self.category:
            self.symmetry = detection.symmetry


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
        self._beside = np.zeros((0, 0), int)  # (T, T) in how many frames two tracks were seen both
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
        measured = self._measure(objects, T_ref_cam, frame)
        rows = self._associate(measured, frame)
        self._absorb(measured, rows, frame.stamp_ns)
        new = self._births(measured, rows)
        if new.any():
            rows[new] = len(self._tracks) + np.arange(np.count_nonzero(new))
            self._filters.add(measured.poses[new], measured.covariances[new], measured.sizes_m[new])
            self._beside = np.pad(self._beside, (0, np.count_nonzero(new)))
        seen = np.flatnonzero(rows >= 0)
        for i in seen:
            self._see(int(rows[i]), measured, int(i), frame.stamp_ns)
        pixels = self._pixels(frame)
        for row in rows[seen]:
            self._tracks[row].pixel = pixels[row]
        self._beside[np.ix_(rows[seen], rows[seen])] += 1
        published = self._publish(rows[seen], invert_pose(T_ref_cam))
        self._bury(frame.stamp_ns)
        return published

    def _measure(self, objects: Sequence[ObjectPose], T_ref_cam: np.ndarray, frame: RgbdFrame) -> _Measured:
        shapes = [Silhouette(o) for o in objects]
        depths_m = np.array([o.T_cam_obj[2, 3] for o in objects])
        return _Measured(
            objects,
            T_ref_cam @ np.stack([o.T_cam_obj for o in objects]),
            turn_covariances(T_ref_cam[:3, :3], np.stack([o.covariance for o in objects])),
            np.stack([o.size_m for o in objects]),
            shapes,
            np.array([s.area for s in shapes]) * (depths_m / frame.intrinsics.fx) ** 2,
        )

    def _predict(self, frame: RgbdFrame) -> None:
        known, T_world_cam = self._T_world_cam, frame.T_world_cam
        if self._stamp_ns is not None:
            self._filters.predict((frame.stamp_ns - self._stamp_ns) * 1e-9, at_rest=known is not None)
            if known is None and T_world_cam is not None:
                self._filters.change_reference(T_world_cam)
            elif known is not None and T_world_cam is None:
                self._filters.change_reference(invert_pose(known))
        self._stamp_ns, self._T_world_cam = frame.stamp_ns, T_world_cam

    def _associate(self, measured: _Measured, frame: RgbdFrame) -> np.ndarray:
        """The track (D,) of each detection, -1 for none."""
        rows = np.full(len(measured.objects), -1)
        if not self._tracks:
            return rows
        config, filters = self._config, self._filters
        fresh = np.array([[frame.stamp_ns - track.last_seen_ns <= _FRESH_NS] for track in self._tracks])
        distances = self._distances(measured)
        near = distances <= np.where(fresh, config.gate_distance, config.return_gate_distance)
        same = np.array([[o.category in track.evidence for o in measured.objects] for track in self._tracks])
        overlaps = mask_iou(self._shapes(frame), measured.shapes, np.broadcast_to(fresh, near.shape))
        poses, sizes_m = filters.poses, filters.sizes_m
        places = box_iou(poses, sizes_m, measured.poses, measured.sizes_m)
        alike = (overlaps >= config.same_mask_iou) | (places >= config.same_place_iou)
        possible = (near & same) | alike
        apart = np.where(fresh, 1.0 - overlaps, _NO_OVERLAP_COST)
        costs = np.minimum(distances, 1.0) + apart + _OTHER_CATEGORY_COST * ~same
        if (possible.sum(axis=0) > 1).any() or (costs[possible] > _ALONE_COST - _YOUNG_COST).any():
            costs += _YOUNG_COST * self._young(poses, sizes_m)[:, None]
        for track, detection in associate(costs, possible, _ALONE_COST):
            rows[detection] = track
        return rows

    def _young(self, poses: np.ndarray, sizes_m: np.ndarray) -> np.ndarray:
        """Which tracks (T,) bool stand where another one stands that has been seen oftener."""
        hits = np.array([track.hits for track in self._tracks])
        young = (box_iou(poses, sizes_m, poses, sizes_m) >= self._config.same_place_iou) & (hits > hits[:, None])
        return (young & (self._beside < self._config.side_by_side)).any(axis=1)

    def _shapes(self, frame: RgbdFrame) -> list[Silhouette]:
        """The tracks' last masks, moved in the picture as their centres have moved since."""
        shifts_px = np.nan_to_num(self._pixels(frame) - [track.pixel for track in self._tracks])
        return [t.shape.moved(*shift) for t, shift in zip(self._tracks, shifts_px.tolist(), strict=True)]

    def _pixels(self, frame: RgbdFrame) -> np.ndarray:
        """Where the tracks' centres are in the picture (T, 2), NaN behind the camera."""
        centres_m = self._filters.centres_m
        if frame.T_world_cam is not None:
            T_cam_world = invert_pose(frame.T_world_cam)
            centres_m = centres_m @ T_cam_world[:3, :3].T + T_cam_world[:3, 3]
        return project(centres_m, frame.intrinsics)

    def _distances(self, measured: _Measured) -> np.ndarray:
        """Between centres (T, D), in the tracks' largest extents."""
        extents_m = self._filters.sizes_m.max(axis=1, keepdims=True)
        return np.linalg.norm(self._filters.centres_m[:, None] - measured.poses[:, :3, 3], axis=-1) / extents_m

    def _absorb(self, measured: _Measured, rows: np.ndarray, stamp_ns: int) -> None:
        """Let the filters take in what is to be believed of the tracks' detections."""
        config = self._config
        visible = self._visible(rows, measured.areas_m2, stamp_ns)
        far = np.zeros(len(rows), bool)
        far[rows >= 0] = self._distances(measured)[rows[rows >= 0], np.flatnonzero(rows >= 0)] > config.gate_distance
        # A mask that is still in place while the depth is not shows what hides the object, unless all of it shows.
        used = (rows >= 0) & (visible >= np.where(far, config.full_visible, config.least_visible))
        if used.any():
            symmetries = tuple(self._symmetry(int(rows[i]), measured.objects[i]) for i in np.flatnonzero(used))
            doubt = np.maximum(config.full_visible / visible[used], 1.0)[:, None, None] ** 4
            covariances = measured.covariances[used] * doubt
            self._filters.update(rows[used], measured.poses[used], covariances, measured.sizes_m[used], symmetries)

    def _symmetry(self, row: int, detection: ObjectPose) -> Symmetry:
        """Under which a detection is turned to its track: what is a bottle for now doesn't turn by a box's corners."""
        track = self._tracks[row]
        if detection.category == track.category:
            return detection.symmetry
        axes = {*track.symmetry.infinite_axes, *detection.symmetry.infinite_axes}
        return Symmetry(tuple(sorted(axes)), detection.symmetry.orders)

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

    def _births(self, measured: _Measured, rows: np.ndarray) -> np.ndarray:
        """Which detections (D,) bool are new objects: no track's, and not where another one stands already."""
        new = rows < 0
        if not new.any():
            return new
        filters, own = self._filters, np.flatnonzero(new)
        poses, sizes_m = measured.poses[own], measured.sizes_m[own]
        known = np.array([track.confirmed for track in self._tracks], bool)
        taken = box_iou(filters.poses[known], filters.sizes_m[known], poses, sizes_m) >= self._config.same_place_iou
        new[own[taken.any(axis=0)]] = False
        twice = np.triu(box_iou(poses, sizes_m, poses, sizes_m) >= self._config.same_place_iou, 1)
        new[own[twice.any(axis=0)]] = False  # the better one comes first
        return new

    def _see(self, row: int, measured: _Measured, i: int, stamp_ns: int) -> None:
        """Remember detection i of a track, or of a new one where the row is the next."""
        config, detection = self._config, measured.objects[i]
        if row == len(self._tracks):
            sure = detection.score >= config.sure_score or config.min_hits <= 1
            self._tracks.append(_Track(detection, stamp_ns, sure, detection.category, detection.symmetry))
        track = self._tracks[row]
        track.see(detection, stamp_ns, config)
        track.shape, track.area_m2 = measured.shapes[i], max(track.area_m2, measured.areas_m2[i])
        track.confirmed = track.confirmed or track.hits >= config.min_hits
        if track.confirmed and not track.track_id:
            self._counts[track.category] += 1
            track.track_id = f"{track.category}_{self._counts[track.category]}"

    def _bury(self, stamp_ns: int) -> None:
        """Drop the tracks that were out of sight for too long, and those in whose place a better one is seen."""
        config, filters = self._config, self._filters
        limits_s = [config.max_occlusion_s if track.confirmed else config.max_tentative_s for track in self._tracks]
        unseen_s = np.array([(stamp_ns - track.last_seen_ns) * 1e-9 for track in self._tracks])
        alive, seen = unseen_s <= np.array(limits_s), unseen_s <= 0.0
        if seen.any() and not seen.all():
            poses, sizes_m = filters.poses, filters.sizes_m
            places = box_iou(poses[~seen], sizes_m[~seen], poses[seen], sizes_m[seen])
            hits = np.array([track.hits for track in self._tracks])
            same = (places >= config.same_place_iou) & (self._beside[np.ix_(~seen, seen)] < config.side_by_side)
            alive[~seen] &= ~(same & (hits[seen] > hits[~seen][:, None])).any(axis=1)
        if not alive.all():
            self._beside = self._beside[np.ix_(alive, alive)]
            self._tracks = [track for track, lives in zip(self._tracks, alive, strict=True) if lives]
            filters.keep(alive)

    def _publish(self, rows: np.ndarray, T_cam_ref: np.ndarray) -> list[ObjectPose]:
        poses = T_cam_ref @ self._filters.poses[rows]
        covariances = turn_covariances(T_cam_ref[:3, :3], self._filters.covariances[rows])
        sizes_m = self._filters.sizes_m[rows]
        return [
            replace(
                track.last,
                category=track.category,
                symmetry=track.symmetry,
                T_cam_obj=poses[i],
                size_m=sizes_m[i],
                covariance=covariances[i],
                track_id=track.track_id,
            )
            for i, track in enumerate(self._tracks[row] for row in rows)
            if track.confirmed
        ]
