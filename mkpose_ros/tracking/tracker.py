"""The tracker: detections of one frame in, the same detections with identity and steady poses out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mkpose_ros.geometry.camera import project
from mkpose_ros.geometry.rotations import invert_pose
from mkpose_ros.tracking.association import Matches, box_iou, match
from mkpose_ros.tracking.config import TrackerConfig
from mkpose_ros.tracking.filter import FilterBank, turn_covariances
from mkpose_ros.tracking.motion import follow_camera
from mkpose_ros.tracking.track import Measured, Track
from mkpose_ros.types import ObjectPose, RgbdFrame

__all__ = ["Tracker"]


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
        self._tracks: list[Track] = []
        self._filters = FilterBank(self._config)  # row i is that of track i
        self._beside = np.zeros((0, 0), int)  # (T, T) in how many frames two tracks were seen both
        self._stamp_ns: int | None = None
        self._T_world_cam: np.ndarray | None = None  # at the last frame

    @property
    def tracks(self) -> dict[str, ObjectPose]:
        """The confirmed tracks, also those out of sight, as last measured."""
        return {track.track_id: track.last for track in self._tracks if track.confirmed}

    def expected(self, frame: RgbdFrame) -> dict[str, np.ndarray]:
        """For each category where its objects should be, hidden or not: (N, 2) pixels inside the picture.

        Only of what was seen in `known_hits` frames. By the frame's T_world_cam if the last one had one too, else where
        they were.
        """
        known = [i for i, t in enumerate(self._tracks) if t.confirmed and t.hits >= self._config.known_hits]
        if not known:
            return {}
        moved = self._T_world_cam is not None and frame.T_world_cam is not None
        now = frame.T_world_cam if moved else self._T_world_cam
        T_cam_ref = np.eye(4) if now is None else invert_pose(now)
        pixels = project(self._centres_m(T_cam_ref, np.array(known)), frame.intrinsics)
        inside = ((pixels >= 0.0) & (pixels < (frame.intrinsics.width, frame.intrinsics.height))).all(axis=1)
        categories = np.array([self._tracks[i].category for i in known])
        return {str(name): pixels[inside & (categories == name)] for name in np.unique(categories[inside])}

    def update(self, frame: RgbdFrame, objects: Sequence[ObjectPose]) -> list[ObjectPose]:
        """The confirmed objects seen in this frame, with track_id, filtered pose, size and covariance.

        objects: the frame's estimates in the camera frame. Where frame.T_world_cam is given, objects are filtered in
        the world; it may come and go. A stamp that goes backwards resets the tracks.
        """
        if self._stamp_ns is not None and frame.stamp_ns < self._stamp_ns:
            self.reset()
        unknown = frame.T_world_cam is None and self._T_world_cam is None
        before, before_ns = self._filters.poses, self._stamp_ns
        dt_s = self._predict(frame)
        T_ref_cam = np.eye(4) if frame.T_world_cam is None else frame.T_world_cam
        T_cam_ref = invert_pose(T_ref_cam)
        centres_m = self._centres_m(T_cam_ref)
        pixels = project(centres_m, frame.intrinsics)
        if not objects:
            self._miss(np.zeros(0, int), centres_m[:, 2], pixels, frame, dt_s)
            self._bury(frame.stamp_ns)
            return []
        measured = Measured.of(objects, T_ref_cam, frame)
        matches = match(self._tracks, self._filters, self._beside, measured, pixels, frame.stamp_ns, self._config)
        self._miss(matches.rows, centres_m[:, 2], pixels, frame, dt_s)
        self._absorb(measured, matches, frame.stamp_ns)
        if unknown and dt_s > 0.0:
            follow_camera(self._tracks, self._filters, before, matches.rows, (before_ns, frame.stamp_ns))
        rows = self._add(measured, matches)
        for i in np.flatnonzero(rows >= 0):
            self._see(int(rows[i]), measured, int(i), frame.stamp_ns, part=bool(matches.part[i]))
        seen = rows[rows >= 0]
        for row, pixel in zip(seen, project(self._centres_m(T_cam_ref, seen), frame.intrinsics), strict=True):
            if self._tracks[row].whole_ns == frame.stamp_ns:
                self._tracks[row].pixel = pixel
        self._beside[np.ix_(seen, seen)] += 1
        published = self._publish(seen, T_cam_ref)
        self._bury(frame.stamp_ns)
        return published

    def _centres_m(self, T_cam_ref: np.ndarray, rows: np.ndarray | slice = np.s_[:]) -> np.ndarray:
        """Where the tracks of some rows are in the camera frame, (N, 3)."""
        return self._filters.centres_m[rows] @ T_cam_ref[:3, :3].T + T_cam_ref[:3, 3]

    def _predict(self, frame: RgbdFrame) -> float:
        """Move the filters on to a frame; the seconds since the last one."""
        known, T_world_cam, dt_s = self._T_world_cam, frame.T_world_cam, 0.0
        if self._stamp_ns is not None:
            dt_s = (frame.stamp_ns - self._stamp_ns) * 1e-9
            self._filters.predict(dt_s, at_rest=known is not None)
            if known is None and T_world_cam is not None:
                self._filters.change_reference(T_world_cam)
            elif known is not None and T_world_cam is None:
                self._filters.change_reference(invert_pose(known))
        self._stamp_ns, self._T_world_cam = frame.stamp_ns, T_world_cam
        return dt_s

    def _miss(self, rows: np.ndarray, depths_m: np.ndarray, pixels: np.ndarray, frame: RgbdFrame, dt_s: float) -> None:
        """Count how long those tracks were absent that are in none of the rows: nothing nearer hides their place."""
        height, width = frame.depth_m.shape
        for row in set(range(len(self._tracks))).difference(rows.tolist()):
            u, v = pixels[row]
            if -0.5 <= u < width - 0.5 and -0.5 <= v < height - 0.5:  # not for the NaN of what is behind the camera
                front_m = depths_m[row] - self._tracks[row].last.size_m.max() / 2
                self._tracks[row].absent_s += dt_s * bool(frame.depth_m[round(v), round(u)] > front_m)

    def _absorb(self, measured: Measured, matches: Matches, stamp_ns: int) -> None:
        """Let the filters take in what is to be believed of the tracks' detections."""
        config, rows = self._config, matches.rows
        visible = np.ones(len(rows))
        for i in np.flatnonzero(rows >= 0):
            visible[i] = self._tracks[rows[i]].visible(measured.areas_m2[i], stamp_ns, config.area_memory_s)
        # A mask that is still in place while the depth is not shows what hides the object, unless all of it shows.
        used = (rows >= 0) & (visible >= np.where(matches.far, config.full_visible, config.least_visible))
        if used.any():
            of = zip(rows[used], np.flatnonzero(used), strict=True)
            symmetries = tuple(self._tracks[row].symmetry_of(measured.objects[i]) for row, i in of)
            doubt = np.maximum(config.full_visible / visible[used], 1.0)[:, None, None] ** 4
            covariances = measured.covariances[used] * doubt
            self._filters.update(rows[used], measured.poses[used], covariances, measured.sizes_m[used], symmetries)

    def _add(self, measured: Measured, matches: Matches) -> np.ndarray:
        """Filters for new objects; the rows (D,) of all detections, -1 for those that are no track's and no object."""
        rows, new = matches.rows.copy(), self._births(measured, matches)
        count = int(np.count_nonzero(new))
        if count:
            rows[new] = len(self._tracks) + np.arange(count)
            self._filters.add(measured.poses[new], measured.covariances[new], measured.sizes_m[new])
            self._beside = np.pad(self._beside, (0, count))
        return rows

    def _births(self, measured: Measured, matches: Matches) -> np.ndarray:
        """Which detections (D,) bool are new objects: no track's, and not where one is already."""
        new = matches.rows < 0
        if not new.any():
            return new
        known, own = np.array([track.confirmed for track in self._tracks], bool), np.flatnonzero(new)
        new[own] = ~matches.taken[known][:, own].any(axis=0)
        poses, sizes_m = measured.poses[own], measured.sizes_m[own]
        twice = np.triu(box_iou(poses, sizes_m, poses, sizes_m) >= self._config.same_place_iou, 1)
        new[own[twice.any(axis=0)]] = False  # the better one comes first
        return new

    def _see(self, row: int, measured: Measured, i: int, stamp_ns: int, *, part: bool) -> None:
        """Remember detection i of a track, or of a new one where the row is the next; of a part not the mask."""
        config, detection = self._config, measured.objects[i]
        if row == len(self._tracks):
            sure = detection.score >= config.sure_score
            self._tracks.append(Track(detection, stamp_ns, sure, detection.category, detection.symmetry))
        track = self._tracks[row]
        track.see(detection, stamp_ns, config)
        track.area_m2 = max(track.area_m2, measured.areas_m2[i])
        if not part:
            track.shape, track.whole_ns = measured.shapes[i], stamp_ns
        if track.confirmed and not track.track_id:
            self._counts[track.category] += 1
            track.track_id = f"{track.category}_{self._counts[track.category]}"

    def _bury(self, stamp_ns: int) -> None:
        """Drop the tracks that were out of sight for too long, and those in whose place a better one is seen."""
        config, filters = self._config, self._filters
        alive = np.array([not track.is_over(stamp_ns, config) for track in self._tracks], bool)
        seen = np.array([track.last_seen_ns == stamp_ns for track in self._tracks], bool)
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
