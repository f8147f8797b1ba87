"""What a server's processes hold and spend, read from /proc."""

from __future__ import annotations

import os
from pathlib import Path

MIB = 1024 * 1024


def family(pid: int) -> list[int]:
    """`pid` and all its descendants that still live."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for member in found:
        found += children.get(member, [])
    return found


def resident_mib(pid: int) -> float:
    """Resident memory: of one process its RSS; of several the sum of their proportional shares, since pages they share count once."""
    members = family(pid)
    if len(members) == 1:
        return _field_kib(Path(f"/proc/{pid}/status"), "VmRSS") / 1024
    return sum(_field_kib(Path(f"/proc/{member}/smaps_rollup"), "Pss") for member in members) / 1024


def cpu_seconds(pid: int) -> float:
    """Processor time, user and system, that the process and its descendants have used so far."""
    ticks = 0
    for member in family(pid):
        fields = _stat(member)
        if fields:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on (proc(5) numbers them from 3); empty when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _field_kib(path: Path, name: str) -> int:
    try:
        for line in path.read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0
