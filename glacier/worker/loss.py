"""Chunks that their cold disks lost: given up where nothing else has the bytes, copied anew where the file does."""

from __future__ import annotations

import msgspec

from glacier.worker.core import Changes, Core
from glacier.worker.ledger import COLD, FILLED, FREEZE, LOST, SENT, STRAY, Book, Entry
from glacier.worker.shelf import LOST_DISK
from node.errors import ChunkNotFound, VolumeFull, VolumeNotFound, VolumeSick
from node.log import get_logger
from rawx.mark import COLD as MARK_COLD
from rawx.mark import LOST as MARK_LOST
from rawx.mark import Mark

log = get_logger("glacier.worker")


class Losses:
    def __init__(self, core: Core) -> None:
        self._core = core

    def __repr__(self) -> str:
        return f"<Losses lost={self._core.counts['lost']}>"

    async def lose(self, entry: Entry, why: str) -> None:
        """Its copy is gone: while the file has the bytes another is made, else the file says so and is made anew from other chunks."""
        core = self._core
        async with core.hands:
            now = await core.ledger.write(lambda book: book.entry(entry.volume, entry.chunk))
            if now is None or now.disk != entry.disk:
                return
            log.error("a cold disk lost a chunk", extra={"place": core.place(now.disk), "chunk": now.chunk, "error": why})
            if now.state in (COLD, LOST) or await self._is_empty(now):
                await self._give_up(now)
                return
            if now.state == STRAY:
                await core.change(lambda book, changes: self._lose_stray(book, now, changes))
                return

            def again(book: Book, changes: Changes) -> None:
                changes.over += [task.id for task in book.tasks_of(now.volume, now.chunk) if task.task == FREEZE]
                for number in changes.over:
                    book.done(number)
                core.shelf.drop(now.disk, now.size)
                core.want(book, now, changes, without=frozenset({now.disk}))

            try:
                await core.change(again)
            except VolumeFull as error:
                await self._keep_hot(now, error)

    async def _is_empty(self, entry: Entry) -> bool:
        """Whether its emptying was cut off before it was noted: then its file has nothing to copy."""
        if entry.state not in (SENT, FILLED):
            return False
        try:
            _, mark = await self._core.files_of(entry.volume).stored(entry.chunk)
        except (ChunkNotFound, VolumeNotFound, VolumeSick):
            return False  # found out when it is to be copied
        return mark is not None and mark.state == MARK_COLD

    def _lose_stray(self, book: Book, entry: Entry, changes: Changes) -> None:
        """No file has its bytes, so no copy can be made of them; another that was found stays for the metadata to judge."""
        core = self._core
        if entry.also == -1:
            core.forget(book, entry, changes)
            return
        core.shelf.drop(entry.disk, entry.size)
        core.shelf.add(entry.also, entry.size)
        book.put(msgspec.structs.replace(entry, disk=entry.also, also=-1))

    async def _keep_hot(self, entry: Entry, why: VolumeFull) -> None:
        """No disk has room for another copy, so the file must not be emptied: the tier has never heard of it."""
        core = self._core
        log.warning("a chunk stays on its volume", extra={"volume": entry.volume, "chunk": entry.chunk, "error": str(why)})
        try:
            await core.files_of(entry.volume).set_mark(entry.chunk, None)
        except ChunkNotFound:  # deleted meanwhile
            pass
        await core.change(lambda book, changes: core.forget(book, entry, changes))

    async def _give_up(self, entry: Entry) -> None:
        """What is damaged stays on its disk until nothing needs the chunk: it may be the only copy, and be read better another time."""
        core = self._core
        try:
            await core.files_of(entry.volume).set_mark(entry.chunk, Mark(MARK_LOST, core.place(entry.disk)))
        except ChunkNotFound:  # deleted meanwhile
            pass
        core.counts["lost"] += entry.state != LOST
        is_gone = core.shelf.closed.get(entry.disk) == LOST_DISK

        def steps(book: Book, changes: Changes) -> None:
            if is_gone:
                core.forget(book, entry, changes)
                book.put(msgspec.structs.replace(entry, state=LOST, disk=-1, also=-1))
                return
            core.end_thaws(book, entry, changes)
            book.put(msgspec.structs.replace(entry, state=LOST))

        await core.change(steps)

    async def found_whole(self, entry: Entry) -> None:
        """A chunk that was given up can be read after all."""
        core = self._core
        async with core.hands:
            now = await core.ledger.write(lambda book: book.entry(entry.volume, entry.chunk))
            if now is None or now.state != LOST or now.disk != entry.disk:
                return
            await core.files_of(entry.volume).set_mark(entry.chunk, Mark(MARK_COLD, core.place(now.disk)))
            await core.ledger.write(lambda book: book.put(msgspec.structs.replace(now, state=COLD)))
