"""How the C library allocates this process's memory."""

from __future__ import annotations

import contextlib
import ctypes

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # of malloc.h


def keep_freed_memory() -> None:
    """Make the C library keep memory that is freed, and use it again.

    oneDNN allocates 170 MB in every step for the bfloat16 weight gradients of AlexNet's dense
    layers, and frees them. By default the kernel takes the pages back and clears new ones: 42,000
    page faults a step, a tenth of its time. Results do not change.
    """
    # Not Linux, or another C library: it is only slower.
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)  # large blocks come from the heap,
        libc.mallopt(M_TRIM_THRESHOLD, -1)  # which does not shrink
        libc.mallopt(M_ARENA_MAX, 1)  # other threads' heaps are too small for such blocks
