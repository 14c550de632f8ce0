"""A CUDA runtime and a TensorRT that need no GPU: device memory is host memory, plans run by ONNX Runtime.

They keep the real libraries' habits that our code relies on: (status, result) tuples, sticky errors, None for a plan
that can't be loaded, work that is recorded and not run while a stream is captured.
"""

from __future__ import annotations

import ctypes
import json
from enum import Enum
from types import SimpleNamespace

import numpy as np
import onnxruntime

from mkpose_ros.inference.base import OUTPUTS

NAMES = {
    2: b"cudaErrorMemoryAllocation",
    35: b"cudaErrorInsufficientDriver",
    700: b"cudaErrorIllegalAddress",
    1: b"cudaErrorInvalidValue",
}


class FakeCuda:
    """cuda.bindings.runtime, with `capacity` bytes on each of `devices`; set `fault` to make the device fail."""

    cudaStreamNonBlocking = 1
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def __init__(self, devices=("NVIDIA Fake 1",), capability=(9, 0), capacity=1 << 30, can_capture=True):
        self.devices, self.capability, self.capacity, self.can_capture = devices, capability, capacity, can_capture
        self.fault = 0
        self.memory, self.used, self.graphs, self.recording = {}, 0, {}, None
        self.live, self.launches = [], 0

    def cudaGetDeviceCount(self):
        return (0, len(self.devices)) if self.devices else (35, None)

    def cudaSetDevice(self, index):
        return (self.fault,)

    def cudaGetDeviceProperties(self, index):
        major, minor = self.capability
        return 0, SimpleNamespace(name=self.devices[index].encode(), major=major, minor=minor)

    def cudaGetErrorName(self, status):
        return 0, NAMES[int(status)]

    def cudaGetErrorString(self, status):
        return 0, b"as told by the test"

    def cudaStreamCreateWithFlags(self, flags):
        self.live.append("stream")
        return 0, 77

    def cudaStreamDestroy(self, stream):
        self.live.remove("stream")
        return (0,)

    def cudaMalloc(self, n_bytes):
        if self.fault or self.used + n_bytes > self.capacity:
            return self.fault or 2, None
        self.used += n_bytes
        return 0, self._take(n_bytes)

    def cudaMallocHost(self, n_bytes):
        return 0, self._take(n_bytes)

    def cudaFree(self, address):
        self.used -= len(self.memory.pop(address))
        return (0,)

    def cudaFreeHost(self, address):
        del self.memory[address]
        return (0,)

    def cudaMemcpyAsync(self, target, source, n_bytes, kind, stream):
        return self.queue(lambda: ctypes.memmove(int(target), int(source), n_bytes))

    def cudaStreamSynchronize(self, stream):
        return (self.fault,)

    def cudaStreamBeginCapture(self, stream, mode):
        if not self.can_capture:
            return (1,)
        self.recording = []
        return (0,)

    def cudaStreamEndCapture(self, stream):
        recorded, self.recording = self.recording, None
        return 0, recorded

    def cudaGraphInstantiate(self, graph, flags):
        self.graphs[1000 + len(self.graphs)] = graph
        self.live.append("graph")
        return 0, 999 + len(self.graphs)

    def cudaGraphDestroy(self, graph):
        return (0,)

    def cudaGraphExecDestroy(self, graph):
        self.live.remove("graph")
        return (0,)

    def cudaGraphLaunch(self, graph, stream):
        self.launches += 1
        for work in self.graphs[graph]:
            work()
        return (self.fault,)

    def queue(self, work):
        if self.recording is None:
            work()
        else:
            self.recording.append(work)
        return (self.fault,)

    def _take(self, n_bytes):
        raw = np.full(n_bytes, 0xAB, np.uint8)
        self.memory[raw.ctypes.data] = raw
        return raw.ctypes.data


class Mode(Enum):
    INPUT = 1
    OUTPUT = 2


