"""Declares the parameters of `Settings` on a ROS node and keeps the settings in step with them."""

from __future__ import annotations

import dataclasses
from array import array
from collections.abc import Callable, Sequence

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter

from mkpose_ros.errors import InputError
from mkpose_ros.ros.parameters import WHEN, Settings, check_change

__all__ = ["declare_settings", "follow_changes"]


def declare_settings(node: Node) -> Settings:
    """Declare every parameter and read the values given at the start. Raises InputError with a sentence."""
    values = {}
    for field in dataclasses.fields(Settings):
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        try:
            values[field.name] = node.declare_parameter(field.name, default, _descriptor(field)).value
        except ParameterException as error:
            raise InputError(
                f"parameter {field.name} given at the start: {error}. See docs/parameters.md for its type and range"
            ) from error
    return check_change(Settings(), {name: _plain(value) for name, value in values.items()})


def follow_changes(node: Node, settings: Callable[[], Settings], apply: Callable[[Settings], None]) -> None:
    """Check each change of parameters against `settings()`; accepted ones reach `apply` as one new Settings."""
    names = {field.name for field in dataclasses.fields(Settings)}

    def on_set(parameters: Sequence[Parameter]) -> SetParametersResult:
        changes = {p.name: _plain(p.value) for p in parameters if p.name in names}
        try:
            apply(check_change(settings(), changes))
        except InputError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(on_set)


def _descriptor(field: dataclasses.Field) -> ParameterDescriptor:
    meta = field.metadata
    unit = f" Unit: {meta['unit']}." if meta["unit"] else ""
    choices = f" One of: {', '.join(meta['choices'])}." if meta["choices"] else ""
    descriptor = ParameterDescriptor(
        description=meta["description"] + unit,
        additional_constraints=f"Takes effect {WHEN[meta['when']]}.{choices}",
        read_only=meta["when"] == "start",
        dynamic_typing="|" in field.type,
    )
    if meta["limits"]:
        low, high = meta["limits"]
        if field.type == "int":
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high)]
        else:
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    return descriptor


def _plain(value: object) -> object:
    """Array parameters arrive as array.array or list; settings are frozen."""
    return tuple(value) if isinstance(value, (array, list)) else value
