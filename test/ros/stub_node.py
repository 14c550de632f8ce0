"""The real node with a stub segmenter and a stub network, for tests that drive a real process over DDS.

A frame's own pixels say what the stub does with it: the red values at the centres of three blocks of 16 x 16 pixels in
the first rows are the number of objects, a fault (FAULTS) and the inference time in units of 10 ms.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from types import SimpleNamespace

import numpy as np

from mkpose_ros.categories import load_categories
from mkpose_ros.errors import DeviceLostError, EngineError, InputError
from mkpose_ros.pipeline import Pipeline
from mkpose_ros.ros import node
from mkpose_ros.ros.camera import CameraInput
from mkpose_ros.ros.node import MkposeNode
from mkpose_ros.ros.process import run_process
from mkpose_ros.types import Instance, ObjectPose

FAULTS = ("none", "engine", "input", "nan", "skewed", "negative_size", "unknown", "tiny", "overlap", "death", "lost")
BLOCK = 16
PITCH = 12  # pixels from one stub object to the next
KNOWN = ("mug", "bottle", "bowl")


class StubSegmenter:
    name = "stub"

    def segment(self, frame):
        n, fault, delay = (int(frame.rgb[BLOCK // 2, BLOCK * i + BLOCK // 2, 0]) for i in range(3))
        fault = FAULTS[fault]
        time.sleep(delay / 100)
        if fault == "engine":
            raise EngineError("stub: the device failed")
        if fault == "lost":
            raise DeviceLostError("stub: the device is gone")
        if fault == "input":
            raise InputError("stub: bad frame")
        if fault == "death":
            raise SystemExit("stub: thread death")
        return [instance for i in range(n) if (instance := self._instance(frame, i, fault)) is not None]

    def _instance(self, frame, i, fault):
        height, width = frame.depth_m.shape
        columns = width // PITCH
        x, y = PITCH * (i % columns), BLOCK + PITCH * (i // columns)
        side = 1 if fault == "tiny" else PITCH - 4
        if fault == "overlap":
            x, y, side = width - 20 - i, height - 20 - i, 40
        if y + PITCH > height:
            return None
        mask = np.zeros((height, width), bool)
        mask[y : y + side, x : x + side] = True
        category = "sofa" if fault == "unknown" and i == 0 else KNOWN[i % 3]
        box = np.array([x, y, min(x + side, width), min(y + side, height)], np.float32)
        return Instance(mask, box, category, 0.99 - 0.004 * i)

    def close(self):
        pass


class StubEstimator:
    """Puts each object at the median depth of its mask."""

    def __init__(self):
        self.dropped = Counter()
        self.engine = SimpleNamespace(name="stub", close=lambda: None)
        self.text_features = SimpleNamespace(names=KNOWN)

    def prepare(self, frame, instances):
        return frame, [i for i in instances if i.category in KNOWN]

    def run(self, batch):
        return FAULTS[int(batch[0].rgb[BLOCK // 2, BLOCK + BLOCK // 2, 0])]

    def finish(self, batch, fault):
        frame, instances = batch
        return [self._pose(frame, instance, fault if i == 0 else "none") for i, instance in enumerate(instances)]

    def _pose(self, frame, instance, fault):
        depth_m = frame.depth_m[instance.mask]
        z = float(np.median(depth_m[depth_m > 0]))
        v, u = (float(values.mean()) for values in np.nonzero(instance.mask))
        k = frame.intrinsics
        T = np.eye(4)
        T[:3, 3] = (u - k.cx) * z / k.fx, (v - k.cy) * z / k.fy, z
        T[:3, :3] = np.array([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]])  # upright before the camera
        size_m = np.array([0.12, 0.10, 0.08])
        if fault == "nan":
            T[0, 3] = np.nan
        if fault == "skewed":
            T[0, 1] = 0.5
        if fault == "negative_size":
            size_m[1] = -0.1
        return ObjectPose(
            category=instance.category,
            score=instance.score,
            T_cam_obj=T,
            size_m=size_m,
            covariance=1e-4 * np.eye(6),
            symmetry=load_categories()[instance.category].symmetry,
            box2d=instance.box2d,
            keypoints_m=np.array([[0.0, 0.0, z]], np.float32),
            mask=instance.mask,
        )


def stub_pipeline(settings):
    if settings.model == "missing":
        raise InputError("model missing: stub has no such file")
    if settings.model == "slow":
        print("stub: loading slowly", flush=True)
        time.sleep(600)  # longer than any test waits
    segmenter = StubSegmenter()
    if settings.segmenter == "outside":
        from mkpose_ros.segmentation import OutsideMasks

        segmenter = OutsideMasks()
    return Pipeline(segmenter, StubEstimator())


class FragileCamera(CameraInput):
    """Raises inside the synchroniser's callback where the colour image's frame is named "broken"."""

    def _on_match(self, *images):
        if images[0].header.frame_id == "broken":
            raise RuntimeError("stub: broken on request")
        super()._on_match(*images)


def make_node(**options):
    node.CameraInput = FragileCamera
    return MkposeNode(pipeline_factory=stub_pipeline, **options)


if __name__ == "__main__":
    sys.exit(run_process(make_node, sys.argv))
