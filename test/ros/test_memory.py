"""Memory that one frame frees serves the next one."""

import ctypes
import os
import subprocess
import sys

import pytest

COUNT_FAULTS = """
import resource, sys, threading
import numpy as np
from mkpose_ros.ros.memory import keep_freed_memory

def frames():
    for frame in range(30):
        if frame == 10:
            before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
        images = [np.ones((480, 640), np.float32) for _ in range(6)]
        del images
    print((resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before) // 20)

if "keep" in sys.argv:
    keep_freed_memory()
thread = threading.Thread(target=frames)  # as the inference thread: with a heap of its own
thread.start()
thread.join()
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_pages_of_a_frame_are_not_asked_of_the_kernel_again():
    by_default, kept = _faults_a_frame(), _faults_a_frame("keep")
    assert kept < 50 < by_default  # one image alone has 300 pages


def _faults_a_frame(*words: str) -> int:
    command = [sys.executable, "-c", COUNT_FAULTS, *words]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
@pytest.mark.parametrize(("call", "expected"), [("", 8), ("share_heaps()", 2)])
def test_threads_share_one_heap_beside_the_main_threads(call, expected, tmp_path):
    script = f"""
import ctypes, sys, threading
from mkpose_ros.ros.memory import share_heaps
{call}
libc, done = ctypes.CDLL(None), threading.Barrier(9)
libc.malloc.restype, libc.fopen.restype = ctypes.c_void_p, ctypes.c_void_p

def work():
    libc.malloc(10_000)
    done.wait()

threads = [threading.Thread(target=work) for _ in range(8)]
[t.start() for t in threads]
done.wait()
file = ctypes.c_void_p(libc.fopen({str(tmp_path / "heaps.xml").encode()!r}, b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""
    environment = {k: v for k, v in os.environ.items() if k != "MALLOC_ARENA_MAX"}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)
    heaps = (tmp_path / "heaps.xml").read_text().count("<heap nr=")
    assert heaps <= expected if call else heaps >= expected
