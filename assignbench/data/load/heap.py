"""Memory that stays with the process between runs, so that time is work and not page faults.

glibc gives freed memory back to the system from some size on; the next run fetches it anew, and the system zeroes
every page. What is larger than that size is then dearer, up to twice, which looks like growth.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of mallopt, in malloc.h
_LARGEST = 32 << 20  # bytes: the largest MMAP_THRESHOLD; glibc gets there by itself once such a tensor was freed
_OWN = 1 << 17  # bytes: glibc's MMAP_THRESHOLD until the first large tensor is freed
_KEPT = 1 << 30  # bytes that may lie idle


def keep_freed(idle: int) -> None:
    """Have the C library keep up to ``idle`` freed bytes, tensors of 32 MB and more excepted; nothing without glibc."""
    library = _glibc()
    if library is not None:
        library.mallopt(_MMAP_THRESHOLD, _LARGEST)
        library.mallopt(_TRIM_THRESHOLD, idle)


def keep_nothing() -> None:
    """Have the C library hand freed tensors of 128 kB or more back at once, so that memory in use can be seen.

    For the rest of the process; what lies idle goes back first. Nothing without glibc.
    """
    library = _glibc()
    if library is not None:
        library.mallopt(_MMAP_THRESHOLD, _OWN)
        library.mallopt(_TRIM_THRESHOLD, _OWN)
        library.malloc_trim(0)


def _glibc() -> Any:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


@contextmanager
def kept_heap() -> Iterator[None]:
    """A block in which the C library keeps what is freed, tensors of 32 MB and more excepted, up to 1 GB.

    What lay idle before goes back to the system first, and what does afterwards at the end. From then on thresholds
    are those of a process that has freed large tensors. Without glibc nothing is changed.
    """
    library = _glibc()
    if library is None:
        yield
        return
    library.malloc_trim(0)
    keep_freed(_KEPT)
    try:
        yield
    finally:
        library.mallopt(_TRIM_THRESHOLD, 2 * _LARGEST)
        library.malloc_trim(0)
