"""The categories of config/categories.yaml: names, descriptions, symmetries, typical sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import yaml

from mkpose_ros.errors import InputError
from mkpose_ros.resources import share_path
from mkpose_ros.types import Symmetry

__all__ = ["HOUSECAT6D_CATEGORIES", "NOCS_CATEGORIES", "Category", "load_categories"]

NOCS_CATEGORIES = ("bottle", "bowl", "camera", "can", "laptop", "mug")  # class ids 1..6
HOUSECAT6D_CATEGORIES = (
    "box", "bottle", "can", "cup", "remote", "teapot", "cutlery", "glass", "shoe", "tube",
)  # fmt: skip  # class ids 1..10


@dataclass(frozen=True)
class Category:
    """What is known of a category before an object of it is seen."""

    name: str
    description: str
    symmetry: Symmetry
    mean_size_m: tuple[float, float, float] | None
    hidden_handle: bool = False  # continuous about y while its handle is hidden


@lru_cache(maxsize=8)
def load_categories(path: Path | None = None) -> Mapping[str, Category]:
    """The categories of a YAML file (default: the shipped one), by name. Raises InputError."""
    path = path or share_path("config", "categories.yaml")
    try:
        entries = yaml.safe_load(Path(path).read_text(encoding="utf-8"))["categories"]
        return {name: _category(name, entry) for name, entry in entries.items()}
    except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise InputError(
            f"categories file {path}: {error}. Expected a mapping `categories: {{name: {{description, symmetry}}}}`; "
            "compare with the shipped config/categories.yaml"
        ) from error


def _category(name: str, entry: Mapping) -> Category:
    symmetry = entry.get("symmetry") or {}
    size = entry.get("mean_size_m")
    return Category(
        name=name,
        description=str(entry["description"]),
        symmetry=Symmetry(tuple(symmetry.get("infinite", ())), tuple(symmetry.get("orders", (1, 1, 1)))),
        mean_size_m=tuple(float(v) for v in size) if size else None,
        hidden_handle=bool(entry.get("hidden_handle", False)),
    )
