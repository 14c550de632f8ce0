"""The vocabulary: frozen dataclasses that every room of the house speaks.

Conventions, used everywhere unless a name says otherwise:

- metres, radians, nanoseconds; arrays are numpy.
- The camera frame is the RGB optical frame: x right, y down, z forward (REP-103).
- ``T_a_b`` is a 4x4 matrix that takes coordinates in frame ``b`` to frame ``a``.
- The object frame is the NOCS one: y up, origin at the centre of the tight box, a mug's handle on +x.
- Boxes in the image are ``(x0, y0, x1, y1)`` in pixels, x1 and y1 exclusive.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class CameraIntrinsics:
    """A pinhole camera without distortion, in pixels; pixel centres lie at integer coordinates."""

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int


@dataclass(frozen=True)
class RgbdFrame:
    """One registered colour and depth pair: both images share size, pixel grid and intrinsics."""

    rgb: np.ndarray  # (H, W, 3) uint8, R G B
    depth_m: np.ndarray  # (H, W) float32 metres along z; 0 where there is no measurement
    intrinsics: CameraIntrinsics
    stamp_ns: int = 0  # the colour image's stamp
    frame_id: str = ""  # the colour optical frame
    T_world_cam: np.ndarray | None = None  # (4, 4) the camera in a frame in which objects rest, where it is known


@dataclass(frozen=True)
class Symmetry:
    """The turns that leave an object's appearance unchanged, about axes of the object frame.

    ``infinite_axes`` names continuous axes ("y" for a bottle). ``orders`` holds for x, y and z the n of
    an n-fold turn (1: none): a box is (2, 2, 2). An infinite axis makes that axis' order irrelevant.
    """

    infinite_axes: tuple[str, ...] = ()
    orders: tuple[int, int, int] = (1, 1, 1)


@dataclass(frozen=True)
class Instance:
    """One segmented object in an image."""

    mask: np.ndarray  # (H, W) bool, of the whole image
    box2d: np.ndarray  # (4,) float32 pixels: x0, y0, x1, y1
    category: str  # a lower-case name such as "mug"
    score: float  # in [0, 1]


@dataclass(frozen=True)
class ObjectPose:
    """Where an object is, how it lies and how large it is (9 DoF)."""

    category: str
    score: float  # in [0, 1]
    T_cam_obj: np.ndarray  # (4, 4) float64, rotation orthonormal with determinant +1
    size_m: np.ndarray  # (3,) float64 full extents along the object's x, y, z; > 0
    covariance: np.ndarray  # (6, 6) float64: x, y, z (m^2), turns about x, y, z (rad^2); camera axes
    symmetry: Symmetry
    box2d: np.ndarray  # (4,) float32 pixels
    keypoints_m: np.ndarray  # (K, 3) float32, camera frame; K may be 0
    mask: np.ndarray | None = None  # (H, W) bool
    track_id: str = ""  # such as "mug_3"; empty without tracking


@dataclass(frozen=True)
class ObjectTruth:
    """The ground truth of one object in a frame of a data set."""

    instance_id: int  # the value of its pixels in FrameSample.instance_ids
    category: str
    model: str  # which shape; the same name is the same shape
    T_cam_obj: np.ndarray  # (4, 4) float64
    size_m: np.ndarray  # (3,) float64 full extents
    symmetry: Symmetry  # in this view: a mug whose handle is hidden is infinite about y
    handle_visible: bool = True


@dataclass(frozen=True)
class FrameSample:
    """One frame of any data set (CAMERA25, REAL275, HouseCat6D, our own), with what is known about it."""

    frame: RgbdFrame
    instance_ids: np.ndarray  # (H, W) int32; 0 is background
    objects: tuple[ObjectTruth, ...]
    name: str  # such as "val/00000/0000"
    nocs: np.ndarray | None = None  # (H, W, 3) float32 in [0, 1]; the NOCS map where the set has one
    detections: tuple[Instance, ...] = field(default=())  # a segmenter's results shipped with the set
