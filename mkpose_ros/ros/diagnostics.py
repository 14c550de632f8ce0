"""The node's report on `diagnostics`: the state of its input, what it dropped and how long its stages take."""

from __future__ import annotations

from collections.abc import Sequence

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from std_msgs.msg import Header

from mkpose_ros.ros.monitor import Monitor

__all__ = ["diagnostics_msg"]


def diagnostics_msg(
    stamp: Time, node_name: str, state: str, problems: Sequence[str], monitor: Monitor, *, failing: bool
) -> DiagnosticArray:
    """Two statuses: `<node>: input` (WARN with the first problem, STALE while not active) and `<node>: detection`.

    `failing`: inference failed since the last report.
    """
    if state != "active":
        level, message = DiagnosticStatus.STALE, f"the node is {state}"
    elif problems:
        level, message = DiagnosticStatus.WARN, problems[0]
    else:
        level, message = DiagnosticStatus.OK, "frames arrive"
    input_status = DiagnosticStatus(level=level, name=f"{node_name}: input", message=message, hardware_id=node_name)
    input_status.values = [KeyValue(key=f"problem {i + 1}", value=text) for i, text in enumerate(problems)]
    counts = monitor.counts()
    detection = DiagnosticStatus(
        level=DiagnosticStatus.WARN if failing else DiagnosticStatus.OK,
        name=f"{node_name}: detection",
        message=f"{counts.get('published', 0)} frames published, {counts.get('pipeline_errors', 0)} failed; "
        f"last problem: {monitor.last_problem or 'none'}",
        hardware_id=node_name,
    )
    detection.values = [KeyValue(key=name, value=str(n)) for name, n in sorted(counts.items())]
    detection.values += [
        KeyValue(key=f"{stage} ms p50 p95 p99", value="{:.1f} {:.1f} {:.1f}".format(*values))
        for stage, values in monitor.percentiles_ms().items()
    ]
    return DiagnosticArray(header=Header(stamp=stamp), status=[input_status, detection])
