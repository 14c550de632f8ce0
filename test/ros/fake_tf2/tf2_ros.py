"""Stands for tf2_ros: a broadcaster that fails and a buffer that knows no transform until 2 s after its start."""

import time

from geometry_msgs.msg import TransformStamped

print("fake tf2_ros loaded", flush=True)


class TransformException(Exception):
    pass


class TransformBroadcaster:
    def __init__(self, node):
        pass

    def sendTransform(self, transforms):
        print("sent", [t.child_frame_id for t in transforms], flush=True)
        raise RuntimeError("the broadcaster failed")


class Buffer:
    def __init__(self):
        self._made = time.monotonic()

    def lookup_transform(self, target, source, stamp):
        if time.monotonic() - self._made < 2.0:
            raise TransformException("would extrapolate")
        return TransformStamped()


class TransformListener:
    def __init__(self, buffer, node):
        pass

    def unregister(self):
        print("unregistered", flush=True)
