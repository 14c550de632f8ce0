"""Checkpoints: weights as safetensors, everything else loadable without unpickling code.

`<run>/step-00000500/` holds `model.safetensors`, `ema.safetensors` and `state.pt`. A folder appears by one rename, so
the newest one is always whole; older ones are removed after it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from mkpose_ros.errors import ModelError

__all__ = ["latest_checkpoint", "load_state", "load_weights", "save_state", "save_weights"]


def save_weights(path: Path, weights: dict[str, torch.Tensor]) -> None:
    """Write a state_dict to `path`, all or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    save_file({k: v.detach().cpu().contiguous().clone() for k, v in weights.items()}, temporary)
    temporary.replace(path)


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    """A state_dict from safetensors. Raises ModelError when the file is missing or damaged."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: {error}. Expected weights in the safetensors format") from error


def save_state(
    run: Path, step: int, model: dict[str, torch.Tensor], ema: dict[str, torch.Tensor], state: dict[str, Any]
) -> Path:
    """Write a checkpoint of `step` and remove the older ones; `state` holds tensors and plain values only."""
    temporary = run / f".step-{step:08d}.part"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_weights(temporary / "model.safetensors", model)
    save_weights(temporary / "ema.safetensors", ema)
    torch.save({"step": step, **state}, temporary / "state.pt")
    final = run / f"step-{step:08d}"
    shutil.rmtree(final, ignore_errors=True)
    temporary.rename(final)
    for older in _checkpoints(run)[:-1]:
        shutil.rmtree(older, ignore_errors=True)
    return final


def latest_checkpoint(run: Path) -> Path | None:
    """The newest whole checkpoint of a run folder, None when it has none."""
    found = _checkpoints(run)
    return found[-1] if found else None


def load_state(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], dict[str, Any]]:
    """(weights, averaged weights, state) of a checkpoint folder."""
    state = torch.load(folder / "state.pt", weights_only=True, map_location="cpu")
    return load_weights(folder / "model.safetensors"), load_weights(folder / "ema.safetensors"), state


def _checkpoints(run: Path) -> list[Path]:
    return sorted(run.glob("step-*"))
