"""The recording that the demo plays: `python -m mkpose_ros.synthesis.demo_recording FOLDER` makes it again.

Shapes of the validation split, which training never sees; a hand-held camera around a table, an active-stereo sensor.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from rich.progress import track

from mkpose_ros.recording import RecordedFrame, write_recording
from mkpose_ros.synthesis.generate import SceneGenerator
from mkpose_ros.synthesis.library import ShapeLibrary
from mkpose_ros.synthesis.scene import SceneConfig
from mkpose_ros.synthesis.sequence import Sequence, SequenceConfig

__all__ = ["demo_frames", "demo_sequence"]

FRAMES = 36
RATE_HZ = 12.0
SCENE = 9  # two bottles, two cans, a bowl and a laptop, all in view


def demo_sequence() -> Sequence:
    """The sequence behind the recording."""
    categories = ("bottle", "bowl", "can", "mug", "camera", "laptop")
    config = SceneConfig(categories=categories, objects=(6, 6), distractors=(1, 1))
    generator = SceneGenerator(ShapeLibrary("val", seed=0), config, seed=0)
    return Sequence(generator, SequenceConfig(rate_hz=RATE_HZ, scene=SCENE))


def demo_frames(count: int = FRAMES) -> Iterator[RecordedFrame]:
    """The frames with the truth of every object that is seen."""
    sequence = demo_sequence()
    for index in track(range(count), "rendering the demo recording"):
        sample = sequence.shot(index).sample
        yield RecordedFrame(sample.frame, sample.objects)


if __name__ == "__main__":
    print(write_recording(Path(sys.argv[1]), demo_frames()), "frames in", sys.argv[1])
