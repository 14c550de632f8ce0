"""The C library's heap: what one frame frees stays at hand for the next one."""

from __future__ import annotations

import ctypes

__all__ = ["keep_freed_memory", "share_heaps"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # M_* of malloc.h
_KEPT_BYTES = 32 << 20  # free at the end of a thread's heap before any is given back
_HEAPS = 2  # the main thread's, and one for all others
_HEAP_BYTES = 4 << 20  # larger pieces than this (images beyond full HD) still get pages of their own


def keep_freed_memory() -> None:
    """Give back what loading the models has freed, and from now on keep what frames free; glibc only, else nothing.

    By default freed images go back to the kernel whenever a few megabytes are free, and each new page of the next
    frame's costs a fault: 700 of them, half a millisecond, at 640x480.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
        libc.mallopt(_MMAP_THRESHOLD, _HEAP_BYTES)
        libc.mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)


def share_heaps() -> None:
    """Let all threads that start from now on share one heap; glibc only, else nothing.

    By default each of the thirty threads of middleware and engines gets one, up to eight a core, and keeps what it
    freed: 16 MB in all, while none of them allocates often enough to have to wait for another.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_ARENA_MAX, _HEAPS)
