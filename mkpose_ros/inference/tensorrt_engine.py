"""MK-Pose by TensorRT (10 and 11) or TensorRT-RTX: one stream, page-locked buffers, a CUDA graph per batch size."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mkpose_ros.errors import DeviceMemoryError, EngineError, ModelError
from mkpose_ros.inference.base import INPUTS, OUTPUTS, PoseEngine
from mkpose_ros.inference.cuda import Buffer, Cuda
from mkpose_ros.inference.engine_cache import EngineCache
from mkpose_ros.inference.metadata import file_hash, read_metadata
from mkpose_ros.inference.tensorrt_builder import BATCHES, build_plan, load_tensorrt

__all__ = ["TensorRtEngine", "engine_fingerprint"]

logger = logging.getLogger(__name__)


@dataclass
class _Bucket:
    """One batch size: its profile's context and, where the engine can be captured, its graph."""

    batch: int
    context: Any
    graph: int | None = None


class TensorRtEngine(PoseEngine):
    """A plan from the cache, or built now, and one bucket for each size of BATCHES; a batch is padded to the next.

    All buckets share the input and output buffers and one block of scratch memory: one runs at a time.
    """

    def __init__(
        self,
        model_path: Path,
        *,
        flavour: str = "tensorrt",
        device_index: int = 0,
        cache_folder: Path | None = None,
        trt: Any = None,
        runtime: Any = None,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """``flavour``: "tensorrt" or "tensorrt-rtx"; ``trt`` and ``runtime`` stand in for its library and CUDA's."""
        self.name = flavour
        self.metadata = read_metadata(model_path)
        self._cuda = Cuda(device_index, runtime)
        self._buckets: list[_Bucket] = []
        self._engine = None
        try:
            self._trt = trt or load_tensorrt(flavour)
            self._engine = self._load(model_path, EngineCache(cache_folder), is_cancelled)
            self._check_interface(model_path)
            self._prepare()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._drop_buckets(above=0)
        self._engine = None
        self._cuda.close()

    def _load(self, model_path: Path, cache: EngineCache, is_cancelled: Callable[[], bool]) -> Any:
        precision = str(self.metadata.extra.get("precision", "fp32"))
        fingerprint = engine_fingerprint(self._trt, self._cuda, model_path, precision)
        name = f"{self.name}-{self.metadata.size}"

        def build() -> bytes:
            return build_plan(self._trt, model_path, is_cancelled=is_cancelled)

        self._runtime = self._trt.Runtime(self._trt.Logger(self._trt.Logger.WARNING))
        engine = self._runtime.deserialize_cuda_engine(cache.plan(name, fingerprint, build))
        if engine is None:  # whole, and built for this very machine, but the driver says no
            logger.warning("%s refused its cached engine; building it again", self.name)
            engine = self._runtime.deserialize_cuda_engine(cache.plan(name, fingerprint, build, rebuild=True))
        if engine is None:
            raise EngineError(f"{self.name} can't load the engine it has just built; update the GPU's driver")
        return engine

    def _check_interface(self, model_path: Path) -> None:
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        modes = {name: self._engine.get_tensor_mode(name) for name in names}
        self._input_names = [name for name in names if modes[name] == self._trt.TensorIOMode.INPUT]
        outputs = set(names) - set(self._input_names)
        if not set(self._input_names) <= set(INPUTS) or not set(OUTPUTS) <= outputs:
            raise ModelError(
                f"model {model_path} has inputs {self._input_names} and outputs {sorted(outputs)}, expected "
                f"{sorted(INPUTS)} and {sorted(OUTPUTS)}: run `mkpose export` again"
            )

    def _prepare(self) -> None:
        """Allocate, and warm up every bucket; where memory does not suffice, without the largest ones."""
        for largest in reversed(BATCHES):
            try:
                self._allocate(largest)
                for index, batch in enumerate(b for b in BATCHES if b <= largest):
                    self._buckets.append(self._make_bucket(index, batch))
            except DeviceMemoryError as error:
                if largest == BATCHES[0]:
                    raise
                logger.warning("%s: no memory for batches of %d (%s); trying less", self.name, largest, error)
                self._drop_buckets(above=0)
                self._cuda.free_buffers()
                continue
            self.max_batch = largest
            return

    def _allocate(self, largest: int) -> None:
        self._buffers: dict[str, Buffer] = {}
        for name in (*self._input_names, *OUTPUTS):
            shape = (largest, *tuple(self._engine.get_tensor_shape(name))[1:])
            self._buffers[name] = self._cuda.buffer(shape, self._trt.nptype(self._engine.get_tensor_dtype(name)))
        sizes = [self._scratch_bytes(i) for i, batch in enumerate(BATCHES) if batch <= largest]
        self._scratch = self._cuda.allocate(max(sizes))

    def _scratch_bytes(self, profile: int) -> int:
        return int(self._engine.get_device_memory_size_for_profile_v2(profile))

    def _make_bucket(self, profile: int, batch: int) -> _Bucket:
        context = self._engine.create_execution_context(self._trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        if context is None:
            raise DeviceMemoryError(f"{self.name} can't make an execution context for batches of {batch}")
        context.set_device_memory(self._scratch, self._scratch_bytes(profile))
        context.set_optimization_profile_async(profile, self._cuda.stream)
        for name in self._input_names:
            context.set_input_shape(name, self._buffers[name].host[:batch].shape)
        for name, buffer in self._buffers.items():
            context.set_tensor_address(name, buffer.device)
        bucket = _Bucket(batch, context)
        self._enqueue(bucket)  # outside of capture first: kernels are loaded lazily
        self._cuda.synchronize()
        try:
            bucket.graph = self._cuda.capture(lambda: self._enqueue(bucket))
        except EngineError as error:
            logger.info("%s: batches of %d run without a CUDA graph (%s)", self.name, batch, error)
        return bucket

    def _enqueue(self, bucket: _Bucket) -> None:
        for name in self._input_names:
            self._cuda.upload(self._buffers[name], bucket.batch)
        if not bucket.context.execute_async_v3(self._cuda.stream):
            self._cuda.synchronize()  # says what happened to the device, if that is the reason
            raise EngineError(f"{self.name} did not start a batch of {bucket.batch}; its log says why")
        for name in OUTPUTS:
            self._cuda.download(self._buffers[name], bucket.batch)

    def _run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if self._engine is None:
            raise EngineError(f"{self.name} is closed: open the engine again")
        batch = len(inputs["points"])
        bucket = next(b for b in self._buckets if b.batch >= batch)
        self._cuda.use()
        for name in self._input_names:
            self._buffers[name].host[:batch] = inputs[name]  # rows beyond keep an earlier batch: padding
        if bucket.graph is None:
            self._enqueue(bucket)
        else:
            self._cuda.launch(bucket.graph)
        self._cuda.synchronize()
        return {name: self._buffers[name].host[:batch].astype(np.float32) for name in OUTPUTS}

    def _free_memory(self) -> None:
        self._drop_buckets(above=self.max_batch)

    def _drop_buckets(self, above: int) -> None:
        for bucket in [b for b in self._buckets if b.batch > above]:
            if bucket.graph is not None:
                self._cuda.free_graph(bucket.graph)
            self._buckets.remove(bucket)


def engine_fingerprint(trt: Any, cuda: Cuda, model_path: Path, precision: str) -> dict[str, object]:
    """Everything that a plan depends on."""
    return {
        "model": file_hash(model_path),
        "precision": precision,
        "builder": f"{trt.__name__} {trt.__version__}",
        "gpu": cuda.name,
        "compute_capability": cuda.compute_capability,
        "batches": list(BATCHES),
    }
