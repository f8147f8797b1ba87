"""The references of one run by name, each measured once, when the first figure asks for it."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from benchmarks import reference
from benchmarks.load import LoadFailed
from benchmarks.serving import ServerFailed

UNITS = {"bare": "per s", "md5": "MiB/s", "sha256": "MiB/s", "write": "per s", "sendfile": "MiB/s", "sqlite": "ms"}
ROUNDS = 3
"""The median of so many goes: a neighbour's burst must not become the yardstick."""
SECONDS_MAX = 1
SIZES = {"4k": 4096, "128k": 128 * 1024, "64m": 64 * reference.MIB}


class Yardsticks:
    """A mapping that fills itself: `bare-4k-16`, `md5`, `sha256`, `write-fsync-4k`, `sendfile`, `sqlite-1000`, `sqlite-1000-seeks`."""

    def __init__(self, directory: Path, seconds: int, rows: int) -> None:
        self.measured: dict[str, float] = {}
        self.failed: dict[str, str] = {}
        self._directory = directory
        self._seconds = min(seconds, SECONDS_MAX)
        self._rows = rows
        self._stack = ExitStack()
        self._bare_host: str | None = None

    def __enter__(self) -> Yardsticks:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def need(self, name: str) -> None:
        """Measures `name` unless it was. A reference that can't be measured is remembered with the reason; the figure stands without it."""
        if name in self.measured or name in self.failed:
            return
        try:
            self.measured[name] = self._measure(name)
        except (LoadFailed, ServerFailed, OSError) as error:
            self.failed[name] = str(error)
            print(f"reference {name}: {error}", file=sys.stderr)

    def _measure(self, name: str) -> float:
        kind, *rest = name.split("-")
        simple: Mapping[str, Callable[[], float]] = {
            "md5": lambda: reference.digest_mib_per_s("md5", self._seconds),
            "sha256": lambda: reference.digest_mib_per_s("sha256", self._seconds),
            "sendfile": lambda: reference.sendfile_mib_per_s(self._directory, self._seconds),
            "write": lambda: reference.synced_files_per_s(self._directory, SIZES[rest[-1]], self._seconds),
            "sqlite": lambda: self._sqlite(seeks=rest[-1] == "seeks"),
            "bare": lambda: reference.bare_rate(self._bare(), SIZES[rest[0]], int(rest[1]), self._seconds),
        }
        return statistics.median(simple[kind]() for _ in range(ROUNDS))

    def _sqlite(self, *, seeks: bool) -> float:
        with reference.rows_base(self._directory, self._rows) as base:
            return (reference.seeks_ms if seeks else reference.rows_ms)(base, self._rows, self._seconds)

    def _bare(self) -> str:
        if self._bare_host is None:
            self._bare_host = self._stack.enter_context(reference.bare_http(self._directory))
        return self._bare_host
