"""The cold storage classes, and what a version of one says of the copy that can be read for a while."""

from __future__ import annotations

import msgspec

from meta.protocol.object import Attributes, ObjectRow

COLD_CLASSES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Their bytes may lie on sleeping disks: they are read after a restore only."""
RESTORE = "restore"
"""Name of a Restore in `Attributes.extra`."""


class Restore(msgspec.Struct, frozen=True, omit_defaults=True):
    """A restore that was asked for.

    days      how long the copy is to stay, of a lifecycle's days;  tier: "Expedited", "Standard" or "Bulk"
    asked_us  when it was asked for, first
    until_us  when the copy goes, 0 while it is not there yet
    """

    days: int
    tier: str
    asked_us: int
    until_us: int = 0

    @property
    def ongoing(self) -> bool:
        return not self.until_us

    def into(self, attributes: Attributes) -> Attributes:
        return msgspec.structs.replace(attributes, extra={**attributes.extra, RESTORE: msgspec.to_builtins(self)})


def restore_of(attributes: Attributes) -> Restore | None:
    """None when none was asked for, or it is over. Raises: msgspec.ValidationError."""
    value = attributes.extra.get(RESTORE)
    return None if value is None else msgspec.convert(value, Restore)


def without_restore(attributes: Attributes) -> Attributes:
    if RESTORE not in attributes.extra:
        return attributes
    return msgspec.structs.replace(attributes, extra={name: value for name, value in attributes.extra.items() if name != RESTORE})


def is_readable(row: ObjectRow, now_us: int) -> bool:
    """Whether S3 gives the version's bytes out: its class is not cold, or a restored copy is there."""
    if row.storage_class not in COLD_CLASSES:
        return True
    restore = restore_of(row.attributes)
    return restore is not None and restore.until_us > now_us


class ColdCursor(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a walk through what is due of the cold classes goes on."""

    due_us: int = -1
    key: str = ""
    version: int = 0


COLD_BEGIN = ColdCursor()


class ColdRow(msgspec.Struct, frozen=True):
    """A version whose bytes are to leave the volumes, or to come back, or whose restored copy goes; due_us: since when."""

    due_us: int
    row: ObjectRow

    @property
    def cursor(self) -> ColdCursor:
        return ColdCursor(self.due_us, self.row.key, self.row.version)
