"""Extended attributes that no object has: what the store knows of a file, and what a mount does.

user.frazil.key             the object's key;  user.frazil.etag: its ETag
user.frazil.storage_class   its storage class
user.frazil.restore         readable, cold or ongoing; setting it to Expedited, Standard or Bulk asks for a restore
user.frazil.stats           of the mount's root: JSON
"""

from __future__ import annotations

import errno
import json

from fs.change import Changes
from fs.cold import ATTRIBUTE, restore_text
from fs.inode import Inode
from fs.tree import Tree, failure
from meta.protocol.object import ObjectRow

PREFIX = "user.frazil."
STATS = PREFIX + "stats"
Stats = dict[str, int | str]


async def get(changes: Changes, tree: Tree, inode: Inode, name: str, stats: Stats) -> bytes:
    """Raises: OSError (ENODATA)."""
    if name == STATS and inode is tree.table.root:
        return json.dumps(stats).encode()
    row = await changes.row(inode)
    found = _of_row(row, name) if row is not None else None
    if found is None:
        raise failure(errno.ENODATA)
    return found.encode()


async def set_(changes: Changes, inode: Inode, name: str, value: bytes) -> None:
    """Raises: OSError (EPERM, EINVAL)."""
    if name != ATTRIBUTE:
        raise failure(errno.EPERM)
    await changes.ask_restore(inode, value.decode(errors="replace").strip())


def _of_row(row: ObjectRow, name: str) -> str | None:
    values = {
        "key": row.key,
        "etag": row.etag,
        "storage_class": row.storage_class,
        "restore": restore_text(row),
    }
    return values.get(name.removeprefix(PREFIX))
