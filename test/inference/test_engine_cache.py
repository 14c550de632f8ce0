"""The engine cache: one builder at a time, whole files only, and a plan even where nothing can be stored."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import time

import pytest

from mkpose_ros.errors import EngineError
from mkpose_ros.inference import engine_cache
from mkpose_ros.inference.engine_cache import EngineCache

FINGERPRINT = {"model": "abc", "gpu": "NVIDIA Fake 1", "batches": [1, 2]}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    return EngineCache(tmp_path / "cache")


def _never():
    raise AssertionError("nothing needs building")


def test_a_plan_is_built_once(cache):
    assert cache.plan("small", FINGERPRINT, lambda: b"plan") == b"plan"
    assert cache.plan("small", FINGERPRINT, _never) == b"plan"
    assert cache.path("small", FINGERPRINT).is_file()


def test_a_plan_may_hold_any_bytes(cache):
    plan = os.urandom(5000) + b"\nmkpose engine 1\n{}"
    cache.plan("small", FINGERPRINT, lambda: plan)
    assert cache.plan("small", FINGERPRINT, _never) == plan


def test_each_fingerprint_has_its_own_file(cache):
    cache.plan("small", FINGERPRINT, lambda: b"one")
    assert cache.plan("small", FINGERPRINT | {"gpu": "other"}, lambda: b"two") == b"two"
    assert cache.plan("small", FINGERPRINT, _never) == b"one"


def test_a_file_under_the_right_name_with_another_fingerprint_is_not_used(cache, caplog):
    cache.plan("small", FINGERPRINT, lambda: b"one")
    other = FINGERPRINT | {"gpu": "other"}
    cache.path("small", FINGERPRINT).rename(cache.path("small", other))
    assert cache.plan("small", other, lambda: b"two") == b"two"
    assert "it was built for something else" in caplog.text


def test_a_build_that_fails_stores_nothing_and_frees_the_lock(cache):
    def fail():
        raise EngineError("no")

    with pytest.raises(EngineError):
        cache.plan("small", FINGERPRINT, fail)
    assert [p.suffix for p in cache.folder.iterdir()] in ([".lock"], [])
    assert cache.plan("small", FINGERPRINT, lambda: b"plan") == b"plan"


def _build_in_a_process(folder, log):
    def build():
        with open(log, "a") as file:
            file.write("built\n")
        time.sleep(0.3)
        return b"plan"

    assert EngineCache(folder).plan("small", FINGERPRINT, build) == b"plan"


def test_two_processes_at_once_build_once(tmp_path):
    context = multiprocessing.get_context("fork")
    log = tmp_path / "log"
    processes = [context.Process(target=_build_in_a_process, args=(tmp_path / "cache", log)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(20)
    assert [p.exitcode for p in processes] == [0, 0, 0]
    assert log.read_text() == "built\n"


def _die_while_building(folder):
    EngineCache(folder).plan("small", FINGERPRINT, lambda: os._exit(3))


def test_a_process_that_dies_while_building_blocks_nobody(cache):
    process = multiprocessing.get_context("fork").Process(target=_die_while_building, args=(cache.folder,))
    process.start()
    process.join(20)
    assert process.exitcode == 3
    assert cache.plan("small", FINGERPRINT, lambda: b"plan") == b"plan"


def test_a_full_disk_costs_a_warning_and_the_fallback_keeps_the_plan(cache, monkeypatch, caplog):
    real = os.fsync

    def full(descriptor):
        if str(cache.folder) in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(engine_cache.os, "fsync", full)
    with caplog.at_level(logging.WARNING):
        assert cache.plan("small", FINGERPRINT, lambda: b"plan") == b"plan"
    assert "No space left on device" in caplog.text
    assert not list(cache.folder.glob("*.engine"))
    assert not list(cache.folder.glob("*.tmp"))
    assert cache.plan("small", FINGERPRINT, _never) == b"plan"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_fallback_folder_of_somebody_else_is_not_read(cache, tmp_path):
    (tmp_path / "file").write_text("in the way")
    EngineCache(tmp_path / "file" / "cache").plan("small", FINGERPRINT, lambda: b"plan")
    assert cache.plan("small", FINGERPRINT, _never) == b"plan"
    (kept,) = (tmp_path / "tmp").rglob("*.engine")
    os.chown(kept.parent, 12345, 12345)
    assert cache.plan("small", FINGERPRINT, lambda: b"our own") == b"our own"


def test_a_cache_that_can_not_be_made_falls_back_to_a_temporary_folder(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "file").write_text("in the way")
    cache = EngineCache(tmp_path / "file" / "cache")  # root may write read-only folders, but not below a file
    assert cache.plan("small", FINGERPRINT, lambda: b"plan") == b"plan"
    assert cache.plan("small", FINGERPRINT, _never) == b"plan"
    assert "can't be used" in caplog.text


def test_a_filled_folder_that_can_not_be_locked_is_still_read(cache, monkeypatch):
    cache.plan("small", FINGERPRINT, lambda: b"plan")

    def refuse(path, name):
        raise PermissionError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(engine_cache, "_acquire", refuse)
    assert cache.plan("small", FINGERPRINT, _never) == b"plan"


def test_where_nothing_can_be_stored_the_plan_is_built_in_memory(cache, monkeypatch):
    def refuse(path, name):
        raise PermissionError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(engine_cache, "_acquire", refuse)
    assert cache.plan("small", FINGERPRINT, lambda: b"plan") == b"plan"


def test_the_default_folder_is_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert EngineCache().folder == tmp_path / "mkpose_ros" / "engines"
