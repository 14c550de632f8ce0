"""What an exported model says about itself, read from the ONNX file without loading any engine."""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mkpose_ros.errors import ModelError

__all__ = ["FORMAT_VERSION", "ModelMetadata", "file_hash", "parse_metadata", "read_metadata"]

FORMAT_VERSION = 1  # of checkpoints and exported models: inputs, outputs, metadata; raised when a meaning changes
METADATA_KEY = "mkpose"  # of the ONNX metadata_props entry that holds the JSON
METADATA_PROPS_FIELD = 14  # onnx.proto: ModelProto.metadata_props


@dataclass(frozen=True)
class ModelMetadata:
    """The contract between `mkpose export` and the engines."""

    format_version: int
    size: str  # "small", "base" or a name of the user's own
    crop_px: int  # S, the side of the square crop
    n_points: int  # N, points of each instance
    categories: tuple[str, ...]  # the categories trained on
    text_hash: str  # of the text features trained on; empty if not recorded
    calibration: Mapping[str, Any]  # how log_variance becomes a covariance; see inference/covariance.py
    extra: Mapping[str, Any]  # everything else, such as training data and figures
    n_centres: int | None = None  # so many of the points come first, in farthest-point order; None: half of them


def read_metadata(path: Path) -> ModelMetadata:
    """The metadata of an exported ONNX file. Raises ModelError naming the path and what to do."""
    path = Path(path)
    if not path.is_file():
        raise ModelError(
            f"model {path} is not a file: give a model.onnx written by `mkpose export`, or a folder with one"
        )
    for key, value in _metadata_props(path):
        if key == METADATA_KEY:
            return parse_metadata(value, path)
    raise ModelError(f"model {path} has no `{METADATA_KEY}` metadata: it is not a file that `mkpose export` wrote")


def parse_metadata(text: str, path: Path) -> ModelMetadata:
    """The metadata in JSON ``text`` that belongs to the model at ``path``. Raises ModelError."""
    try:
        values = dict(json.loads(text))
        version = int(values.pop("format_version"))
        if version != FORMAT_VERSION:
            age = "newer: update mkpose_ros" if version > FORMAT_VERSION else "older: run `mkpose export` again"
            raise ModelError(
                f"model {path} has format version {version}, this mkpose_ros reads {FORMAT_VERSION}; the model is {age}"
            )
        return ModelMetadata(
            format_version=version,
            size=str(values.pop("size")),
            crop_px=int(values.pop("crop_px")),
            n_points=int(values.pop("n_points")),
            categories=tuple(values.pop("categories")),
            text_hash=str(values.pop("text_hash", "")),
            calibration=dict(values.pop("calibration", None) or {}),
            n_centres=values.pop("n_centres", None),
            extra=values,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"model {path}: its metadata lacks or garbles {error}; run `mkpose export` again to write it anew"
        ) from error


def file_hash(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file)


def _digest(file: Any) -> str:
    digest = hashlib.sha256()  # Python 3.10 has no file_digest
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _metadata_props(path: Path) -> Iterator[tuple[str, str]]:
    """Key and value of each metadata_props entry; the weights are skipped, not read."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for field, content in _fields(data, 0, len(data)):
                if field == METADATA_PROPS_FIELD:
                    entry = bytes(data[content])
                    parts = {number: entry[span].decode() for number, span in _fields(entry, 0, len(entry))}
                    yield parts.get(1, ""), parts.get(2, "")
    except (IndexError, ValueError) as error:
        raise ModelError(
            f"model {path} is damaged ({error or 'it ends too early'}): copy it again, or run `mkpose export`"
        ) from error


def _fields(data: Any, position: int, end: int) -> Iterator[tuple[int, slice]]:
    """Number and content of each length-delimited field of a protocol-buffer message; other fields are skipped."""
    while position < end:
        tag, position = _varint(data, position)
        field, wire_type = tag >> 3, tag & 7
        if wire_type == 0:
            _, position = _varint(data, position)
        elif wire_type in (1, 5):
            position += 8 if wire_type == 1 else 4
        elif wire_type == 2:
            length, position = _varint(data, position)
            yield field, slice(position, position + length)
            position += length
        else:
            raise ValueError(f"not an ONNX file: wire type {wire_type} at byte {position}")
    if position != end:
        raise ValueError(f"a field ends at byte {position}, the file at {end}")


def _varint(data: Any, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
