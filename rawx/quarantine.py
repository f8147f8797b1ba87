"""The quarantine of a volume: damaged chunks that others took the place of, kept for a while in case somebody wants to look. Blocking."""

from __future__ import annotations

import os
import re

import msgspec

from node.errors import InvalidArgument, RecordCorrupt
from rawx import attributes
from rawx.attributes import SIDECAR_SUFFIX
from rawx.chunk import UNREADABLE, ChunkRecord
from rawx.health import Health
from rawx.housekeeping import QUARANTINE_ATTRIBUTE, QUARANTINE_FOLDER, REASON_SUFFIX, Quarantined
from rawx.protocol import QuarantinedChunk

LISTED_MAX = 1_000
_NAME = re.compile(r"[0-9a-f]{32,64}\.[0-9]{1,20}")


def listed_blocking(root: int, health: Health, after: str, limit: int) -> list[QuarantinedChunk]:
    """Raises: InvalidArgument, VolumeSick."""
    if not 0 < limit <= LISTED_MAX:
        raise InvalidArgument(f"a page lists 1 to {LISTED_MAX} chunks")
    try:
        folder = os.open(QUARANTINE_FOLDER, os.O_RDONLY | os.O_DIRECTORY, dir_fd=root)
        try:
            names = sorted(name for name in os.listdir(folder) if name > after and _NAME.fullmatch(name))
        finally:
            os.close(folder)
        looks = [_look(root, name) for name in names[:limit]]
    except OSError as error:
        raise health.read_failed(error, "listing the quarantine") from error
    return [look for look in looks if look is not None]


def _look(root: int, name: str) -> QuarantinedChunk | None:
    """None when it went meanwhile. Raises: OSError."""
    path = f"{QUARANTINE_FOLDER}/{name}"
    try:
        descriptor = os.open(path, os.O_RDONLY, dir_fd=root)
    except FileNotFoundError:
        return None
    try:
        note = _note(descriptor, root, path)
        try:
            record: ChunkRecord | None = attributes.read(descriptor, root, path).record
        except (RecordCorrupt, OSError):
            record = None
        return QuarantinedChunk(name, note.reason, note.time_us, os.fstat(descriptor).st_size, record)
    finally:
        os.close(descriptor)


def _note(descriptor: int, root: int, path: str) -> Quarantined:
    """What was noted when it came here; a crash may have come between."""
    try:
        return msgspec.json.decode(os.getxattr(descriptor, QUARANTINE_ATTRIBUTE), type=Quarantined)
    except (OSError, *UNREADABLE):
        pass
    try:
        file = os.open(path + REASON_SUFFIX, os.O_RDONLY, dir_fd=root)
    except OSError:
        return Quarantined("", int(path.rpartition(".")[2]))
    try:
        return msgspec.json.decode(os.read(file, 4_096), type=Quarantined)
    except UNREADABLE:
        return Quarantined("", int(path.rpartition(".")[2]))
    finally:
        os.close(file)


def purge_blocking(root: int, health: Health, names: list[str]) -> None:
    """Deletes what lies there under these names; what is gone is gone. Raises: InvalidArgument, VolumeSick, VolumeReadOnly."""
    for name in names:
        if not _NAME.fullmatch(name):
            raise InvalidArgument("a chunk in quarantine is named by its id and the time")
    try:
        for name in names:
            for suffix in (SIDECAR_SUFFIX, REASON_SUFFIX, ""):
                try:
                    os.unlink(f"{QUARANTINE_FOLDER}/{name}{suffix}", dir_fd=root)
                except FileNotFoundError:
                    continue
    except OSError as error:
        raise health.write_failed(error, "purging the quarantine") from error
