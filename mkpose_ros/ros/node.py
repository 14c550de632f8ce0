"""The lifecycle node `mkpose`: RGB-D topics in, 9-DoF object poses out."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger

from mkpose_ros.errors import MkposeError
from mkpose_ros.pipeline import Pipeline
from mkpose_ros.ros import qos
from mkpose_ros.ros.camera import CameraInput
from mkpose_ros.ros.declaration import declare_settings, follow_changes
from mkpose_ros.ros.diagnostics import diagnostics_msg
from mkpose_ros.ros.lists import category_names
from mkpose_ros.ros.mailbox import Mailbox
from mkpose_ros.ros.monitor import Monitor
from mkpose_ros.ros.once import OnceRequests
from mkpose_ros.ros.outputs import Outputs
from mkpose_ros.ros.parameters import Settings
from mkpose_ros.ros.pipeline_factory import build_pipeline, check_classes, known_categories
from mkpose_ros.ros.process import run_process
from mkpose_ros.ros.worker import Worker
from mkpose_ros.srv import DetectOnce, SetClasses

__all__ = ["MkposeNode", "main"]

PipelineFactory = Callable[[Settings], Pipeline]
_STOP_S = 10.0  # longest wait for the frame in hand
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class MkposeNode(LifecycleNode):
    """configure loads the models, activate subscribes and starts the inference thread; the ways back mirror them.

    Raises InputError when a parameter given at the start is wrong.
    """

    def __init__(
        self,
        *,
        pipeline_factory: PipelineFactory = build_pipeline,
        on_fatal: Callable[[], None] = lambda: None,
        **node_options: object,
    ) -> None:
        """`on_fatal` is called, from any thread, when only a new process can help."""
        super().__init__("mkpose", **node_options)
        self._pipeline_factory, self._on_fatal = pipeline_factory, on_fatal
        self._monitor = Monitor(self.get_logger())
        self.settings = declare_settings(self)
        follow_changes(self, lambda: self.settings, self._apply)
        self._pipeline: Pipeline | None = None  # while configured
        self._outputs: Outputs | None = None
        self._camera: CameraInput | None = None  # while active
        self._worker: Worker | None = None
        self._once = OnceRequests(self)
        self._reported_failures = 0
        self._diagnostics = self.create_publisher(
            DiagnosticArray, "diagnostics", qos.OUTPUT, qos_overriding_options=qos.overridable()
        )
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # also ticks before a simulated clock does
        self.create_timer(self.settings.diagnostics_period, self._report, clock=steady)
        # A group of its own: a call that waits for its frame must not hold up the camera's callbacks.
        self.create_service(DetectOnce, "~/detect_once", self._detect_once, callback_group=ReentrantCallbackGroup())
        self.create_service(SetClasses, "~/set_classes", self._set_classes)
        self.create_service(SetBool, "~/set_enabled", self._set_enabled)
        self.create_service(Trigger, "~/reload", self._reload)

    @property
    def state(self) -> str:
        """unconfigured, inactive or active."""
        if self._pipeline is None:
            return "unconfigured"
        return "inactive" if self._worker is None else "active"

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the models and create the publishers; after a failure everything is as before and can be tried again."""
        return self._transition("configure", self._load, undo=self._unload)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start the inference thread and subscribe."""
        return self._transition("activate", self._start, undo=self._stop)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and end the inference thread after the frame in hand."""
        return self._transition("deactivate", self._stop)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Destroy the publishers and free the models."""
        return self._transition("cleanup", self._unload)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free everything, from any state."""
        return self._transition("shutdown", self.close)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Back to unconfigured, with everything freed."""
        return self._transition("error", self.close)

    def close(self, timeout_s: float = _STOP_S) -> bool:
        """Stop and free everything; False when the inference thread didn't end in time. Safe after partial setup."""
        stopped = self._stop(timeout_s)
        if stopped:
            self._unload()
        return stopped

    def fail(self, sentence: str) -> None:
        """Log why the process can't go on and ask for its end. Called from any thread."""
        self.get_logger().fatal(f"{sentence}. The node ends, so that it can be started anew.")
        self._on_fatal()

    def _transition(
        self, name: str, action: Callable[[], object], undo: Callable[[], object] = lambda: None
    ) -> TransitionCallbackReturn:
        """Run a transition; rclpy swallows exceptions here, so that they must be logged by us."""
        try:
            action()
        except Exception as error:
            self._explain(name, error)
            undo()
            return FAILURE
        self.get_logger().info(f"{name}: done")
        return SUCCESS

    def _explain(self, name: str, error: Exception) -> str:
        """Log why something failed: in a sentence when it is the user's to mend, else with the traceback."""
        reason = str(error) if isinstance(error, MkposeError) else "".join(traceback.format_exception(error))
        self.get_logger().error(f"{name} failed: {reason}")
        return str(error)

    def _load(self) -> None:
        self._pipeline = self._open_pipeline()
        self._outputs = Outputs(self, self.settings, self._monitor)

    def _unload(self) -> None:
        if self._outputs is not None:
            self._outputs.close()
        if self._pipeline is not None:
            self._pipeline.close()
        self._outputs = self._pipeline = None

    def _start(self) -> None:
        mailbox: Mailbox = Mailbox()
        self._camera = CameraInput(self, self.settings, mailbox, self._monitor, self._is_wanted, self.fail)
        self._worker = Worker(
            self._pipeline,
            mailbox,
            self._outputs,
            self._monitor,
            settings=lambda: self.settings,
            now_ns=lambda: self.get_clock().now().nanoseconds,
            generation=lambda: self._camera.generation,
            on_result=self._once.offer,
            on_fatal=self.fail,
        )
        self._worker.start()

    def _stop(self, timeout_s: float = _STOP_S) -> bool:
        if self._camera is not None:
            self._camera.reset()  # whatever is in hand is stale now
            self._camera.close()
        stopped = self._worker is None or self._worker.stop(timeout_s)
        if not stopped:
            self.get_logger().error(f"the frame in hand was not finished within {timeout_s} s")
        if self._worker is not None:
            self._pipeline = self._worker.pipeline
            self._outputs.clear_markers(Header(stamp=self.get_clock().now().to_msg()))
        self._camera = self._worker = None
        return stopped

    def _open_pipeline(self) -> Pipeline:
        pipeline = self._pipeline_factory(self.settings)
        try:
            check_classes(category_names(self.settings.classes), known_categories(pipeline))
        except MkposeError:
            pipeline.close()
            raise
        return pipeline

    def _is_wanted(self) -> bool:
        return self.settings.enabled or self._once.pending

    def _apply(self, settings: Settings) -> None:
        """Take over checked parameters; the inference thread reads them at its next frame."""
        if self._pipeline is not None:
            check_classes(category_names(settings.classes), known_categories(self._pipeline))
        old, self.settings = self.settings, settings
        if self._camera is not None:
            self._camera.apply(settings)
            if settings.enabled != old.enabled:
                self._camera.reset()

    def _report(self) -> None:
        problems: Sequence[str] = self._camera.problems() if self._camera is not None else ()
        stamp = self.get_clock().now().to_msg()
        name = self.get_fully_qualified_name().lstrip("/")
        failures = self._monitor.counts().get("pipeline_errors", 0)
        failing, self._reported_failures = failures > self._reported_failures, failures
        self._diagnostics.publish(diagnostics_msg(stamp, name, self.state, problems, self._monitor, failing=failing))

    async def _detect_once(self, request: DetectOnce.Request, response: DetectOnce.Response) -> DetectOnce.Response:
        if self.state != "active":
            response.message = f"the node is {self.state}: configure and activate it first"
            return response
        timeout_s = request.timeout_s if request.timeout_s > 0.0 else self.settings.detect_once_timeout
        result = await self._once.wait(timeout_s)
        if result is None:
            problem = self._monitor.last_problem
            response.message = f"no frame was processed within {timeout_s:.1f} s; last problem: {problem or 'none'}"
            return response
        response.success, response.detections = True, result
        return response

    def _set_classes(self, request: SetClasses.Request, response: SetClasses.Response) -> SetClasses.Response:
        response.success, response.message = self._set_parameter("classes", ", ".join(request.classes))
        response.classes = list(category_names(self.settings.classes))
        return response

    def _set_enabled(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        response.success, response.message = self._set_parameter("enabled", request.data)
        return response

    def _set_parameter(self, name: str, value: object) -> tuple[bool, str]:
        (result,) = self.set_parameters([Parameter(name, value=value)])
        return result.successful, result.reason

    def _reload(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Load the models again with the present parameters; detection goes on with the old ones meanwhile."""
        if self._pipeline is None:
            response.message = "the node is unconfigured: configure it, which loads the models"
            return response
        try:
            pipeline = self._open_pipeline()
        except Exception as error:
            response.message = f"nothing changed: {self._explain('reload', error)}"
            return response
        if self._worker is not None:
            self._worker.replace_pipeline(pipeline)
        else:
            self._pipeline.close()
        self._pipeline = pipeline
        response.success, response.message = True, "models loaded; used from the next frame on"
        return response


def main(args: Sequence[str] | None = None) -> int:
    """The executable `mkpose_node`; returns the exit status."""
    return run_process(MkposeNode, args)


if __name__ == "__main__":
    raise SystemExit(main())
