"""A cache of training samples on disk: rendering is paid once, augmentation stays on the fly.

A folder of `<seed>-<first frame>.safetensors` shards, each written whole (temporary file, then rename), so that a
killed rendering leaves no half shard and a running training picks new ones up.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from mkpose_ros.datasets.samples import CropSamples
from mkpose_ros.errors import InputError

__all__ = ["list_shards", "read_shard", "write_shard"]

_TEXT_FIELDS = ("category", "source")


def write_shard(path: Path, samples: CropSamples) -> None:
    """Write samples to `path` (.safetensors), all or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {
        f.name: np.ascontiguousarray(getattr(samples, f.name)) for f in fields(samples) if f.name not in _TEXT_FIELDS
    }
    texts = {name: json.dumps(getattr(samples, name).tolist()) for name in _TEXT_FIELDS}
    temporary = path.with_name(f".{path.name}.part")
    save_file(arrays, temporary, metadata={"format": "mkpose-crops-1", **texts})
    temporary.replace(path)


def read_shard(path: Path) -> CropSamples:
    """The samples of a shard. Raises InputError for a file that is none."""
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != "mkpose-crops-1":
                raise InputError(f"{path}: format {metadata.get('format')}, expected mkpose-crops-1; render it again")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: {error}. Expected a shard of training crops; delete it and render again") from error
    texts = {name: np.array(json.loads(metadata[name])) for name in _TEXT_FIELDS}
    return CropSamples(**arrays, **texts)


def list_shards(folders: tuple[Path, ...] | list[Path]) -> list[Path]:
    """The finished shards of the folders, in a fixed order."""
    return [path for folder in folders for path in sorted(Path(folder).glob("[!.]*.safetensors"))]
