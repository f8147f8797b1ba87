"""What is left of a metachunk: verified bytes for whoever writes some of its chunks anew, from whichever chunk has them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial

import trio

from meta.protocol.holding import Holding
from node.errors import Busy, ChunkCorrupt, ContentAway, ContentCold, ContentLost, DeadlineExceeded, FrazilError
from rawx.chunk import ChunkRecord
from rawx.fanout import open_all
from rawx.protocol import Reader
from rawx.reader import LocalReader, Told
from rawx.volume import Volume
from store.delete import Place
from store.fleet import Fleet
from store.get import shortage, unhurried
from store.layout import Layout, Metachunk
from store.parallel import gather
from store.record import names_chunk

READ_S = 30.0
"""A source that holds one piece longer is not asked again."""


class Sources:
    """The chunks of one metachunk. name: whose it is, for errors.

    lost: positions that are to be written anew; they are asked last, for some of their units may be good.
    spares: well chunks that the layout does not name, by position
    """

    def __init__(
        self, fleet: Fleet, layout: Layout, metachunk: Metachunk, *, name: str, lost: Collection[int], spares: Mapping[int, Place]
    ) -> None:
        self._fleet, self._name = fleet, name
        self._needed = layout.policies[metachunk.policy].needed
        self._checksums = {chunk.position: chunk.checksum for chunk in metachunk.chunks}
        places = {chunk.position: (layout.volumes[chunk.volume], chunk.name) for chunk in metachunk.chunks}
        self._places: dict[int, Place] = {position: spares.get(position, place) for position, place in places.items()}
        good = [position for position in sorted(places) if position not in lost or position in spares]
        self.order = good + [position for position in sorted(places) if position not in good]
        """Of asking."""
        self._readers: dict[int, Reader] = {}
        self._told: dict[int, tuple[ChunkRecord | None, bool]] = {}
        self._failures: dict[int, FrazilError] = {}

    def __repr__(self) -> str:
        return f"<Sources of {self._name} open={sorted(self._readers)} failed={sorted(self._failures)}>"

    async def aclose(self) -> None:
        for reader in self._readers.values():
            await reader.aclose()

    async def open(self, positions: Sequence[int]) -> None:
        """Those on volumes of this host, in one hop to a thread; what fails is known when it is read. Raises: Busy."""
        found = [(position, self._fleet.volumes.get(self._places[position][0])) for position in positions if position in self._places]
        local = [(position, volume) for position, volume in found if isinstance(volume, Volume)]
        results = await open_all([(volume, self._places[position][1], self._checksums[position]) for position, volume in local])
        for (position, _), result in zip(local, results, strict=True):
            if isinstance(result, Told):
                self._readers[position] = result.reader
                self._told[position] = result.record, result.marked
            else:
                self._failures[position] = result

    def local(self, positions: Sequence[int]) -> dict[int, LocalReader]:
        """Open chunks of this host at these positions; none when one of them is not, or failed."""
        found = [(position, self._readers.get(position)) for position in positions]
        readers = {position: reader for position, reader in found if isinstance(reader, LocalReader) and position not in self._failures}
        return readers if len(readers) == len(positions) else {}

    async def read_all(self, slots: Mapping[int, memoryview], offset: int) -> dict[int, memoryview]:
        """Those that hold the bytes of their positions' chunks from `offset` on now, whole units and verified. Raises: Busy."""
        if all(isinstance(self._readers.get(position), LocalReader) for position in slots):
            return {
                position: slot
                for position, slot in slots.items()
                if self._read_cached(position, offset, slot) or await self.read(position, offset, slot)
            }
        results = await gather([partial(self.read, position, offset, slot) for position, slot in slots.items()])
        for result in results:
            if isinstance(result, FrazilError):
                raise result
        return {position: slot for (position, slot), result in zip(slots.items(), results, strict=True) if result is True}

    def _read_cached(self, position: int, offset: int, into: memoryview) -> bool:
        """What `read` does, of a chunk of this host whose bytes need no disk: most do not, and a coroutine for each costs as much."""
        reader = self._readers[position]
        if position in self._failures or not isinstance(reader, LocalReader):
            return False
        try:
            return reader.read_now(offset, into)
        except FrazilError:  # `read` finds the same, and says what follows from it
            return False

    async def read(self, position: int, offset: int, into: memoryview) -> bool:
        """Fills `into` with verified units; False when these can't be had from there. Raises: Busy."""
        if position in self._failures or position not in self._places:
            return False
        reader = self._readers.get(position)
        try:
            if isinstance(reader, LocalReader):  # its volume bounds it; a scope of our own takes as long as reading the unit
                await unhurried(reader.read, offset, into)
                return True
            with trio.fail_after(READ_S):
                if reader is None:
                    volume, chunk = self._places[position]
                    reader = await unhurried(self._fleet.volume(volume).open, chunk, self._checksums[position])
                    self._readers[position] = reader
                await unhurried(reader.read, offset, into)
            return True
        except Busy:
            raise
        except ChunkCorrupt as error:
            if position not in self._readers:  # its list of checksums is not the one that belongs to it
                self._failures[position] = error
            return False
        except (FrazilError, trio.TooSlowError) as error:
            self._failures[position] = error if isinstance(error, FrazilError) else DeadlineExceeded("it did not answer in time")
            return False

    def too_little(self, offset: int) -> ContentLost | ContentAway | ContentCold:
        """As MetachunkReader.unreadable."""
        causes = "; ".join(f"{position}: {error}" for position, error in sorted(self._failures.items()))
        there = len(self._places.keys() - self._failures.keys())
        kind, cold = shortage(self._needed, there, self._failures, self._may_be_whole)
        if kind is ContentCold:
            return kind(f"{self._name}: {cold} chunks lie on cold disks")
        return kind(f"{self._name} at {offset} has too few whole units left ({causes})")

    def _may_be_whole(self, position: int, error: FrazilError) -> bool:
        return self._fleet.may_be_whole(self._places[position][0], error)

    async def record(self, holder: Holding, bad: Collection[int]) -> tuple[ChunkRecord, bool]:
        """What the chunks say, the newest of them, and whether one that was asked is cold. holder: whose they are.

        A record counts when it names the chunk that the layout does: under its name may lie what another content's records were written
        for. Raises: ContentLost when none does, ContentAway when one may that is away.
        """
        found: list[ChunkRecord] = []
        is_cold = is_away = False
        for position in self.order:
            try:
                record, marked = self._told.get(position) or await self._ask(*self._places[position])
            except FrazilError as error:
                is_away = is_away or self._fleet.may_be_whole(self._places[position][0], error)
                continue
            if record is None or not names_chunk(record, holder, self._checksums[position]):
                continue
            is_cold = is_cold or marked
            found.append(record)
            if position not in bad:
                break
        if not found:
            raise (ContentAway if is_away else ContentLost)(f"no chunk of {self._name} has a record that can be read")
        return max(found, key=lambda record: record.seq), is_cold

    async def _ask(self, volume: str, chunk: str) -> tuple[ChunkRecord | None, bool]:
        (look,) = await self._fleet.volume(volume).examine([chunk], deep=False)
        return look.record, bool(look.cold)
