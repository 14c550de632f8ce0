"""The timing rows of segmentation: their keys, and that a counted model finds what it was told to."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from mkpose_ros.bench.segmentation import bench_segmentation, with_object_count  # noqa: E402
from mkpose_ros.segmentation.maskrcnn.config import MaskRcnnConfig  # noqa: E402
from mkpose_ros.segmentation.maskrcnn.export import write_onnx  # noqa: E402
from mkpose_ros.segmentation.maskrcnn.model import MaskRcnn  # noqa: E402
from mkpose_ros.segmentation.onnx_maskrcnn import OnnxMaskRcnn  # noqa: E402


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
    assert names == [
        f"segmentation {stage}, 2 objects" for stage in ("preprocess", "network", "paste", "total", "clean-up")
    ]
    keys = {"name", "backend", "model", "batch", "threads", "median_ms", "p95_ms", "p99_ms", "per_s", "rss_mb"}
    assert all(set(row) == keys and row["median_ms"] > 0 for row in rows)
