"""Objects of the cold classes: what opening their bytes does, and what the attributes `user.frazil.restore` and `.storage_class` show."""

from __future__ import annotations

import contextlib
import errno
import os
import time

import trio

from fs.connection import Connection
from meta.protocol.object import ObjectRow
from meta.protocol.restore import Restore, is_readable, restore_of
from node.errors import ObjectNotFound, Superseded
from node.log import get_logger

RESTORE_DAYS = 1
TIERS = ("Expedited", "Standard", "Bulk")
TIER_DEFAULT = "Standard"
ATTRIBUTE = "user.frazil.restore"
POLL_S = 5.0
WAIT_S = 24 * 3600.0
"""How long a read waits for a restore: a Bulk one may take twelve hours. An interrupted program stops waiting at once."""
log = get_logger("fs.cold")


class Cold:
    """mode: of fs.option.COLD."""

    def __init__(self, connection: Connection, mode: str) -> None:
        self._connection, self._mode = connection, mode

    def __repr__(self) -> str:
        return f"<Cold {self._mode}>"

    def is_readable(self, row: ObjectRow) -> bool:
        return is_readable(row, _now_us())

    async def readable(self, bucket: str, row: ObjectRow) -> ObjectRow:
        """The version as it is once its bytes can be read. Raises: OSError (EIO when they can't, ESTALE when it is gone meanwhile)."""
        if is_readable(row, _now_us()):
            return row
        row = await self._row(bucket, row)  # it was opened some time ago
        if self._mode == "error" and not is_readable(row, _now_us()):
            log.warning(
                "%s/%s is in class %s: set its attribute user.frazil.restore to have it restored", bucket, row.key, row.storage_class
            )
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        with trio.move_on_after(WAIT_S):
            while not is_readable(row, _now_us()):
                if self._mode == "restore":
                    with contextlib.suppress(Superseded):  # somebody else asked, or an earlier restore just ended
                        await self.ask(bucket, row, TIER_DEFAULT)
                await trio.sleep(POLL_S)
                row = await self._row(bucket, row)
            return row
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async def ask(self, bucket: str, row: ObjectRow, tier: str) -> None:
        """Has it restored for a day. Raises: OSError (EINVAL)."""
        if tier not in TIERS:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        old = restore_of(row.attributes)
        if not is_readable(row, _now_us()) and (old is None or not old.ongoing):
            await self._connection.restore(bucket, row, Restore(RESTORE_DAYS, tier, _now_us()))

    async def _row(self, bucket: str, row: ObjectRow) -> ObjectRow:
        try:
            now = await self._connection.row(bucket, row.key)
        except ObjectNotFound as error:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE)) from error
        if now.content != row.content:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return now


def restore_text(row: ObjectRow) -> str:
    """How it stands with its restore, in one word."""
    if is_readable(row, _now_us()):
        return "readable"
    restore = restore_of(row.attributes)
    return "ongoing" if restore is not None and restore.ongoing else "cold"


def _now_us() -> int:
    return time.time_ns() // 1_000
