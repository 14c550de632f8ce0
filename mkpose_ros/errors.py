"""Typed errors. Each message says where, what was got, what was expected and what to do."""

from __future__ import annotations


class MkposeError(Exception):
    """Base of all errors that a user can act on; the command line prints one as one sentence."""


class InputError(MkposeError, ValueError):
    """Data from outside (a frame, a file's content, an argument) is not what it must be."""


class ModelError(MkposeError):
    """A model file is missing, damaged, of another version or of another shape."""


class EngineError(MkposeError):
    """An inference engine can't be had or failed; the message lists what is at hand."""


class DependencyError(MkposeError, ImportError):
    """An optional package is missing; the message names the extra that brings it."""


class DeviceMemoryError(EngineError):
    """The device's memory does not suffice; a smaller batch may."""


class DeviceLostError(EngineError):
    """The device does not answer any more; only a new process can use it again, so this one must exit."""
