"""Readers of the field's data sets and of our own scenes: every frame becomes a FrameSample."""

from __future__ import annotations

from pathlib import Path

from mkpose_ros.datasets.base import Dataset, Fault, Faults
from mkpose_ros.errors import InputError

__all__ = ["Dataset", "Fault", "Faults", "open_dataset"]


def open_dataset(path: Path | str, split: str | None = None, *, fill_depth: bool = False) -> Dataset:
    """The data set in a folder: the NOCS layout (CAMERA25, REAL275, `mkpose synth`) or HouseCat6D, found by looking.

    split is "train", "val" or "test", or longer, such as "real/test"; None takes every frame below path. fill_depth
    closes narrow holes in every depth image (geometry.depth.fill_holes), which the node does not do. Raises InputError
    when no frame is found.
    """
    from mkpose_ros.datasets.housecat6d import open_housecat6d
    from mkpose_ros.datasets.nocs import open_nocs

    root = Path(path).expanduser()
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; expected one with *_color.png or scene*/rgb/*.png below it")
    for opener in (open_housecat6d, open_nocs):
        dataset = opener(root, split)
        if dataset is not None:
            return dataset.filled() if fill_depth else dataset
    wanted = f"frames of the split {split!r}" if split else "frames"
    raise InputError(
        f"{root}: no {wanted}; expected *_color.png with _depth.png, _mask.png and _meta.txt (NOCS layout), or "
        "scene*/rgb/*.png with depth, instance and labels beside rgb (HouseCat6D)"
    )
