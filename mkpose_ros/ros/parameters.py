"""The node's parameters: declared here once, with type, default, range, unit and description.

The ROS declaration, the validation, the frozen `Settings` the node works with and docs/parameters.md all come from
this one dataclass. `python -m mkpose_ros.ros.parameters` prints the table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from mkpose_ros.errors import InputError
from mkpose_ros.inference.engine import ENGINES, PRECISIONS
from mkpose_ros.ros.lists import check_names, check_thresholds
from mkpose_ros.segmentation import BACKENDS as SEGMENTERS

__all__ = ["WHEN", "Settings", "check_change", "conflict", "markdown_table"]

# When a changed value takes effect.
WHEN = {
    "frame": "at the next frame",
    "configure": "at the next `configure` or `~/reload`",
    "start": "read-only: given at the start",
}


def _parameter(
    default: Any,
    description: str,
    *,
    unit: str = "",
    limits: tuple[float, float] | None = None,
    choices: Sequence[str] = (),
    when: str = "frame",
    check: Callable[[Any], str | None] | None = None,
) -> Any:
    metadata = {
        "description": description,
        "unit": unit,
        "limits": limits,
        "choices": tuple(choices),
        "when": when,
        "check": check,
    }
    return dataclasses.field(default=default, metadata=metadata)


def _check_transform(values: Sequence[float]) -> str | None:
    if len(values) != 7 or not np.isfinite(values).all():
        return f"expected seven finite numbers x, y, z (m), qx, qy, qz, qw; got {list(values)}"
    norm = float(np.linalg.norm(values[3:]))
    if abs(norm - 1.0) > 1e-3:
        return f"the quaternion (last four numbers) must have length 1; it has {norm:.4f}"
    return None


def _check_segment_every(value: str | int) -> str | None:
    valid = value == "auto" or (str(value).isdecimal() and int(value) > 0)
    return None if valid else f"expected auto or a whole number of frames from 1; got '{value}'"


@dataclass(frozen=True)
class Settings:
    """The values of all parameters at one moment; the node replaces it as a whole, between frames."""

    # Input
    slop: float = _parameter(
        0.016,
        "Largest difference between the stamps of a colour and a depth image that make a pair; at most half the time "
        "between frames.",
        unit="s",
        limits=(0.0, 1.0),
    )
    queue_size: int = _parameter(
        10, "Images of each stream that wait for their partner; the oldest is dropped first.", limits=(1, 100)
    )
    max_age: float = _parameter(
        0.5,
        "Frames older than this when their turn comes are dropped and counted, as are frames further than this in "
        "the future; 0 turns the check off (a recording played without use_sim_time).",
        unit="s",
        limits=(0.0, 3600.0),
    )
    stream_timeout: float = _parameter(
        2.0,
        "A stream that is silent for this long, or streams that make no pair for this long, are reported.",
        unit="s",
        limits=(0.1, 600.0),
    )
    min_depth: float = _parameter(0.05, "Nearer depth is treated as invalid.", unit="m", limits=(0.0, 100.0))
    max_depth: float = _parameter(10.0, "Farther depth is treated as invalid.", unit="m", limits=(0.1, 100.0))
    unregistered_depth: str = _parameter(
        "refuse",
        "What to do with depth that is not on the colour image's pixel grid (another frame_id, size or camera "
        "matrix): refuse it, accept it as if it were registered, or register it with depth_to_color and the depth "
        "camera_info.",
        choices=("refuse", "accept", "register"),
    )
    depth_to_color: tuple[float, ...] = _parameter(
        (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0),
        "Pose of the depth optical frame in the colour optical frame (x, y, z, qx, qy, qz, qw); used when "
        "unregistered_depth is register.",
        unit="m",
        check=_check_transform,
    )

    # Segmentation
    segmenter: str = _parameter(
        "auto",
        "Where instance masks come from: the shipped Mask R-CNN by OpenVINO or ONNX Runtime (auto: the faster one at "
        "hand), detectron2, or outside (your own segmenter's label images on the topic masks).",
        choices=SEGMENTERS,
        when="configure",
    )
    segmenter_model: str = _parameter("", "Path of the segmentation model; empty: the shipped one.", when="configure")
    segmenter_device: str = _parameter("cpu", "Where the segmenter runs.", choices=("cpu", "cuda"), when="configure")
    segmenter_precision: str = _parameter(
        "bf16",
        "Arithmetic of OpenVINO for the segmenter: bf16 where the CPU has it takes little more than half the time.",
        choices=PRECISIONS,
        when="configure",
    )
    segmenter_config: str = _parameter("", "detectron2's configuration file (segmenter: detectron2).", when="configure")
    segmenter_class_map: str = _parameter(
        "identity",
        "Which map of config/class_maps.yaml turns detectron2's classes into categories.",
        when="configure",
    )
    mask_classes: str = _parameter(
        "",
        "Categories of the label image on the topic masks, separated by commas: a pixel of value 256 * c + i belongs "
        "to instance i of the c-th category (counted from 1), 0 to none. Empty: a Detection2DArray on the topic "
        "mask_detections names them, where vision_msgs is installed.",
        when="configure",
        check=check_names,
    )
    segment_every: str | int = _parameter(
        "auto",
        "Which frames are segmented: auto (as needed, beside the poses of newer frames), 1 (each), 2 (every other) ...",
        when="configure",
        check=_check_segment_every,
    )
    mask_max_age: float = _parameter(
        0.5, "Masks carried between frames are never older.", unit="s", limits=(0.05, 10.0), when="configure"
    )
    classes: str = _parameter(
        "",
        "Categories to detect, lower-case names separated by commas; empty: all that the model knows.",
        check=check_names,
    )
    min_score: float = _parameter(
        0.3,
        "Objects with a lower score are not published; the shipped segmenter is an early checkpoint, unsure of itself.",
        limits=(0.0, 1.0),
    )
    class_thresholds: str = _parameter(
        "calibrated",
        "Higher scores that objects of single categories need, such as `mug:0.5, can:0.4`; calibrated: those that the "
        "segmenter's file holds; empty: min_score for all. What is tracked for long goes on from min_score.",
        check=check_thresholds,
    )
    max_objects: int = _parameter(16, "Most objects in one message; the best scores are kept.", limits=(1, 100))

    # Pose
    model: str = _parameter(
        "small", "Pose model: the name of a shipped size (small, base) or the path of an ONNX file.", when="configure"
    )
    backend: str = _parameter(
        "auto",
        "Inference engine; auto takes the fastest one that this machine has.",
        choices=("auto", *ENGINES),
        when="configure",
    )
    precision: str = _parameter(
        "fp32",
        "Arithmetic of OpenVINO; the other engines compute as the model file is typed.",
        choices=PRECISIONS,
        when="configure",
    )
    device_index: int = _parameter(0, "Which GPU the pose engine uses.", limits=(0, 63), when="configure")
    threads: int = _parameter(
        0, "CPU threads; 0: one a core. Networks that run at once share them.", limits=(0, 256), when="configure"
    )
    tracking: bool = _parameter(
        True, "Follow objects from frame to frame: stable ids and orientations.", when="configure"
    )
    world_frame: str = _parameter(
        "",
        "A frame in which objects rest, such as map or base_link of a fixed arm: with tf2_ros the tracker takes the "
        "camera's motion out. Empty: not used.",
        when="configure",
    )

    # Output
    enabled: bool = _parameter(
        True, "Detect continuously; when false, only the service ~/detect_once does. ~/set_enabled changes it."
    )
    object_frame: str = _parameter(
        "z_up",
        "Axes of the object frame in everything published: z_up (z up, as grasp planners expect) or nocs (y up). "
        "The size follows the axes; the box stays where it is.",
        choices=("z_up", "nocs"),
    )
    publish_tf: bool = _parameter(
        False, "Broadcast a transform for each object, where tf2_ros is installed.", when="configure"
    )
    detect_once_timeout: float = _parameter(
        5.0,
        "Longest wait of ~/detect_once for a frame and its result, where the request names none.",
        unit="s",
        limits=(0.1, 600.0),
    )
    diagnostics_period: float = _parameter(
        1.0, "Time between two reports on the topic diagnostics.", unit="s", limits=(0.1, 60.0), when="start"
    )
    autostart: bool = _parameter(
        False, "Configure and activate by itself at the start, without a lifecycle manager.", when="start"
    )


def check_change(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """Settings with changes applied. Raises InputError with a full sentence when a value, or their union, is wrong."""
    fields = {field.name: field for field in dataclasses.fields(Settings)}
    for name, value in changes.items():
        problem = _check_value(fields[name], value)
        if problem:
            raise InputError(f"Parameter {name}: {problem}. The old value is kept.")
    changed = dataclasses.replace(settings, **changes)
    problem = conflict(changed)
    if problem:
        raise InputError(f"Parameters in conflict: {problem}. The old values are kept.")
    return changed


def conflict(settings: Settings) -> str | None:
    """What contradicts itself in settings, as a clause; None when nothing does."""
    if settings.min_depth >= settings.max_depth:
        return (
            f"min_depth ({settings.min_depth} m) must be less than max_depth ({settings.max_depth} m); "
            "set both in one call"
        )
    if 0.0 < settings.max_age <= settings.slop:
        return f"max_age ({settings.max_age} s) must be greater than slop ({settings.slop} s), or 0 for no limit"
    if settings.segmenter == "outside" and not settings.mask_classes and find_spec("vision_msgs") is None:
        return (
            "segmenter is outside, but mask_classes does not say which categories the label image holds, and "
            "vision_msgs, whose Detection2DArray could, is not installed"
        )
    return None


def _check_value(field: dataclasses.Field, value: Any) -> str | None:
    limits, choices, check = (field.metadata[key] for key in ("limits", "choices", "check"))
    if limits and not limits[0] <= value <= limits[1]:  # NaN fails too
        unit = field.metadata["unit"]
        return f"got {value}, expected a value from {limits[0]} to {limits[1]} {unit}".rstrip()
    if choices and value not in choices:
        return f"got '{value}', expected one of {', '.join(choices)}"
    return check(value) if check else None


def markdown_table() -> str:
    """docs/parameters.md: one row per parameter."""
    lines = [
        "# Parameters",
        "",
        "Made from `mkpose_ros/ros/parameters.py` by `make docs` (`python -m mkpose_ros.ros.parameters`); do not edit.",
        "Give them in a params file (`config/mkpose.yaml`) or change them with `ros2 param set /mkpose NAME VALUE`.",
        "A wrong value is refused with the reason and the old one stays. The QoS of every topic can be overridden with "
        "`qos_overrides.<topic>.<publisher|subscription>.<reliability|depth|history>`.",
        "",
        "| parameter | type | default | range | takes effect | meaning |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *(_row(field) for field in dataclasses.fields(Settings))]) + "\n"


def _row(field: dataclasses.Field) -> str:
    meta = field.metadata
    default = list(field.default) if isinstance(field.default, tuple) else field.default
    shown = f'"{default}"' if isinstance(default, str) else str(default).lower()
    span = ", ".join(meta["choices"]) or ("{} to {}".format(*meta["limits"]) if meta["limits"] else "")
    kinds = {"float": "double", "str": "string", "str | int": "string or int", "tuple[float, ...]": "double[]"}
    unit = f" {meta['unit']}" if meta["unit"] else ""
    return (
        f"| `{field.name}` | {kinds.get(field.type, field.type)} | `{shown}`{unit} "
        f"| {span}{unit if meta['limits'] else ''} | {WHEN[meta['when']]} | {meta['description']} |"
    )


if __name__ == "__main__":
    print(markdown_table(), end="")
