"""Taking stock of a powered disk: what lies on it without the ledger knowing, as an interrupted deletion or a lost ledger left it."""

from __future__ import annotations

import msgspec

from glacier.backlog import Kind
from glacier.protocol import Freezer
from glacier.worker.core import Changes, Core
from glacier.worker.ledger import DELETE, ON_DISK, STRAY, Book, Entry
from node.errors import Damaged
from node.log import get_logger
from rawx.chunk import ChunkRecord

PAGE = 1_000
log = get_logger("glacier.worker")


async def take_stock(core: Core, freezer: Freezer, disk: int) -> None:
    """Raises: as Freezer.list."""
    after = ""
    while ids := await freezer.list(disk, after, PAGE):
        for chunk in await core.ledger.write(lambda book, ids=ids: [each for each in ids if _is_unknown(book, each, disk)]):  # type: ignore[misc]
            await _found(core, freezer, disk, chunk)
        after = ids[-1]
        if len(ids) < PAGE:
            return


def _is_unknown(book: Book, chunk: str, disk: int) -> bool:
    return not book.is_leaving(chunk, disk) and not any(disk in (entry.disk, entry.also) for entry in book.named(chunk))


async def _found(core: Core, freezer: Freezer, disk: int, chunk: str) -> None:
    """A second copy goes; an only one becomes a stray, for the metadata to judge."""
    try:
        head = await freezer.head(disk, chunk)
        record = ChunkRecord.parse(head.record)
    except Damaged as error:
        log.warning("a chunk on a cold disk can't be read", extra={"disk": disk, "chunk": chunk, "error": str(error)})
        return

    def steps(book: Book, changes: Changes) -> None:
        others = [entry for entry in book.named(chunk) if entry.state in ON_DISK]
        if others:
            changes.asked.append(book.ask(core.task(DELETE, Kind.DELETE, others[0], disk=disk)))
            return
        strays = [entry for entry in book.named(chunk) if entry.state == STRAY and not entry.volume]
        if strays:  # a second copy of what nobody knows: the metadata judges both
            if strays[0].also == -1:
                book.put(msgspec.structs.replace(strays[0], also=disk))
            return
        key = (record.bucket, record.key, record.content, record.metachunk)
        book.put(Entry("", chunk, STRAY, disk, -1, head.size, *key, 0, core.now_us))
        core.shelf.add(disk, head.size)

    async with core.hands:
        await core.change(steps)
