"""How steady poses are over a recording with known truth: identity, error, jitter, recovery after an occlusion.

Every figure is over object-frames: one object seen in one frame. What a frame shows of an object is in its truth; a
pose belongs to the object that most of its mask lies on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise

import numpy as np

from mkpose_ros.geometry.symmetry import AXES, symmetric_rotation_error_rad, twist_rad
from mkpose_ros.types import FrameSample, ObjectPose, ObjectTruth

__all__ = ["Seen", "Steadiness", "follow_frame", "measure", "recoveries"]

LOST_S = 1.5  # an object out of sight for this long counts as occluded
FLIP_DEG = 60.0  # a larger turn of the error between neighbouring frames is another answer, not unrest


@dataclass(frozen=True)
class Seen:
    """One object in one frame."""

    frame: int
    truth: ObjectTruth
    pose: ObjectPose
    doubled: bool = False  # the frame has another pose of it too


@dataclass(frozen=True)
class Steadiness:
    """Of all objects of a recording. Angles in degrees, under each object's symmetry; jitter from frame to frame."""

    object_frames: int
    id_switches: int
    doubled: float  # share of object-frames with two poses or more, of which one counts
    median_rotation_deg: float
    median_translation_mm: float
    jitter_deg: float  # median turn of the error between neighbouring frames: the object's own motion is taken out
    mean_jitter_deg: float  # feels the flips, which a median does not
    jitter_mm: float  # the same of the centre
    flips: int  # turns of the error by more than FLIP_DEG between neighbouring frames
    spin_deg: float  # largest turn about a continuous axis between neighbouring frames with the same id

    def as_dict(self) -> dict[str, float]:
        return {f.name: getattr(self, f.name) for f in fields(self)} | {
            "switches_per_1000": 1e3 * self.id_switches / max(self.object_frames, 1)
        }


@dataclass
class _Sums:
    errors_deg: list[float] = field(default_factory=list)
    errors_mm: list[float] = field(default_factory=list)
    jitter_deg: list[float] = field(default_factory=list)
    jitter_mm: list[float] = field(default_factory=list)
    spins_deg: list[float] = field(default_factory=list)
    switches: int = 0


def follow_frame(history: dict[str, list[Seen]], index: int, sample: FrameSample, found: Sequence[ObjectPose]) -> None:
    """Add the next frame to a history: for each object of a recording where it was seen; without the masks.

    Where a frame has two poses of one object, that with the id the object had before, as long as there is one (as CLEAR
    MOT keeps correspondences), and else the most certain.
    """
    truths = {truth.instance_id: truth for truth in sample.objects}
    candidates: dict[int, list[ObjectPose]] = {}
    for pose in sorted(found, key=lambda p: -p.score):
        counts = np.bincount(np.maximum(sample.instance_ids[pose.mask], 0))
        owner = int(np.argmax(counts)) if counts.size else 0
        if owner in truths and counts[owner] > 0.5 * counts.sum():
            candidates.setdefault(owner, []).append(replace(pose, mask=None))
    for owner, several in candidates.items():
        seen = history.setdefault(f"{truths[owner].model}/{owner}", [])
        same = [pose for pose in several if seen and pose.track_id == seen[-1].pose.track_id]
        seen.append(Seen(index, truths[owner], (same or several)[0], len(several) > 1))


def measure(history: dict[str, list[Seen]], only: set[tuple[str, int]] | None = None) -> Steadiness:
    """Figures of a history; `only` limits them to some (object, frame), so that two histories compare."""
    sums, count, doubled = _Sums(), 0, 0
    for name, every in history.items():
        seen = [s for s in every if only is None or (name, s.frame) in only]
        count += len(seen)
        doubled += sum(s.doubled for s in seen)
        for s in seen:
            R_pose, R_truth = s.pose.T_cam_obj[:3, :3], s.truth.T_cam_obj[:3, :3]
            sums.errors_deg.append(np.degrees(symmetric_rotation_error_rad(R_pose, R_truth, s.truth.symmetry)))
            sums.errors_mm.append(1e3 * np.linalg.norm(s.pose.T_cam_obj[:3, 3] - s.truth.T_cam_obj[:3, 3]))
        for a, b in pairwise(seen):
            sums.switches += a.pose.track_id != b.pose.track_id
            if b.frame == a.frame + 1:
                _add_step(sums, a, b)
    jitter = np.array(sums.jitter_deg)
    return Steadiness(
        object_frames=count,
        id_switches=sums.switches,
        doubled=doubled / max(count, 1),
        median_rotation_deg=_median(sums.errors_deg),
        median_translation_mm=_median(sums.errors_mm),
        jitter_deg=_median(sums.jitter_deg),
        mean_jitter_deg=float(jitter.mean()) if jitter.size else float("nan"),
        jitter_mm=_median(sums.jitter_mm),
        flips=int(np.count_nonzero(jitter > FLIP_DEG)),
        spin_deg=max(sums.spins_deg, default=float("nan")),
    )


def recoveries(stamps_ns: Sequence[int], raw: dict[str, list[Seen]], tracked: dict[str, list[Seen]]) -> list[int]:
    """For each time that an object came back after LOST_S the frames until it was published with its old id.

    Counted from the first frame in which it was detected again, which is 1; 0 stands for never.
    """
    result = []
    for name, seen in raw.items():
        ids = {s.frame: s.pose.track_id for s in tracked.get(name, [])}
        for a, b in pairwise(seen):
            if (stamps_ns[b.frame] - stamps_ns[a.frame]) * 1e-9 < LOST_S:
                continue
            before = [track_id for frame, track_id in ids.items() if frame <= a.frame]
            if before:  # it was followed
                after = [s.frame for s in seen if s.frame >= b.frame]
                again = (n for n, frame in enumerate(after, 1) if ids.get(frame) == before[-1])
                result.append(next(again, 0))
    return result


def _add_step(sums: _Sums, a: Seen, b: Seen) -> None:
    """The turn and shift of the error from one frame to the next, in the object's own axes."""
    E_a, E_b = (s.truth.T_cam_obj[:3, :3].T @ s.pose.T_cam_obj[:3, :3] for s in (a, b))
    shift_a, shift_b = (
        s.truth.T_cam_obj[:3, :3].T @ (s.pose.T_cam_obj[:3, 3] - s.truth.T_cam_obj[:3, 3]) for s in (a, b)
    )
    turn_deg = np.degrees(symmetric_rotation_error_rad(E_a, E_b, a.truth.symmetry))
    sums.jitter_deg.append(turn_deg)
    sums.jitter_mm.append(1e3 * np.linalg.norm(shift_b - shift_a))
    # A flip has no turn about its own axis; another id is another track, counted as a switch.
    if turn_deg < FLIP_DEG and a.pose.track_id == b.pose.track_id:
        known = (set(s.infinite_axes) for s in (a.truth.symmetry, b.truth.symmetry, a.pose.symmetry, b.pose.symmetry))
        for axis in set.intersection(*known):
            sums.spins_deg.append(float(np.degrees(abs(twist_rad(E_a.T @ E_b, AXES[axis])))))


def _median(values: list[float]) -> float:
    return float(np.median(values)) if values else float("nan")
