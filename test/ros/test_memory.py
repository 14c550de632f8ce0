"""Memory that one frame frees serves the next one."""

import ctypes
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