class FakeTensorRt:
    """The module tensorrt. `refusals`: how many plans the runtime will refuse; `on_build` is called by each build."""

    __name__ = "tensorrt"
    NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)
    TensorIOMode = Mode
    ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED=2)
    ILogger = type("ILogger", (), {})
    IProgressMonitor = type("IProgressMonitor", (), {})

    def __init__(self, cuda: FakeCuda, version="10.16.1", scratch_bytes=1000):
        self.cuda, self.__version__, self.scratch_bytes = cuda, version, scratch_bytes
        self.builds, self.loads, self.refusals, self.fails = 0, 0, 0, False
        self.on_build = lambda: None

    class Logger:
        WARNING = 1

        def __init__(self, severity):
            pass

    def Builder(self, log):
        return SimpleNamespace(
            create_network=lambda flags: SimpleNamespace(path=None, num_inputs=0),
            create_optimization_profile=lambda: None,
            create_builder_config=lambda: SimpleNamespace(add_optimization_profile=lambda profile: 0),
            build_serialized_network=self._build,
        )

    def OnnxParser(self, network, log):
        def parse(path):
            network.path = path
            return True

        return SimpleNamespace(parse_from_file=parse)

    def _build(self, network, config):
        self.builds += 1
        self.on_build()
        if self.fails or not config.progress_monitor.step_complete("tactics", 1):
            return None
        return json.dumps({"path": network.path, "version": self.__version__}).encode()

    def Runtime(self, log):
        return SimpleNamespace(deserialize_cuda_engine=self._load)

    def _load(self, plan):
        self.loads += 1
        if self.refusals:
            self.refusals -= 1
            return None
        return FakeEngineFile(self, json.loads(plan)["path"])

    @staticmethod
    def nptype(dtype):
        return dtype


class FakeEngineFile:
    """An ICudaEngine whose arithmetic is ONNX Runtime's."""

    def __init__(self, trt, path):
        self.trt = trt
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.tensors = {t.name: (t, Mode.INPUT) for t in self.session.get_inputs()}
        self.tensors |= {t.name: (t, Mode.OUTPUT) for t in self.session.get_outputs()}
        self.num_io_tensors = len(self.tensors)

    def get_tensor_name(self, index):
        return list(self.tensors)[index]

    def get_tensor_mode(self, name):
        return self.tensors[name][1]

    def get_tensor_shape(self, name):
        return (-1, *self.tensors[name][0].shape[1:])

    def get_tensor_dtype(self, name):
        return np.dtype(np.uint8 if "uint8" in self.tensors[name][0].type else np.float32)

    def get_device_memory_size_for_profile_v2(self, profile):
        return self.trt.scratch_bytes * 2**profile

    def create_execution_context(self, strategy):
        return FakeContext(self)


class FakeContext:
    def __init__(self, engine):
        self.engine, self.addresses, self.shapes = engine, {}, {}

    def set_device_memory(self, address, n_bytes):
        assert address in self.engine.trt.cuda.memory
        assert len(self.engine.trt.cuda.memory[address]) >= n_bytes

    def set_optimization_profile_async(self, profile, stream):
        self.profile = profile

    def set_input_shape(self, name, shape):
        assert shape[0] == 2**self.profile
        self.shapes[name] = tuple(shape)

    def set_tensor_address(self, name, address):
        self.addresses[name] = address

    def execute_async_v3(self, stream):
        return self.engine.trt.cuda.queue(self._execute)[0] == 0

    def _execute(self):
        inputs = {name: self._view(name, shape) for name, shape in self.shapes.items()}
        for name, value in zip(OUTPUTS, self.engine.session.run(list(OUTPUTS), inputs), strict=True):
            self._view(name, value.shape)[...] = value

    def _view(self, name, shape):
        dtype = self.engine.get_tensor_dtype(name)
        raw = self.engine.trt.cuda.memory[self.addresses[name]]
        return raw[: int(np.prod(shape)) * dtype.itemsize].view(dtype).reshape(shape)
