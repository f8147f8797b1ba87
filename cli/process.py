"""What a serving process asks of the interpreter, the C library and the kernel, each with its reason."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import signal
import sys

SWITCH_INTERVAL_S = 0.0005
"""How soon a thread that comes back from a disk gets the interpreter. Python's 5 ms is a tenth of a second for twenty waiting writes."""
ARENAS_MAX = 2
"""glibc makes up to 8 heaps per core for threads; each keeps its own free memory. Our threads carry others' buffers: two are enough."""
MMAP_THRESHOLD_BYTES = (1 << 20) + (64 << 10)
"""Blocks from here on go back to the kernel when freed; those of a MiB, as FUSE takes and gives, don't: 500 us of page faults each time.
Naming it also stops glibc from raising it to 32 MiB, which keeps large buffers."""
TRIM_THRESHOLD_BYTES = 16 << 20
"""Free memory at the top of a heap that is kept for the next request."""
GC_THRESHOLDS = (20_000, 20, 50)
"""A request makes few cycles, and each collection stops the loop: thirty times rarer than Python's 700."""
FILES_MAX = 1_048_576

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
_PR_SET_PDEATHSIG = 1  # sys/prctl.h


def prepare() -> None:
    """At the start, before anything is opened: files are private, descriptors plenty, memory goes back."""
    os.umask(0o077)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    raise_file_limit()
    libc = ctypes.CDLL(None, use_errno=True)
    mallopt = getattr(libc, "mallopt", None)  # musl has none, and needs none
    if mallopt is not None:
        for parameter, value in (
            (_M_ARENA_MAX, ARENAS_MAX),
            (_M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES),
            (_M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES),
        ):
            mallopt(parameter, value)


def settle() -> None:
    """Once everything is loaded and open: what is there now stays for good and is no longer looked at by the collector."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def raise_file_limit() -> int:
    """Takes as many descriptors as the hard limit allows; how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, FILES_MAX)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft


def die_with(parent: int) -> None:
    """Has the kernel send SIGTERM to this process when its parent, which must be `parent`, ends.

    It is the thread that started us whose end counts, so the parent must start its children from its main thread.
    Raises: SystemExit when the parent ended before.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    if os.getppid() != parent:
        raise SystemExit(0)
