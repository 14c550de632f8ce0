"""The little of CUDA that an engine needs: one device, one stream, buffers, graphs; errors as our types."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mkpose_ros.errors import DependencyError, DeviceLostError, DeviceMemoryError, EngineError

__all__ = ["Buffer", "Cuda", "load_runtime"]

OUT_OF_MEMORY = "cudaErrorMemoryAllocation"
# After these the device's context is lost to this process (CUDA runtime API: "the process must be terminated").
STICKY_ERRORS = frozenset(
    "cudaError" + name
    for name in (
        "IllegalAddress", "LaunchTimeout", "HardwareStackError", "IllegalInstruction", "MisalignedAddress",
        "InvalidAddressSpace", "InvalidPc", "LaunchFailure", "Assert", "ECCUncorrectable", "DevicesUnavailable",
        "NvlinkUncorrectable", "MpsConnectionFailed", "ExternalDevice", "ContextIsDestroyed", "Contained",
    )
)  # fmt: skip


@dataclass(frozen=True)
class Buffer:
    """A device buffer and its page-locked twin on the host."""

    device: int  # address
    host: np.ndarray  # shape of the largest batch
    row_bytes: int  # bytes of one instance


def load_runtime() -> Any:
    """NVIDIA's Python binding of the CUDA runtime. Raises DependencyError."""
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise DependencyError(f"{error}; install it with `pip install mkpose_ros[tensorrt]`") from error
    return runtime


class Cuda:
    """One device with one stream. ``runtime`` is cuda.bindings.runtime, or something that behaves like it."""

    def __init__(self, device_index: int = 0, runtime: Any = None) -> None:
        """Raises EngineError that lists the devices when there is none of this index."""
        self._rt = runtime or load_runtime()
        devices = self._device_names()
        if not 0 <= device_index < len(devices):
            found = ", ".join(f"{i}: {name}" for i, name in enumerate(devices)) or "no NVIDIA GPU at all"
            raise EngineError(f"GPU {device_index} does not exist; found {found}; set device_index or another engine")
        self._call(self._rt.cudaSetDevice, device_index)
        properties = self._call(self._rt.cudaGetDeviceProperties, device_index)
        self.device_index = device_index
        self.name = devices[device_index]
        self.compute_capability = f"{properties.major}.{properties.minor}"
        self.stream = int(self._call(self._rt.cudaStreamCreateWithFlags, self._rt.cudaStreamNonBlocking))
        self._releases: list[tuple[Callable, int]] = [(self._rt.cudaStreamDestroy, self.stream)]

    def use(self) -> None:
        """Make this device current in the calling thread; CUDA keeps one for each thread."""
        self._call(self._rt.cudaSetDevice, self.device_index)

    def allocate(self, n_bytes: int) -> int:
        """The address of device memory that `close` frees. Raises DeviceMemoryError."""
        address = int(self._call(self._rt.cudaMalloc, max(n_bytes, 1)))
        self._releases.append((self._rt.cudaFree, address))
        return address

    def buffer(self, shape: tuple[int, ...], dtype: np.dtype) -> Buffer:
        """A device buffer with a page-locked twin; shape[0] is the largest batch."""
        row_bytes = math.prod(shape[1:]) * np.dtype(dtype).itemsize
        n_bytes = max(shape[0] * row_bytes, 1)
        address = int(self._call(self._rt.cudaMallocHost, n_bytes))
        self._releases.append((self._rt.cudaFreeHost, address))
        raw = np.ctypeslib.as_array((ctypes.c_uint8 * n_bytes).from_address(address))
        host = raw[: shape[0] * row_bytes].view(dtype).reshape(shape)
        host[...] = 0  # rows that pad a batch hold numbers from the first run on
        return Buffer(self.allocate(n_bytes), host, row_bytes)

    def upload(self, buffer: Buffer, rows: int) -> None:
        """Queue the copy of the first rows to the device."""
        kind = self._rt.cudaMemcpyKind.cudaMemcpyHostToDevice
        n_bytes = rows * buffer.row_bytes
        self._call(self._rt.cudaMemcpyAsync, buffer.device, buffer.host.ctypes.data, n_bytes, kind, self.stream)

    def download(self, buffer: Buffer, rows: int) -> None:
        """Queue the copy of the first rows to the host."""
        kind = self._rt.cudaMemcpyKind.cudaMemcpyDeviceToHost
        n_bytes = rows * buffer.row_bytes
        self._call(self._rt.cudaMemcpyAsync, buffer.host.ctypes.data, buffer.device, n_bytes, kind, self.stream)

    def synchronize(self) -> None:
        """Wait until the stream is empty."""
        self._call(self._rt.cudaStreamSynchronize, self.stream)

    def capture(self, work: Callable[[], None]) -> int:
        """What ``work`` queues on the stream, as a graph that `launch` repeats."""
        mode = self._rt.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call(self._rt.cudaStreamBeginCapture, self.stream, mode)
        try:
            work()
        finally:
            graph = self._call(self._rt.cudaStreamEndCapture, self.stream)
        try:
            executable = int(self._call(self._rt.cudaGraphInstantiate, graph, 0))
        finally:
            self._call(self._rt.cudaGraphDestroy, graph)
        return executable

    def launch(self, graph: int) -> None:
        """Queue a captured graph."""
        self._call(self._rt.cudaGraphLaunch, graph, self.stream)

    def free_graph(self, graph: int) -> None:
        """Free a captured graph; errors are ignored, as in `close`."""
        self._rt.cudaGraphExecDestroy(graph)

    def free_buffers(self) -> None:
        """Free what `allocate` and `buffer` gave."""
        while len(self._releases) > 1:  # the first is the stream's
            release, handle = self._releases.pop()
            release(handle)

    def close(self) -> None:
        """Free everything; errors are ignored, since a lost device can't free. Safe to call twice."""
        self.free_buffers()
        for release, handle in self._releases:
            release(handle)
        self._releases.clear()

    def _device_names(self) -> list[str]:
        status, count = self._rt.cudaGetDeviceCount()
        if int(status) != 0:  # no driver, or no device: both mean that there is none to use
            return []
        return [self._text(self._call(self._rt.cudaGetDeviceProperties, i).name) for i in range(count)]

    def _call(self, function: Callable, *arguments: Any) -> Any:
        """Call the runtime; its answer is (status, result) or (status,). Raises our errors."""
        status, *result = function(*arguments)
        if int(status) == 0:
            return result[0] if result else None
        name = self._text(self._rt.cudaGetErrorName(status)[1])
        message = f"CUDA: {function.__name__} failed with {name}: {self._text(self._rt.cudaGetErrorString(status)[1])}"
        if name == OUT_OF_MEMORY:
            raise DeviceMemoryError(message)
        if name in STICKY_ERRORS:
            raise DeviceLostError(f"{message}; this process must be started again")
        raise EngineError(message)

    @staticmethod
    def _text(value: bytes | str) -> str:
        return value.decode(errors="replace").rstrip("\0") if isinstance(value, bytes) else value
