"""The cold tier of a store that was started without boards (protocol: store.tier.Tier): a class is a word, and bytes stay where they are.

But boards may have been there: then chunks say by their marks that their bytes lie on a cold disk, and nothing here can bring them back.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from node.errors import BoardsMissing, FrazilError
from rawx.examine import EXAMINED_MAX
from rawx.protocol import Examined
from store.fleet import Fleet
from store.layout import Layout
from store.parallel import gather
from store.tier import HOT, Priority, Temperature, TierState

Place = tuple[str, str]
"""Volume and chunk."""


class Boardless:
    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def __repr__(self) -> str:
        return "<Boardless>"

    async def freeze(self, content: Layout) -> None:
        return

    async def thaw(self, content: Layout, priority: Priority, until_us: int) -> None:
        await self.promise(content)

    async def melt(self, content: Layout) -> None:
        await self.promise(content)

    async def forget(self, volume: str, chunks: Sequence[str]) -> None:
        return

    async def sites(self) -> dict[str, str]:
        return {}

    async def promise(self, content: Layout) -> None:
        (state,) = await self.states([content])
        if not state.readable:
            raise BoardsMissing("its bytes lie on cold disks, and the store runs without its boards: start it with --board or --cold")

    async def states(self, contents: Sequence[Layout]) -> list[TierState]:
        asleep = await self._asleep({place for content in contents for place in content.places()})
        return [_state(content, asleep) for content in contents]

    async def _asleep(self, places: set[Place]) -> set[Place]:
        """Those whose bytes lie on a cold disk; a volume that is away says nothing of its chunks."""
        by_volume: dict[str, list[str]] = {}
        for volume, chunk in places:
            by_volume.setdefault(volume, []).append(chunk)
        pages = [(volume, mine[at : at + EXAMINED_MAX]) for volume, mine in by_volume.items() for at in range(0, len(mine), EXAMINED_MAX)]
        answers = await gather([partial(self._look, volume, page) for volume, page in pages])
        return {
            (volume, look.chunk)
            for (volume, _), answer in zip(pages, answers, strict=True)
            if not isinstance(answer, FrazilError)
            for look in answer
            if look.asleep
        }

    async def _look(self, volume: str, chunks: Sequence[str]) -> list[Examined]:
        return await self._fleet.volume(volume).examine(chunks, deep=False)


def _state(content: Layout, asleep: set[Place]) -> TierState:
    """Pure."""
    if asleep.isdisjoint(content.places()):
        return HOT
    readable = all(
        sum((content.volumes[chunk.volume], chunk.name) not in asleep for chunk in metachunk.chunks)
        >= content.policies[metachunk.policy].needed
        for metachunk in content.metachunks
    )
    return TierState(Temperature.FREEZING if readable else Temperature.COLD, readable=readable)
