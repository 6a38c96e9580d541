"""What the C library does with memory that tensors give back."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
"""``mallopt``'s parameters, from glibc's malloc.h."""
_KEPT = {_MMAP_THRESHOLD: 1 << 30, _TRIM_THRESHOLD: (1 << 31) - 1, _TOP_PAD: 1 << 27}
_LARGEST_MMAP_THRESHOLD = 32 << 20
"""What an older glibc takes at most."""


def keep_freed_memory() -> bool:
    """Let this process keep freed memory for its next tensors.

    By default glibc maps every large block anew and gives it back at once, so that each training
    step on a CPU pays for tens of thousands of page faults, which are dear in virtual machines.
    What a process holds at its peak hardly changes; it is held until the process ends.

    Returns:
        Whether the C library could be told: not on macOS or musl, where nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    taken = [mallopt(option, value) for option, value in _KEPT.items()]
    if not taken[0]:
        taken[0] = mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
    return all(taken)
