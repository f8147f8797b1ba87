"""Takes volumes away from a stopped store, so that one object has lost as many data chunks as its code tolerates."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from benchmarks.load import LoadFailed

RECORD_ATTRIBUTE = "user.frazil.chunk"
SIDECAR = ".record"


class Place(msgspec.Struct):
    """What this needs of a chunk's record."""

    bucket: str
    key: str
    position: int = 0


def places(volume: Path) -> Iterator[Place]:
    """The records of a volume's chunks, from their attribute or the sidecar."""
    for chunk in volume.glob("[0-9a-f][0-9a-f][0-9a-f]/*"):
        if chunk.suffix == SIDECAR:
            continue
        try:
            record = os.getxattr(chunk, RECORD_ATTRIBUTE)
        except OSError:
            sidecar = chunk.with_name(chunk.name + SIDECAR)
            if not sidecar.exists():
                continue
            record = sidecar.read_bytes()
        yield msgspec.json.decode(record, type=Place)


def take_away(directory: Path, bucket: str, key: str, count: int) -> list[Path]:
    """Moves the volumes with data chunks 0..count-1 of the object beside the store; returns where they were.

    Raises LoadFailed when they aren't there.
    """
    volumes = sorted(path for path in (directory / "volumes").iterdir() if path.is_dir())

    def holds(volume: Path) -> bool:
        return any(place.bucket == bucket and place.key == key and place.position < count for place in places(volume))

    holders = [volume for volume in volumes if holds(volume)]
    if len(holders) != count:
        raise LoadFailed(f"{len(holders)} volumes hold the first {count} data chunks of {key}; is it stored as 6+3 on nine?")
    away = directory.with_name(directory.name + "-away")
    away.mkdir()
    for volume in holders:
        volume.rename(away / volume.name)
    return holders
