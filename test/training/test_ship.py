from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from mkpose_ros.cli import cli
from mkpose_ros.errors import MkposeError, ModelError
from mkpose_ros.inference.metadata import read_metadata
from mkpose_ros.inference.refinement import Refiner
from mkpose_ros.network.config import load_config
from mkpose_ros.training.ablate import ROWS, run_ablations
from mkpose_ros.training.calibrate import Calibration
from mkpose_ros.training.card import write_card
from mkpose_ros.training.checkpoint import save_weights
from mkpose_ros.training.config import load_train_config
from mkpose_ros.training.setup import build_model
from mkpose_ros.training.ship import Shipment, ship
from mkpose_ros.training.trainer import Trainer


@pytest.mark.slow  # traces the network
def test_a_run_becomes_a_model_that_says_what_it_is(tiny, tmp_path):
    Trainer(tiny("run", "steps=4", "validate_every=4")).train()
    shipment = ship(tmp_path / "run", tmp_path / "models")
    metadata = read_metadata(tmp_path / "models" / "model.onnx")
    assert "mug" in metadata.categories
    assert not {"box", "shoe", "tube"} & set(metadata.categories)
    np.testing.assert_allclose(metadata.calibration["variance_scale"], shipment.calibration.variance_scale)
    assert metadata.calibration["pose_source"] == "refined"
    assert Refiner.from_metadata(metadata.calibration["refiner"]) is not None
    assert metadata.extra["training"]["steps"] == 4
    assert max(shipment.agreement["onnxruntime"].values()) < 1e-4
    card = (tmp_path / "models" / "README.md").read_text()
    assert "| bottle |" in card
    assert "Apache-2.0" in card


def test_notes_on_a_card_survive_a_new_card(tmp_path):
    rows = {"iou50": 12.0, "instances": 3}
    shipment = Shipment(
        Calibration(np.ones(6)), {"x": {"50": 49.0, "90": 91.0}}, {"zero-shot": rows}, {"mug": rows}, {}
    )
    training = {"steps": 4, "batch": 8, "minutes": 1.0}
    write_card(tmp_path, load_config("small"), training, shipment, ["mug"])
    card = tmp_path / "README.md"
    card.write_text(card.read_text().replace("None yet.", "Fails on cameras."))
    write_card(tmp_path, load_config("small"), training, shipment, ["mug"])
    assert "Fails on cameras." in card.read_text()
    assert "| zero-shot | 3 | - | 12.0 |" in card.read_text()
    assert "| x | 49.0 | 91.0 | - | - |" in card.read_text()
    assert card.read_text().count("Not measured yet on the test split") == 1


def test_a_run_without_weights_is_a_typed_error(tiny, tmp_path):
    Trainer(tiny("run", "steps=2")).close()
    with pytest.raises(MkposeError, match="train first"):
        ship(tmp_path / "run", tmp_path / "models")


def test_ablation_rows_switch_their_part_off_and_resume(tiny, tmp_path, shard_folder, monkeypatch):
    config = tiny("unused", "steps=2", "validate_every=2")
    seen = []

    class Recorder:
        progress, step = 1.0, 2

        def __init__(self, config, *, resume):
            seen.append(config.model_overrides.get("ablation", {}))

        def train(self):
            return {"5d2cm": 1.0}

    monkeypatch.setattr("mkpose_ros.training.ablate.Trainer", Recorder)
    rows = run_ablations("train_small", tmp_path / "ablation", [f"steps={config.steps}"])
    assert [row["method"] for row in rows] == list(ROWS)
    assert seen == [{switch: False} if switch else {} for switch in ROWS.values()]
    run_ablations("train_small", tmp_path / "ablation", [])
    assert len(seen) == len(ROWS)  # finished rows are read, not trained again
    assert json.loads((tmp_path / "ablation" / "full" / "result.json").read_text())["steps"] == 2
    assert load_train_config("train_small").model_overrides == {}


def test_the_papers_ablation_stands_beside_ours(tiny, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Training\n")
    rows = [{"method": name, "steps": 7, "5d2cm": 12.34, "median_rotation_deg": 9.0} for name in ROWS]
    for row in rows:
        folder = tmp_path / "runs" / (ROWS[row["method"]] or "full")
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(row))
    arguments = ["ablate", "--out", str(tmp_path / "runs"), "--page", str(page)]
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    lines = page.read_text().splitlines()
    assert lines[2:5:2] == ["<!-- ablation -->", "|---|" + "---|" * 11]
    assert lines[5] == "| w/o text | 7 | 12.3 | - | - | - | - | 9.0 | - | *53.3* | *72.4* | *83.2* |"
    assert len([line for line in lines if line.startswith("| ")]) == 1 + len(ROWS)


@pytest.mark.parametrize("switch", [s for s in ROWS.values() if s])
def test_a_row_starts_from_what_it_has_of_the_full_networks_weights(tiny, tmp_path, switch):
    full = build_model(tiny("full"))
    save_weights(tmp_path / "full.safetensors", full.state_dict())
    row = build_model(
        tiny("row", f"init={tmp_path / 'full.safetensors'}", f"model_overrides.ablation.{switch}=false", "seed=5")
    )
    theirs, own = full.state_dict(), row.state_dict()
    fits = {name for name in own if name in theirs and theirs[name].shape == own[name].shape}
    assert len(fits) > 0.9 * len(own)
    assert all(torch.equal(own[name], theirs[name]) for name in fits)


def test_the_full_network_does_not_start_from_part_of_its_weights(tiny, tmp_path):
    weights = build_model(tiny("full")).state_dict()
    weights.pop(next(iter(weights)))
    save_weights(tmp_path / "part.safetensors", weights)
    with pytest.raises(ModelError, match="Missing key"):
        build_model(tiny("row", f"init={tmp_path / 'part.safetensors'}"))
