"""The protocol again, as plainly and slowly as it can be said: loops, dictionaries, one pair at a time."""

from __future__ import annotations

import itertools
import math

import numpy as np
from scipy.spatial import HalfspaceIntersection, QhullError
from scipy.spatial.transform import Rotation

SIGNS = list(itertools.product((-0.5, 0.5), repeat=3))


def evaluate_slowly(images, mode, categories, symmetric, handle_category):
    """{metric: {category: percent}} of [(predictions, truths), ...], for distinct scores."""
    result = {}
    for percent in (25, 50, 75):
        result[f"iou{percent}"] = {
            c: iou_ap(images, mode, c, percent / 100.0, symmetric, handle_category) for c in categories
        }
    for degrees, cm in ((5, 2), (5, 5), (10, 2), (10, 5)):
        result[f"{degrees}d{cm}cm"] = {
            c: pose_ap(images, mode, c, degrees, cm, symmetric, handle_category) for c in categories
        }
    return result


def is_free(truth, symmetric, handle_category):
    return truth.category in symmetric or (truth.category == handle_category and not truth.handle_visible)


def match(predictions, truths, overlap, threshold):
    """[(prediction, truth or None)] by descending score; each takes the free truth of highest overlap above."""
    free = list(truths)
    pairs = []
    for p in sorted(predictions, key=lambda p: -p.score):
        best = max(free, key=lambda t: overlap(p, t), default=None)
        if best is not None and np.float32(overlap(p, best)) > np.float32(threshold):
            free = [t for t in free if t is not best]
            pairs.append((p, best))
        else:
            pairs.append((p, None))
    return pairs


def iou_ap(images, mode, category, threshold, symmetric, handle_category):
    outcomes, total = [], 0
    for predictions, truths in images:
        mine = [t for t in truths if t.category == category]
        total += len(mine)
        pairs = match(
            [p for p in predictions if p.category == category],
            mine,
            overlap_of(mode, symmetric, handle_category),
            threshold,
        )
        outcomes += [(p.score, t is not None) for p, t in pairs]
    return area(outcomes, total)


def pose_ap(images, mode, category, max_degrees, max_cm, symmetric, handle_category):
    outcomes, total = [], 0
    for predictions, truths in images:
        mine = [t for t in truths if t.category == category]
        pairs = match(
            [p for p in predictions if p.category == category], mine, overlap_of(mode, symmetric, handle_category), 0.1
        )
        kept = [p for p, t in pairs if t is not None]
        free = [t for _, t in pairs if t is not None]
        total += len(free)
        for p in kept:
            near = []
            for t in free:
                degrees = angle_degrees(p, t, is_free(t, symmetric, handle_category))
                cm = 100.0 * np.linalg.norm(p.T_cam_obj[:3, 3] - t.T_cam_obj[:3, 3])
                if degrees <= max_degrees and cm <= max_cm:
                    near.append((degrees + cm, id(t)))
            if near:
                free = [t for t in free if id(t) != min(near)[1]]
            outcomes.append((p.score, bool(near)))
    return area(outcomes, total)


def area(outcomes, total):
    """The area under the precision envelope over recall, in percent."""
    if total == 0:
        return 0.0
    found, points = 0, []
    for rank, (_, hit) in enumerate(sorted(outcomes, key=lambda o: -o[0]), start=1):
        found += hit
        points.append((found / total, found / rank))
    result, last = 0.0, 0.0
    for i, (recall, _) in enumerate(points):
        if recall > last:
            result += (recall - last) * max(precision for _, precision in points[i:])
            last = recall
    return 100.0 * result


def angle_degrees(p, t, free):
    if free:
        cosine = float(p.T_cam_obj[:3, 1] @ t.T_cam_obj[:3, 1])
        return math.degrees(math.acos(max(-1.0, min(1.0, cosine))))
    return math.degrees(Rotation.from_matrix(p.T_cam_obj[:3, :3].T @ t.T_cam_obj[:3, :3]).magnitude())


