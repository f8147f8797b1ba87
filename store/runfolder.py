"""FIRST/run: what belongs to the processes of a running store, for others on its host."""

from __future__ import annotations

import os
from pathlib import Path

RUN = "run"
_METRICS = "metrics-*.sock"


def metrics_socket(directory: Path) -> Path:
    """Where this process shows its metrics."""
    return directory / RUN / _METRICS.replace("*", str(os.getpid()))


def metrics_sockets(directory: Path) -> list[Path]:
    """Those of the store's living processes. What a killed one left is removed."""
    found = []
    for path in sorted((directory / RUN).glob(_METRICS)):
        number = path.stem.rpartition("-")[2]
        if Path("/proc", number).exists():
            found.append(path)
        else:
            path.unlink(missing_ok=True)
    return found
