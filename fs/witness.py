"""Whether a move whose answer was lost has happened: told by one object of what was moved, whose content keeps its id under any key."""

from __future__ import annotations

from dataclasses import dataclass

from fs.connection import Connection
from meta.protocol.folder import FOLDER_END
from node.errors import ObjectNotFound


@dataclass(frozen=True, slots=True)
class Witness:
    """rest: what of its key is behind the place, "" for an object that is the place itself."""

    rest: str
    content: str

    async def is_at(self, connection: Connection, bucket: str, place: str) -> bool:
        return self.content == await _content(connection, bucket, place + self.rest)


async def witness_of(connection: Connection, bucket: str, place: str) -> Witness | None:
    """Of an object or, by its prefix, a folder; None when nothing is there."""
    if not place.endswith(FOLDER_END):
        content = await _content(connection, bucket, place)
        return Witness("", content) if content else None
    prefix = place
    while nodes := (await connection.browse(bucket, prefix, limit=1)).nodes:
        if nodes[0].row is not None:
            return Witness(nodes[0].key[len(place) :], nodes[0].row.content)
        prefix = nodes[0].key
    return None


async def _content(connection: Connection, bucket: str, key: str) -> str:
    try:
        return (await connection.row(bucket, key)).content
    except ObjectNotFound:
        return ""
