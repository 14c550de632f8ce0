"""The inference thread: takes the newest frame, finds the objects, publishes them."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace

from mkpose_ros.array_pool import ArrayPool
from mkpose_ros.errors import DeviceLostError, InputError, MkposeError
from mkpose_ros.msg import ObjectPoseArray
from mkpose_ros.pipeline import Pipeline, PipelineResult
from mkpose_ros.ros.frames import FrameMessages, build_frame
from mkpose_ros.ros.mailbox import Mailbox
from mkpose_ros.ros.memory import keep_freed_memory
from mkpose_ros.ros.monitor import Monitor
from mkpose_ros.ros.outputs import Outputs
from mkpose_ros.ros.parameters import Settings
from mkpose_ros.ros.pipeline_factory import choose_objects, prepare_pipeline
from mkpose_ros.ros.synchronizer import stamp_ns
from mkpose_ros.types import ObjectPose

__all__ = ["Worker"]

MAX_FAILURES = 10  # inference errors in a row before the node gives up: a sticky device error needs a new process


class Worker:
    """Runs from `start` to `stop`. Settings and pipeline change between frames only."""

    def __init__(
        self,
        pipeline: Pipeline,
        mailbox: Mailbox[FrameMessages],
        outputs: Outputs,
        monitor: Monitor,
        *,
        settings: Callable[[], Settings],
        now_ns: Callable[[], int],
        generation: Callable[[], int],
        on_result: Callable[[int, ObjectPoseArray], None],
        on_fatal: Callable[[str], None],
    ) -> None:
        """`now_ns`: the ROS clock. `generation`: of the newest frames; older ones are stale. `on_result`: gets the
        arrival time and the message of each frame. `on_fatal`: told why the thread ends by itself."""
        self._pipeline, self._mailbox, self._outputs, self._monitor = pipeline, mailbox, outputs, monitor
        self._settings, self._now_ns, self._generation = settings, now_ns, generation
        self._on_result, self._on_fatal = on_result, on_fatal
        self._replacement: Pipeline | None = None
        self._seen_generation = generation()
        self._failures = 0
        self._images = ArrayPool()
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline in use, or the one that replaces it at the next frame."""
        return self._replacement or self._pipeline

    def start(self) -> None:
        """Begin to take frames."""
        keep_freed_memory()
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Finish the frame in hand and end; False when that takes longer than timeout_s."""
        self._mailbox.close()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def replace_pipeline(self, pipeline: Pipeline) -> None:
        """Use another pipeline from the next frame on; the old one is closed then."""
        self._replacement = pipeline

    def _run(self) -> None:
        try:
            while (messages := self._mailbox.take()) is not None:
                self._take(messages)
                if self._failures >= MAX_FAILURES:
                    self._on_fatal(f"{MAX_FAILURES} frames in a row failed; the last: {self._monitor.last_problem}")
                    return
        except DeviceLostError as error:
            self._on_fatal(str(error))
        except BaseException:
            self._on_fatal(f"the inference thread died: {traceback.format_exc()}")

    def _take(self, messages: FrameMessages) -> None:
        try:
            self._process(messages)
            self._failures = 0
        except InputError as error:
            self._monitor.problem("rejected", f"frame rejected: {error}")
        except DeviceLostError:
            raise  # no later frame can succeed: only a new process can use the device again
        except Exception as error:
            self._failures += 1
            text = str(error) if isinstance(error, MkposeError) else traceback.format_exc()
            self._monitor.error("pipeline_errors", f"a frame was lost: {type(error).__name__}: {text}")

    def _process(self, messages: FrameMessages) -> None:
        settings = self._settings()  # one reading for the whole frame
        if not self._is_fresh(messages, settings):
            return
        self._change_pipeline(messages.generation)
        started_ns = time.monotonic_ns()
        frame = build_frame(messages, settings, self._images.empty)
        frame = replace(frame, T_world_cam=self._outputs.transforms.camera_in_world(frame))
        prepare_pipeline(self._pipeline, settings, frame, messages)
        converted_ms = (time.monotonic_ns() - started_ns) / 1e6
        result = self._pipeline.process(frame)
        if messages.generation != self._generation():
            self._monitor.count("dropped_stale")  # time jumped or the node was disabled while this frame was worked on
            return
        objects = self._checked(result, settings)
        stages_ms = {"wait": (started_ns - messages.arrival_ns) / 1e6, "convert": converted_ms, **result.stages_ms}
        message = self._outputs.publish(frame, objects, settings, stages_ms, messages.arrival_ns)
        self._monitor.count("published")
        age_ms = (self._now_ns() - frame.stamp_ns) / 1e6
        times_ms = {"latency": message.latency_ms, "age": age_ms, "mask age": 1e3 * result.mask_age_s}
        self._monitor.record_ms({**stages_ms, **times_ms})
        self._on_result(messages.arrival_ns, message)

    def _is_fresh(self, messages: FrameMessages, settings: Settings) -> bool:
        if messages.generation != self._generation():
            self._monitor.count("dropped_stale")
            return False
        now_ns = self._now_ns()
        age_s = (now_ns - stamp_ns(messages.color)) / 1e9
        if settings.max_age == 0.0 or abs(age_s) <= settings.max_age:
            return True
        if now_ns == 0:
            self._monitor.problem("dropped_no_clock", "use_sim_time is set, but nothing came on /clock yet")
        elif age_s > 0.0:
            self._monitor.problem(
                "dropped_old",
                f"frame dropped: it is {age_s:.2f} s old, max_age is {settings.max_age} s; for a recording play its "
                "clock and set use_sim_time, or set max_age to 0",
            )
        else:
            self._monitor.problem(
                "dropped_future",
                f"frame dropped: its stamp is {-age_s:.2f} s in the future; synchronise the clocks of camera and "
                "computer, or set max_age to 0",
            )
        return False

    def _change_pipeline(self, generation: int) -> None:
        if self._replacement is not None:
            old, self._pipeline, self._replacement = self._pipeline, self._replacement, None
            old.close()
        if generation != self._seen_generation:
            self._seen_generation = generation
            self._pipeline.reset()  # what was followed before a jump in time is gone

    def _checked(self, result: PipelineResult, settings: Settings) -> Sequence[ObjectPose]:
        objects, invalid = choose_objects(result.objects, settings)
        self._monitor.count("objects_invalid", invalid)
        self._monitor.count("instances_dropped", max(len(result.instances) - len(result.objects), 0))
        return objects