def overlap_of(mode, symmetric, handle_category):
    box_iou = {"nocs": nocs_iou, "corners": corners_iou, "exact": halfspace_iou}[mode]

    def overlap(p, t):
        key = (id(p), id(t), mode)
        if key not in _CACHE:
            turns = range(20) if is_free(t, symmetric, handle_category) else (0,)
            T_start = p.T_cam_obj if mode != "exact" or len(turns) == 1 else _nearest_turn(p, t)
            values = []
            for turn in turns:
                T = T_start.copy()
                T[:3, :3] = T[:3, :3] @ Rotation.from_euler("y", 2.0 * math.pi * turn / 20).as_matrix()
                values.append(box_iou(T, p.size_m, t.T_cam_obj, t.size_m))
            if mode == "exact" and len(turns) > 1:
                values.append(box_iou(p.T_cam_obj, p.size_m, t.T_cam_obj, t.size_m))
            _CACHE[key] = (max(values), p, t)  # p and t stay alive, so that their ids stay theirs
        return _CACHE[key][0]

    return overlap


_CACHE = {}


def _nearest_turn(p, t):
    """The prediction turned about its own y axis until its rotation is nearest to the truth's, by trying."""
    from scipy.optimize import minimize_scalar

    def turned(angle):
        T = p.T_cam_obj.copy()
        T[:3, :3] = T[:3, :3] @ Rotation.from_euler("y", angle).as_matrix()
        return T

    def distance(angle):
        return Rotation.from_matrix(turned(angle)[:3, :3].T @ t.T_cam_obj[:3, :3]).magnitude()

    start = min(np.linspace(0.0, 2.0 * math.pi, 73), key=distance)
    best = minimize_scalar(distance, bounds=(start - 0.1, start + 0.1), method="bounded", options={"xatol": 1e-9})
    return turned(best.x)


def corners_of(T, size_m):
    return [T[:3, :3] @ (np.array(s) * size_m) + T[:3, 3] for s in SIGNS]


def interval_iou(intervals_1, intervals_2):
    """IoU of two boxes given as lists of (low, high), one for each dimension, however many."""
    shared = [min(h1, h2) - max(l1, l2) for (l1, h1), (l2, h2) in zip(intervals_1, intervals_2, strict=True)]
    intersection = 0.0 if min(shared) < 0.0 else math.prod(shared)
    volume_1, volume_2 = (math.prod(h - low for low, h in i) for i in (intervals_1, intervals_2))
    return intersection / (volume_1 + volume_2 - intersection)


def nocs_iou(T_1, size_1, T_2, size_2):
    """The fault: a dimension for each corner, spanning that corner's own three coordinates."""
    return interval_iou(*([(min(c), max(c)) for c in corners_of(T, s)] for T, s in ((T_1, size_1), (T_2, size_2))))


def corners_iou(T_1, size_1, T_2, size_2):
    boxes = []
    for T, size in ((T_1, size_1), (T_2, size_2)):
        corners = np.array(corners_of(T, size))
        boxes.append(list(zip(corners.min(axis=0), corners.max(axis=0), strict=True)))
    return interval_iou(*boxes)


def halfspace_iou(T_1, size_1, T_2, size_2):
    """Oriented IoU by vertex enumeration of twelve half-spaces around an interior point found by linear programming."""
    halfspaces = np.vstack([_halfspaces(T_1, size_1), _halfspaces(T_2, size_2)])
    inside = _interior_point(halfspaces)
    if inside is None:
        return 0.0
    from scipy.spatial import ConvexHull

    try:
        intersection = ConvexHull(HalfspaceIntersection(halfspaces, inside).intersections, qhull_options="QJ").volume
    except QhullError:
        return 0.0
    return intersection / (np.prod(size_1) + np.prod(size_2) - intersection)


def _halfspaces(T, size_m):
    rows = []
    for axis in range(3):
        for sign in (1.0, -1.0):
            normal = sign * T[:3, axis]
            rows.append([*normal, -normal @ T[:3, 3] - size_m[axis] / 2.0])
    return np.array(rows)


def _interior_point(halfspaces):
    """The centre of the largest ball inside, or None."""
    from scipy.optimize import linprog

    norms = np.linalg.norm(halfspaces[:, :3], axis=1, keepdims=True)
    answer = linprog(
        [0, 0, 0, -1],
        A_ub=np.hstack([halfspaces[:, :3], norms]),
        b_ub=-halfspaces[:, 3],
        bounds=[(None, None)] * 3 + [(0, None)],
    )
    return answer.x[:3] if answer.success and answer.x[3] > 1e-7 else None
