"""Where the package's own files are: in a source checkout, or under the share folder of an install."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mkpose_ros.errors import MkposeError

__all__ = ["cache_path", "share_path"]


def share_path(*parts: str) -> Path:
    """The path of a shipped file, such as share_path("config", "categories.yaml").

    Searched in the source checkout, the prefixes of AMENT_PREFIX_PATH and the running Python's prefix.
    Raises MkposeError that lists the places when the file is in none of them.
    """
    package = Path(__file__).resolve().parent
    prefixes = [p for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    roots = [package.parent, *(Path(p) / "share" / "mkpose_ros" for p in [*prefixes, sys.prefix])]
    for root in roots:
        candidate = root.joinpath(*parts)
        if candidate.exists():
            return candidate
    places = ", ".join(str(root) for root in roots)
    raise MkposeError(f"{Path(*parts)} is not in {places}: install mkpose_ros again")


def cache_path(*parts: str) -> Path:
    """A path under the user's cache folder (XDG_CACHE_HOME or ~/.cache) of this package; not created."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).joinpath("mkpose_ros", *parts)
