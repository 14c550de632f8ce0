"""Settings of a long job: a YAML file plus `key=value` overrides, checked against a dataclass by OmegaConf."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from mkpose_ros.errors import InputError
from mkpose_ros.resources import share_path

__all__ = ["checked_settings", "load_settings", "settings_file"]

Schema = TypeVar("Schema")


def settings_file(name: str | Path) -> Path:
    """The file `name`, or the shipped one of that name ("train_small"). Raises InputError where there is neither."""
    path, folder = Path(name), share_path("config")
    shipped = folder / (path.name if path.suffix else f"{path.name}.yaml")
    if path.is_file():
        return path
    if path.parent == Path() and shipped.is_file():
        return shipped
    raise InputError(f"settings {name}: no such file, and none shipped in {folder} has that name; give the path of one")


def load_settings(schema: type[Schema], name: str | Path, overrides: Sequence[str], hint: str) -> Schema:
    """The dataclass `schema` of a YAML file (a path or a shipped name) with overrides applied ("train.steps=100").

    Raises InputError that names the file and the key when the file cannot be read or a key is unknown, missing or of
    the wrong type; `hint` says where the right ones are.
    """
    file = settings_file(name)
    where = f"settings {file}" + (f" with {list(overrides)}" if overrides else "")
    try:
        given = OmegaConf.merge(OmegaConf.load(file), OmegaConf.from_dotlist(list(overrides)))
    except (OmegaConfBaseException, OSError, TypeError, ValueError, YAMLError) as error:
        raise InputError(f"{where}: {_reason(error)}. {hint}") from error
    return checked_settings(schema, given, where, hint)


def checked_settings(schema: type[Schema], values: Any, where: str, hint: str) -> Schema:
    """The dataclass `schema` of nested plain values. Raises InputError, which begins with `where`, as above."""
    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), values))
    except InputError:
        raise
    except (OmegaConfBaseException, TypeError, ValueError) as error:
        raise InputError(f"{where}: {_reason(error)}. {hint}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, YAMLError):
        return f"no YAML: {' '.join(str(error).split())}"
    key, reason = getattr(error, "full_key", None), str(error).splitlines()[0]
    return f"{key}: {reason}" if key else reason
