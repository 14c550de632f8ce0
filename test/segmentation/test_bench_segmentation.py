"""The timing rows of segmentation: their keys, and that a counted model finds what it was told to."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from mkpose_ros.bench.segmentation import (  # noqa: E402
    STAGES,
    bench_segmentation,
    with_object_count,
    write_beginnings,
)
from mkpose_ros.errors import ModelError  # noqa: E402
from mkpose_ros.segmentation.maskrcnn.config import MaskRcnnConfig  # noqa: E402
from mkpose_ros.segmentation.maskrcnn.export import write_onnx  # noqa: E402
from mkpose_ros.segmentation.maskrcnn.model import MaskRcnn  # noqa: E402
from mkpose_ros.segmentation.onnx_maskrcnn import OnnxMaskRcnn  # noqa: E402
from mkpose_ros.segmentation.sessions import open_session  # noqa: E402


@pytest.fixture(scope="module")
def model_path(tmp_path_factory):
    torch.manual_seed(0)
    config = MaskRcnnConfig(categories=("bowl", "mug"), input_height=96, input_width=128)
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    metadata = {"input_height": 96, "input_width": 128, "categories": config.categories}
    write_onnx(MaskRcnn(config).eval(), path, metadata)
    return path


@pytest.mark.parametrize("count", [1, 10])
def test_a_counted_model_finds_that_many_objects(model_path, tmp_path, count):
    counted = with_object_count(model_path, count, tmp_path / "counted.onnx")
    segmenter = OnnxMaskRcnn(counted, runtime="onnxruntime", score_threshold=-1.0)
    picture = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    outputs = segmenter._session.run({"image": picture})
    assert [len(values) for values in outputs.values()] == [count] * 4


def test_each_stage_and_the_total_have_a_row(model_path):
    rows = bench_segmentation(model_path=model_path, runtimes=["onnxruntime"], object_counts=[2], repeats=3)
    names = [row["name"] for row in rows]
    assert names == [f"segmentation {stage}, 2 objects" for stage in (*STAGES, "total", "clean-up")]
    keys = {"name", "backend", "model", "batch", "threads", "median_ms", "p95_ms", "p99_ms", "per_s", "rss_mb"}
    assert all(set(row) == keys and row["median_ms"] > 0 for row in rows)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_the_model_is_cut_after_its_backbone_and_after_its_proposals(model_path, tmp_path, runtime):
    pytest.importorskip(runtime)
    picture = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    pyramid, proposals = (
        open_session(part, runtime).run({"image": picture}) for part in write_beginnings(model_path, tmp_path)
    )
    assert sorted(value.shape[2:] for value in pyramid.values()) == [(2, 2), (3, 4), (6, 8), (12, 16), (24, 32)]
    (boxes,) = proposals.values()
    assert boxes.shape[1] == 4
    assert 0 < len(boxes) <= 100


def test_a_file_that_can_not_be_cut_is_named(constant_model, tmp_path):
    with pytest.raises(ModelError, match="RoiAlign"):
        write_beginnings(constant_model(), tmp_path)


def test_each_runtime_is_timed_in_each_arithmetic_that_it_has_here(model_path):
    openvino = pytest.importorskip("openvino")
    rows = bench_segmentation(model_path=model_path, object_counts=[1], repeats=3)
    totals = [row["backend"] for row in rows if row["name"].startswith("segmentation total")]
    half = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert totals == ["openvino", *["openvino-bf16"] * half, "onnxruntime"]
