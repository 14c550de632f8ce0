"""Small made-up training data: boxes of points with a coloured crop, no renderer needed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).parents[1] / "datasets"))
import drawn

from mkpose_ros.datasets import open_dataset
from mkpose_ros.datasets.samples import CropSamples
from mkpose_ros.training.config import load_train_config
from mkpose_ros.training.shards import write_shard

TINY = [
    "threads=1", "batch=8", "log_every=1", "optim.warmup_steps=2", "device=cpu", "augment.blur_share=0.5",
    "model_overrides.crop_px=32", "model_overrides.n_points=48", "model_overrides.n_keypoints=8",
    "model_overrides.d=16", "model_overrides.d_image=8", "model_overrides.d_point=16", "model_overrides.neighbors=4",
    "model_overrides.point=[{points: 16, radii_m: [0.05], samples: [4], widths: [[8, 8]], up: [16]}]",
]  # fmt: skip


def _made_up_samples(count: int, *, crop_px: int = 32, n_points: int = 96, seed: int = 0) -> CropSamples:
    """Visible surfaces of random boxes; the category alternates between mug and bottle (free about y)."""
    rng = np.random.default_rng(seed)
    rotation = Rotation.random(count, random_state=seed).as_matrix()
    size = rng.uniform(0.05, 0.2, (count, 3))
    local = rng.uniform(-0.5, 0.5, (count, n_points, 3)) * size[:, None]
    side = rng.integers(3, size=(count, n_points))
    half = np.take_along_axis(np.broadcast_to(size[:, None] / 2, local.shape), side[..., None], -1)
    np.put_along_axis(local, side[..., None], half, -1)  # three faces are seen
    points = np.einsum("bij,bnj->bni", rotation, local)
    centroid = points.mean(axis=1)
    bottle = np.arange(count) % 2 == 1
    return CropSamples(
        image=rng.integers(0, 255, (count, crop_px, crop_px, 3), dtype=np.uint8),
        points_m=(points - centroid[:, None]).astype(np.float16),
        pixels=rng.uniform(-1, 1, (count, n_points, 2)).astype(np.float16),
        centroid_m=(centroid + [0, 0, 1]).astype(np.float32),
        rotation=rotation.astype(np.float32),
        translation_m=-centroid.astype(np.float32),
        size_m=size.astype(np.float32),
        infinite=np.stack([np.zeros(count, bool), bottle, np.zeros(count, bool)], axis=1),
        orders=np.ones((count, 3), np.uint8),
        category=np.where(bottle, "bottle", "mug"),
        source=np.array([f"made/{i}" for i in range(count)]),
    )


@pytest.fixture(scope="session")
def made_up_samples():
    return _made_up_samples


@pytest.fixture
def shard_folder(tmp_path):
    folder = tmp_path / "crops"
    write_shard(folder / "a.safetensors", _made_up_samples(24, seed=1))
    write_shard(folder / "b.safetensors", _made_up_samples(16, seed=2))
    return folder


@pytest.fixture
def tiny(tmp_path, shard_folder):
    def config(name: str, *extra: str):
        data = [f"out={tmp_path / name}", f"data.shards=[{shard_folder}]", f"data.val_shards=[{shard_folder}]"]
        return load_train_config("train_small", [*TINY, *data, *extra])

    return config


@pytest.fixture
def test_scenes(tmp_path):
    """One frame with a camera and a laptop."""
    drawn.own_frame(tmp_path / "scenes", "test/00000/0000")
    return open_dataset(tmp_path / "scenes", "test")
