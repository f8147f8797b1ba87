"""What of a bucket a mount shows under another name than its key: `frazil mount --check`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from fs.connection import Browse
from fs.name import show
from meta.protocol.folder import FOLDER_END, Node


@dataclass(frozen=True, slots=True)
class Oddity:
    """An object's key, the path that it is found under, and why that is another."""

    key: str
    path: str
    reason: str


async def oddities(connection: Browse, bucket: str, prefix: str = "") -> AsyncIterator[Oddity]:
    """Folder after folder; nothing is kept but the names on the way down. Raises: BucketNotFound."""
    folders = [(prefix, "")]
    while folders:
        folder, path = folders.pop()
        begin = ""
        while True:
            page = await connection.browse(bucket, folder, begin)
            for node in page.nodes:
                rest = node.key[len(folder) :]
                part = rest.removesuffix(FOLDER_END)
                shown = path + show(part, beside=node.shadowed)
                if rest.endswith(FOLDER_END):
                    folders.append((node.key, shown + "/"))
                reason = _reason(node, rest, part)
                if reason:
                    yield Oddity(node.key, shown, reason)
            if not page.begin:
                break
            begin = page.begin


def _reason(node: Node, rest: str, part: str) -> str:
    if not rest:
        return "a folder's own object has bytes" if node.row is not None and node.row.size else ""
    if node.shadowed:
        return "a folder has its name"
    if show(part) == part:
        return ""
    if not part:
        return "a part of the key is empty"
    return "a part of the key is no name that a path can hold"
