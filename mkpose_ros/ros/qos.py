"""Quality of service of every topic in one place; each can be overridden by `qos_overrides` parameters."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

__all__ = ["CAMERA_INFO", "DETECTIONS", "IMAGE", "OUTPUT", "overridable"]

# Best effort accepts both kinds of publisher. Images that wait while the machine is busy are all taken, in a moment, so
# that each can meet its partner; the newest pair wins in the mailbox.
IMAGE = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
CAMERA_INFO = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
# A late subscriber that asks for it (transient local) gets the last result at once; its stamp tells its age.
DETECTIONS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
OUTPUT = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=5, reliability=ReliabilityPolicy.RELIABLE)


def overridable() -> QoSOverridingOptions:
    """Options that declare `qos_overrides.<topic>...` for history, depth and reliability."""
    return QoSOverridingOptions.with_default_policies()
