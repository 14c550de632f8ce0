from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mkpose_ros.errors import MkposeError, ModelError
from mkpose_ros.network.losses import total_loss
from mkpose_ros.training.batches import build_targets
from mkpose_ros.training.checkpoint import latest_checkpoint, load_state, load_weights, save_state
from mkpose_ros.training.config import save_train_config
from mkpose_ros.training.trainer import Trainer


def test_a_killed_run_goes_on_bit_for_bit(tiny):
    whole = Trainer(tiny("whole", "steps=8", "checkpoint_every=100"))
    whole.train()
    half = Trainer(tiny("half", "steps=8", "checkpoint_every=3"))
    for _ in range(3):
        half.train_step()
    half.save()
    half.train_step()  # lost with the kill
    half.close()
    resumed = Trainer(tiny("half", "steps=8", "checkpoint_every=100"), resume=True)
    assert resumed.step == 3
    resumed.train()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    for name, value in whole.ema.state_dict().items():
        assert torch.equal(value, resumed.ema.state_dict()[name]), name


def test_training_learns_and_leaves_its_traces(tiny, tmp_path):
    seen = []
    trainer = Trainer(tiny("run", "steps=40", "validate_every=20", "optim.lr=3e-3", "optim.ema_decay=0.8"))
    metrics = trainer.train(lambda _, means: seen.append(means["loss"]))
    assert sum(seen[-5:]) < 0.9 * sum(seen[:5])
    assert metrics["instances"] == 40
    run = tmp_path / "run"
    assert (run / "best.safetensors").exists()
    assert json.loads((run / "best.json").read_text())["step"] in (20, 40)
    groups = [json.loads(line)["group"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert groups.count("train") == 40
    assert groups.count("val") == 2
    assert list((run / "tensorboard").iterdir())


def test_a_frozen_backbone_keeps_its_weights(tiny):
    trainer = Trainer(tiny("run", "steps=3"))
    before = {k: v.clone() for k, v in trainer.model.image.backbone.state_dict().items()}
    trainer.train()
    after = trainer.model.image.backbone.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_a_run_folder_is_not_overwritten_without_resume(tiny):
    Trainer(tiny("run", "steps=2")).train()
    with pytest.raises(MkposeError, match="--resume"):
        Trainer(tiny("run", "steps=4"))


def test_a_termination_signal_ends_the_run_after_a_checkpoint(tiny, tmp_path):
    trainer = Trainer(tiny("run", "steps=100000", "validate_every=100000"))
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    trainer.train()
    assert 0 < trainer.step < 100000
    assert latest_checkpoint(tmp_path / "run").name == f"step-{trainer.step:08d}"


def test_a_budget_in_minutes_ends_the_run(tiny):
    trainer = Trainer(tiny("run", "steps=100000", "budget_min=0.01"))
    trainer.train()
    assert trainer.progress == 1.0
    assert 0 < trainer.step < 1000


def test_only_the_newest_checkpoint_stays_and_half_ones_do_not_count(tmp_path):
    for step in (1, 2):
        save_state(tmp_path, step, {"w": torch.ones(2)}, {"w": torch.zeros(2)}, {"optimizer": {}})
    (tmp_path / ".step-00000003.part").mkdir()
    assert latest_checkpoint(tmp_path).name == "step-00000002"
    assert len(list(tmp_path.glob("step-*"))) == 1
    weights, averaged, state = load_state(latest_checkpoint(tmp_path))
    assert (float(weights["w"].sum()), float(averaged["w"].sum()), state["step"]) == (2.0, 0.0, 2)


def test_damaged_weights_are_a_typed_error(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelError, match=r"w\.safetensors"):
        load_weights(tmp_path / "w.safetensors")


def test_the_averaged_weights_lag_behind_the_trained_ones(tiny, tmp_path):
    trainer = Trainer(tiny("run", "steps=5"))
    trainer.train()
    folder = latest_checkpoint(tmp_path / "run")
    model, ema = load_file(folder / "model.safetensors"), load_file(folder / "ema.safetensors")
    moved = [k for k in model if model[k].is_floating_point() and not torch.equal(model[k], ema[k])]
    assert moved
    assert not any("backbone" in k for k in moved)


def test_a_step_in_bfloat16_has_finite_gradients(tiny):
    trainer = Trainer(tiny("run", "steps=1"))
    batch, text, text_mask = trainer._batch()
    trainer.model.train()
    with torch.autocast("cpu", torch.bfloat16):
        output = trainer.model(batch.image, batch.points_m, batch.pixels, text, text_mask)
    output = type(output)(*(v if v is None else v.float() for v in output))
    loss, _ = total_loss(output, build_targets(batch), trainer.model.config, batch.points_m)
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in trainer.model.parameters() if p.grad is not None)
    trainer.close()


@pytest.mark.slow
def test_two_processes_train_as_one_and_only_one_writes(tiny, tmp_path):
    config = tiny("run", "steps=3", "validate_every=3")
    save_train_config(config, tmp_path / "config.yaml")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    command += ["mkpose_ros.cli", "train", "--config", str(tmp_path / "config.yaml"), f"out={tmp_path / 'run'}"]
    subprocess.run(command, check=True, timeout=300, cwd=Path(__file__).parents[2])
    assert latest_checkpoint(tmp_path / "run").name == "step-00000003"
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 4
