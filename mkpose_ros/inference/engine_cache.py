"""A folder of built engines that can be trusted: fingerprinted, locked, written atomically, rebuilt by itself."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from mkpose_ros.resources import cache_path

__all__ = ["EngineCache"]

MAGIC = b"mkpose engine 1\n"  # then the length of the header in decimal digits and a newline, the header, the plan

logger = logging.getLogger(__name__)


class EngineCache:
    """Plans (serialised engines) by fingerprint.

    A fingerprint holds everything that a plan depends on: the model's hash, the builder's version, the GPU, the
    precision, the batches. It is part of the file's name and of its header, and the header also holds the plan's
    hash, so that a plan of another model or GPU, a truncated or a damaged file is recognised before it is loaded.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """``folder``: None for the user's cache folder. Where it can't be written, a folder in /tmp stands in."""
        self.folder = Path(folder) if folder else cache_path("engines")
        self._fallback = Path(tempfile.gettempdir()) / f"mkpose_ros_{os.getuid()}" / "engines"

    def path(self, name: str, fingerprint: Mapping[str, object]) -> Path:
        """Where the plan of a model ``name`` with this fingerprint lies, or would lie."""
        return self.folder / f"{name}-{_digest(_canonical(fingerprint))[:16]}.engine"

    def plan(
        self, name: str, fingerprint: Mapping[str, object], build: Callable[[], bytes], *, rebuild: bool = False
    ) -> bytes:
        """The plan with this fingerprint, built and stored if there is none that is whole, or if ``rebuild``.

        One process builds at a time; another that wants the same plan waits for it. A folder that can't be written
        or is full costs a warning, not the plan. What ``build`` raises is passed on, and nothing is stored then.
        """
        for folder in (self.folder, self._fallback):
            path = folder / self.path(name, fingerprint).name
            try:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                lock = _acquire(path.with_suffix(".lock"), name)
            except OSError as error:
                if not rebuild and (plan := self._stored(path.name, fingerprint)) is not None:
                    return plan  # a read-only folder that was filled beforehand
                logger.warning("engine cache %s can't be used: %s", folder, error)
                continue
            with lock:
                if not rebuild and (plan := self._stored(path.name, fingerprint)) is not None:
                    return plan
                plan = _build(name, build)
                if not _write(path, fingerprint, plan) and folder != self._fallback:
                    self._keep_elsewhere(path.name, fingerprint, plan)
                return plan
        return _build(name, build)

    def _stored(self, file_name: str, fingerprint: Mapping[str, object]) -> bytes | None:
        """The plan in either folder; the fallback holds it where the first one was full."""
        plan = _read(self.folder / file_name, fingerprint)
        if plan is None and _is_ours(self._fallback):
            plan = _read(self._fallback / file_name, fingerprint)
        return plan

    def _keep_elsewhere(self, file_name: str, fingerprint: Mapping[str, object], plan: bytes) -> None:
        with suppress(OSError):
            self._fallback.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write(self._fallback / file_name, fingerprint, plan)


def _acquire(path: Path, name: str) -> AbstractContextManager:
    """The lock, taken; leaving the context frees it. The system frees the lock of a process that dies."""
    lock = FileLock(path)
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        logger.info("engine %s: another process is building it; waiting (lock %s)", name, path)
        return lock.acquire()


def _is_ours(folder: Path) -> bool:
    """Whether a folder is there and nobody else's: anybody may make one of any name in /tmp, and plans are code."""
    try:
        return folder.stat().st_uid == os.getuid()
    except OSError:
        return False


def _build(name: str, build: Callable[[], bytes]) -> bytes:
    logger.warning("engine %s: building for this GPU; this takes minutes and happens once", name)
    plan = build()
    logger.info("engine %s: built, %.1f MB", name, len(plan) / 1e6)
    return plan


def _read(path: Path, fingerprint: Mapping[str, object]) -> bytes | None:
    """The plan of a file if it is whole and has this fingerprint; None, with the reason logged, if not."""
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        logger.warning("engine file %s can't be read (%s): building anew", path, error)
        return None
    fault = "it is not an engine file of mkpose_ros"
    with suppress(ValueError):
        if content.startswith(MAGIC):
            digits, _, rest = content[len(MAGIC) :].partition(b"\n")
            header, plan = json.loads(rest[: int(digits)]), rest[int(digits) :]
            if header["fingerprint"] != json.loads(_canonical(fingerprint)):
                fault = "it was built for something else"
            elif header["plan_hash"] != _digest(plan):
                fault = "it is damaged"
            else:
                return plan
    logger.warning("engine file %s: %s; building anew", path, fault)
    return None


def _write(path: Path, fingerprint: Mapping[str, object], plan: bytes) -> bool:
    """Store a plan so that a reader sees the old file or the whole new one; False, logged, where that fails."""
    header = json.dumps({"fingerprint": json.loads(_canonical(fingerprint)), "plan_hash": _digest(plan)}).encode()
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.stem, suffix=".tmp", delete=False) as file:
            temporary = Path(file.name)
            file.write(MAGIC + f"{len(header)}\n".encode() + header)
            file.write(plan)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        logger.warning("engine file %s can't be stored: %s", path, error)
        if temporary:
            temporary.unlink(missing_ok=True)
        return False
    logger.info("engine file %s stored", path)
    return True


def _canonical(fingerprint: Mapping[str, object]) -> bytes:
    return json.dumps(fingerprint, sort_keys=True).encode()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
