"""Figures that papers print, to stand beside ours: always theirs, on their data and with their masks."""

from __future__ import annotations

__all__ = ["PUBLISHED", "PUBLISHED_ABLATION", "PUBLISHED_NOTE"]

PUBLISHED_NOTE = (
    "Rows in italics are published figures: their networks, their test images (REAL275 or CAMERA25), their Mask R-CNN "
    "masks, and the published IoU (mode nocs). They are no comparison on equal data."
)

METRICS = ("iou50", "iou75", "5d2cm", "10d2cm", "10d5cm")
_TABLES = {  # (method, data) -> METRICS in percent; MK-Pose's Tables I and II
    ("MK-Pose (paper)", "REAL275"): (84.0, 80.3, 60.8, 78.0, 84.6),
    ("AG-Pose (in that paper)", "REAL275"): (83.7, 79.5, 54.7, 74.7, 83.1),
    ("NOCS (in that paper)", "REAL275"): (78.0, 30.1, 7.2, 13.8, 25.2),
    ("MK-Pose (paper)", "CAMERA25"): (94.1, 92.2, 77.9, 86.1, 91.7),
}
PUBLISHED = {source: dict(zip(METRICS, figures, strict=True)) for source, figures in _TABLES.items()}
PUBLISHED_ABLATION = {  # MK-Pose's Table III on REAL275: 5d2cm, 10d2cm, 10d5cm
    "w/o text": (53.3, 72.4, 83.2),
    "w/o sym": (58.4, 72.9, 82.0),
    "w/o feature fusion": (54.1, 73.4, 83.7),
    "w/o reconstructor": (55.2, 72.8, 81.8),
    "w/o global": (57.8, 74.8, 82.6),
    "full": (60.8, 78.0, 84.6),
}
