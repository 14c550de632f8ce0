"""COCO instance annotations of a folder, as `mkpose synth` and others write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mkpose_ros.errors import InputError

__all__ = ["coco_files", "merged_annotations", "pictures_root"]

PATTERNS = ("*coco*.json", "annotations/*.json", "annotations.json", "*/annotations.json")  # the last: `mkpose synth`


def coco_files(folder: Path) -> list[Path]:
    """The COCO annotation files of a folder. Raises InputError when there are none."""
    files = sorted({file for pattern in PATTERNS for file in folder.glob(pattern)})
    if not files:
        raise InputError(f"{folder}: no COCO annotations; write some with `mkpose synth`")
    return files


def pictures_root(file: Path) -> Path:
    """The folder that the names in an annotation file start from."""
    return file.parent.parent if file.parent.name == "annotations" else file.parent


def merged_annotations(folder: Path, limit: int | None = None) -> tuple[dict[str, Any], dict[int, Path]]:
    """All annotation files of a folder as one, with new image and annotation ids, and where each image's file is."""
    images, annotations, categories, files = [], [], None, {}
    for file in coco_files(folder):
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            categories = categories or content["categories"]
            renamed = {}
            for entry in content["images"][: None if limit is None else limit - len(images)]:
                renamed[entry["id"]] = len(images) + 1
                images.append({**entry, "id": len(images) + 1})
                files[len(images)] = pictures_root(file) / entry["file_name"]
            for entry in content["annotations"]:
                if entry["image_id"] in renamed:
                    image_id = renamed[entry["image_id"]]
                    annotations.append({**entry, "id": len(annotations) + 1, "image_id": image_id})
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{file}: {error!r}; expected COCO instance annotations") from error
    if not images:
        raise InputError(f"{folder}: its COCO annotations name no picture")
    return {"images": images, "annotations": annotations, "categories": categories, "info": {}}, files
