"""Disks that deletions emptied, or that somebody wants empty: their chunks move to others, and then they take chunks again."""

from __future__ import annotations

from glacier.backlog import Kind
from glacier.worker.core import Changes, Core
from glacier.worker.ledger import COLD, MOVE, THAW, Book
from glacier.worker.shelf import EMPTYING
from node.log import get_logger

MOVES_AT_ONCE = 10_000
log = get_logger("glacier.worker")


async def go_on_clearing(core: Core) -> None:
    """Goes on with the disks that are being cleared, when the others have room, and begins with one that should be."""
    for disk in [disk for disk, why in core.shelf.closed.items() if why == EMPTYING]:
        if core.shelf.count[disk]:
            if core.shelf.room(without=disk) >= core.shelf.used[disk]:
                await clear(core, disk)  # what was hot then, had no room, or is more than a call takes
        elif not any(task.disk == disk for task in core.tasks.values()):
            await reopen(core, disk)
    wasted = core.shelf.to_compact()
    if wasted is not None:
        await clear(core, wasted)


async def clear(core: Core, disk: int) -> None:
    """Has all chunks of a disk moved to others: each comes back to its file, and goes out again."""
    entries = (await core.ledger.on_disk(disk))[:MOVES_AT_ONCE]

    def steps(book: Book, changes: Changes) -> None:
        book.close_disk(disk, EMPTYING)
        core.shelf.closed[disk] = EMPTYING
        for entry in entries:
            if entry.state == COLD:
                changes.asked.append(book.ask(core.task(THAW, Kind.BULK, entry, purpose=MOVE)))

    async with core.hands:
        await core.change(steps)
    log.info("a disk is cleared", extra={"disk": disk, "chunks": len(entries)})


async def reopen(core: Core, disk: int) -> None:
    """It takes chunks again."""
    log.info("a cold disk has room again", extra={"disk": disk, "board": core.report.board})
    async with core.hands:
        await core.ledger.write(lambda book: book.reopen_disk(disk, core.shelf.used[disk]))
        core.shelf.reopen(disk)
