"""Identity and steadiness over time: association, filtering on SE(3) x size, births and deaths by evidence."""

from mkpose_ros.tracking.config import TrackerConfig
from mkpose_ros.tracking.tracker import Tracker

__all__ = ["Tracker", "TrackerConfig"]
