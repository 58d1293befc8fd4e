"""Memory that stays with the process between runs, so that time is work and not page faults.

glibc gives freed memory back to the system from some size on; the next run fetches it anew, and the system zeroes
every page. What is larger than that size is then dearer, up to twice, which looks like growth.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of mallopt, in malloc.h
_LARGEST = 32 << 20  # bytes: the largest MMAP_THRESHOLD; glibc gets there by itself once such a tensor was freed
_KEPT = 1 << 30  # bytes that may lie idle


@contextmanager
def kept_heap() -> Iterator[None]:
    """A block in which the C library keeps what is freed, tensors of 32 MB and more excepted, up to 1 GB.

    What lay idle before goes back to the system first, and what does afterwards at the end. From then on thresholds
    are those of a process that has freed large tensors. Without glibc nothing is changed.
    """
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    library = ctypes.CDLL(None)
    library.malloc_trim(0)
    library.mallopt(_MMAP_THRESHOLD, _LARGEST)
    library.mallopt(_TRIM_THRESHOLD, _KEPT)
    try:
        yield
    finally:
        library.mallopt(_TRIM_THRESHOLD, 2 * _LARGEST)
        library.malloc_trim(0)
