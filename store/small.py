"""Reading a content of one unit: its copies are asked whole, one after the other, or the late one beside others (store/hedge.py)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import trio

from node.errors import Busy, DeadlineExceeded, FrazilError
from rawx.protocol import Rawx
from store.fleet import Fleet
from store.get import HEDGE_S, PATIENCE_S, MetachunkReader, Subject, unhurried
from store.hedge import Race
from store.layout import Chunk, Layout, Metachunk


async def read_small(fleet: Fleet, subject: Subject, layout: Layout) -> bytes:
    """All bytes of a content of one metachunk of copies, one unit long: no buffer, no thread when cached. Raises: as read_content."""
    (metachunk,) = layout.metachunks
    chunks = metachunk.chunks
    turn = chunks[0].id[0] % len(chunks)
    ordered = chunks[turn:] + chunks[:turn]
    if fleet.topology is not None or fleet.doubts:
        ordered = tuple(sorted(ordered, key=lambda chunk: _dislike(fleet, layout.volumes[chunk.volume])))
    small = _SmallReader(fleet, subject, layout, metachunk)
    if fleet.topology is not None and len(ordered) > 1 and fleet.is_far(layout.volumes[ordered[0].volume]):
        return await small.first(ordered)
    for chunk in ordered:
        if await small.get(chunk, HEDGE_S if chunk is not ordered[-1] else PATIENCE_S):
            break
    return small.found()


class _SmallReader:
    """Asks for one metachunk's copies, whole."""

    def __init__(self, fleet: Fleet, subject: Subject, layout: Layout, metachunk: Metachunk) -> None:
        self._fleet = fleet
        self._subject = subject
        self._layout = layout
        self._metachunk = metachunk
        self._reader: MetachunkReader | None = None
        self._found: bytes | None = None

    def found(self) -> bytes:
        """Raises: ContentLost, ContentAway, ContentCold."""
        if self._found is None:
            assert self._reader is not None
            raise self._reader.unreadable()
        return self._found

    async def first(self, ordered: Sequence[Chunk]) -> bytes:
        """Of whichever is first. The usual case costs no race: one that is late is asked again beside the others."""
        fleet, began = self._fleet, trio.current_time()
        with trio.move_on_after(fleet.pace.delay_s) as scope:
            await self.get(ordered[0], PATIENCE_S)
        if self._found is not None:
            fleet.answered(self._layout.volumes[ordered[0].volume], trio.current_time() - began)
            return self._found
        again = [*ordered[1:], ordered[0]] if scope.cancelled_caught else ordered[1:]
        if scope.cancelled_caught:
            fleet.lagged(self._layout.volumes[ordered[0].volume])
        race = Race.for_one([partial(self.get, chunk, PATIENCE_S) for chunk in again])
        await race.run(1, fleet.pace.delay_s)
        return self.found()

    async def get(self, chunk: Chunk, limit_s: float) -> bool:
        """Raises: Busy."""
        try:
            volume = self._fleet.volume(self._layout.volumes[chunk.volume])
            data = volume.get_now(chunk.id.hex(), self._metachunk.size, chunk.checksum)
            self._found = data if data is not None else await unhurried(_get, volume, chunk, self._metachunk.size, limit_s)
        except Busy:
            raise
        except FrazilError as error:
            self._reader = self._reader or MetachunkReader(self._fleet, self._subject, 0, self._layout, self._metachunk)
            self._reader.lose(chunk, error)
            return False
        return True


async def _get(volume: Rawx, chunk: Chunk, size: int, limit_s: float) -> bytes:
    with trio.move_on_after(limit_s):
        return await volume.get(chunk.name, size, chunk.checksum)
    raise DeadlineExceeded(f"volume {volume.volume_id} did not answer in time")


def _dislike(fleet: Fleet, volume: str) -> int:
    """Rank among copies: those of this host first, those that will probably not answer last."""
    return 2 if not fleet.likely(volume) else int(fleet.is_far(volume))
