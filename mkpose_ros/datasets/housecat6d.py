"""HouseCat6D: scene folders with rgb, depth, instance and labels; 1096x852 pixels, ten household categories."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mkpose_ros.categories import HOUSECAT6D_CATEGORIES
from mkpose_ros.datasets.base import Dataset, Faults, checked_truth
from mkpose_ros.datasets.images import read_color, read_depth_m, read_mask
from mkpose_ros.datasets.pickles import load_pickle
from mkpose_ros.errors import InputError
from mkpose_ros.geometry.camera import intrinsics_from_matrix
from mkpose_ros.types import CameraIntrinsics, FrameSample, ObjectTruth, RgbdFrame

__all__ = ["HousecatFrame", "open_housecat6d"]

SCENE_PREFIXES = {"train": "scene", "val": "val_scene", "test": "test_scene"}
LABEL_FIELDS = ("instance_ids", "class_ids", "rotations", "translations", "gt_scales")


def open_housecat6d(path: Path, split: str | None = None) -> Dataset | None:
    """The frames of the scenes in path (or of path, a scene), or those of a split; None when there is not one."""
    frames = tuple(
        HousecatFrame(scene, image.stem)
        for scene in _scenes(path, split)
        for image in sorted((scene / "rgb").glob("*.png"))
    )
    return Dataset("housecat6d", HOUSECAT6D_CATEGORIES, frames) if frames else None


def _scenes(path: Path, split: str | None) -> Iterator[Path]:
    prefix = SCENE_PREFIXES.get(split, split) if split else ""
    # Two levels at most: a search of everything below would walk through all files of CAMERA25 first.
    for scene in (path, *sorted(path.glob("*scene*")), *sorted(path.glob("*/*scene*"))):
        is_scene = (scene / "rgb").is_dir() and (scene / "labels").is_dir()
        if is_scene and scene.name.startswith(prefix):
            yield scene


@dataclass(frozen=True)
class HousecatFrame:
    """One frame: `<scene>/rgb/<number>.png` with files of the same number in depth, instance and labels."""

    scene: Path
    number: str

    @property
    def name(self) -> str:
        """Such as "test_scene1/000000"."""
        return f"{self.scene.name}/{self.number}"

    @property
    def split(self) -> str:
        """ "train", "val" or "test"."""
        return next((s for s in ("val", "test") if self.scene.name.startswith(f"{s}_")), "train")

    def companions(self) -> dict[str, bool]:
        """Which kinds of files this frame has."""
        images = {folder: (self.scene / folder / f"{self.number}.png").is_file() for folder in ("depth", "instance")}
        return images | {
            "labels": (self.scene / "labels" / f"{self.number}_label.pkl").is_file(),
            "intrinsics.txt": (self.scene / "intrinsics.txt").is_file(),
        }

    def load(self, faults: Faults) -> FrameSample:
        """Read the frame; see FrameSource."""
        rgb = read_color(self.scene / "rgb" / f"{self.number}.png")
        shape = rgb.shape[:2]
        depth_m = read_depth_m(self.scene / "depth" / f"{self.number}.png", shape)
        frame = RgbdFrame(rgb, depth_m, _read_intrinsics(self.scene / "intrinsics.txt", shape))
        ids = read_mask(self.scene / "instance" / f"{self.number}.png", shape)
        if not ids.any():
            faults.note(self.scene / "instance" / f"{self.number}.png", "the mask holds no instance")
        return FrameSample(frame, ids, tuple(self._truths(ids, faults)), self.name)

    def _truths(self, ids: np.ndarray, faults: Faults) -> Iterator[ObjectTruth]:
        path = self.scene / "labels" / f"{self.number}_label.pkl"
        label = load_pickle(path)
        missing = [f for f in LABEL_FIELDS if not isinstance(label, dict) or f not in label]
        if missing:
            raise InputError(f"{path}: no {', '.join(missing)}; expected a HouseCat6D label")
        models = label.get("model_list", label["instance_ids"])
        seen = set(np.unique(ids).tolist())
        for index, instance_id in enumerate(label["instance_ids"]):
            if int(instance_id) not in seen:
                continue
            try:
                yield checked_truth(
                    instance_id=int(instance_id),
                    category=_category(label["class_ids"][index]),
                    model=str(models[index]),
                    rotation=label["rotations"][index],
                    translation_m=np.ravel(label["translations"][index]),
                    size_m=np.ravel(label["gt_scales"][index]),  # metric extents, unlike NOCS's field of that name
                )
            except (InputError, IndexError, TypeError, ValueError) as error:
                faults.note(path, str(error))


def _category(class_id: int) -> str:
    if not 1 <= int(class_id) <= len(HOUSECAT6D_CATEGORIES):
        raise InputError(f"class {class_id}; expected 1 to {len(HOUSECAT6D_CATEGORIES)}; object skipped")
    return HOUSECAT6D_CATEGORIES[int(class_id) - 1]


def _read_intrinsics(path: Path, shape: tuple[int, int]) -> CameraIntrinsics:
    try:
        K = np.loadtxt(path, dtype=np.float64).reshape(3, 3)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {error}; expected the nine numbers of a camera matrix") from error
    if not np.isfinite(K).all() or K[0, 0] <= 0.0 or K[1, 1] <= 0.0:
        raise InputError(f"{path}: {K.tolist()}; focal lengths must be positive")
    return intrinsics_from_matrix(K, shape[1], shape[0])
