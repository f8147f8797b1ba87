"""How busy this host and its disks are: percentages that say how much is left, 100 = all.

Source: proc_stat(5), Documentation/admin-guide/iostats.rst of the kernel.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

_PROC = Path("/proc")
SMOOTHING = 0.3
"""Weight of the newest second: single spikes count little."""
SYNC_GOOD_S = 0.05
"""A disk that syncs within it has all of its `sync` left; one that takes ten times as long, a tenth."""
SYNC_FORGET_S = 30.0
"""In so long without a sync half of what was measured is forgotten."""


def idle_ticks(text: str) -> tuple[int, int]:
    """(idle, all) processor ticks since the boot, from /proc/stat. Waiting for a disk is idleness here: `Disk` tells of that."""
    fields = [int(field) for field in text.partition("\n")[0].split()[1:9]]
    return fields[3] + fields[4], sum(fields)


def busy_ms(text: str, major: int, minor: int) -> int | None:
    """Milliseconds since the boot in which the device had something to do, from /proc/diskstats; None when it isn't listed."""
    for line in text.splitlines():
        fields = line.split()
        if len(fields) > 12 and fields[0] == str(major) and fields[1] == str(minor):
            return int(fields[12])
    return None


class Smoothed:
    """A percentage over time."""

    def __init__(self) -> None:
        self.value = 100.0

    def add(self, now: float) -> float:
        self.value += (max(0.0, min(100.0, now)) - self.value) * SMOOTHING
        return self.value


class Processor:
    """How idle the processors were since the last call."""

    def __init__(self) -> None:
        self._before = idle_ticks((_PROC / "stat").read_text())
        self._smoothed = Smoothed()

    def sample(self) -> float:
        idle, total = idle_ticks((_PROC / "stat").read_text())
        passed = total - self._before[1]
        if passed > 0:
            self._smoothed.add(100.0 * (idle - self._before[0]) / passed)
            self._before = idle, total
        return self._smoothed.value


class Disk:
    """How idle and how empty the disk under a folder is."""

    def __init__(self, path: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._monotonic = monotonic
        self._before: tuple[float, int] | None = None
        self._smoothed = Smoothed()

    def __repr__(self) -> str:
        return f"<Disk {self._path} io={self._smoothed.value:.0f}>"

    def sample(self) -> dict[str, float]:
        """io and space, as far as they can be known: no space when the folder is not there."""
        try:
            device = os.stat(self._path).st_dev
            space = os.statvfs(self._path)
        except OSError:
            return {"space": 0.0}
        found = {"space": round(100.0 * space.f_bavail / space.f_blocks, 2) if space.f_blocks else 0.0}
        busy = busy_ms((_PROC / "diskstats").read_text(), os.major(device), os.minor(device))
        if busy is not None:
            found["io"] = round(self._idle(busy), 1)
        return found

    def _idle(self, busy: int) -> float:
        now, before = self._monotonic(), self._before
        self._before = now, busy
        if before is not None and now > before[0]:
            self._smoothed.add(100.0 - (busy - before[1]) / (now - before[0]) / 10.0)
        return self._smoothed.value


class Latency:
    """How long synced writes took lately. Added to from any thread: plain assignments only."""

    __slots__ = ("_at", "_monotonic", "_seconds")

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._seconds: float | None = None
        self._at = 0.0

    def __repr__(self) -> str:
        return f"<Latency {'unknown' if self._seconds is None else f'{self._seconds * 1000:.1f} ms'}>"

    def add(self, seconds: float) -> None:
        before = self._seconds
        self._at = self._monotonic()
        self._seconds = seconds if before is None else before + (seconds - before) * SMOOTHING

    def sample(self) -> dict[str, float]:
        """latency_ms, and sync: the percentage of the speed of a good disk that is left. Nothing while nothing was synced."""
        if self._seconds is None:
            return {}
        seconds = self._seconds * 0.5 ** ((self._monotonic() - self._at) / SYNC_FORGET_S)
        return {"latency_ms": round(seconds * 1000, 1), "sync": round(100.0 * min(1.0, SYNC_GOOD_S / max(seconds, 1e-6)), 1)}
