"""A cold tier in memory: what is frozen sleeps until somebody wakes it."""

from __future__ import annotations

from collections.abc import Sequence

from store.layout import Layout
from store.tier import HOT, Priority, Temperature, TierState

COLD = TierState(Temperature.COLD, readable=False)
THAWING = TierState(Temperature.THAWING, readable=False)


def name_of(content: Layout) -> bytes:
    return content.metachunks[0].chunks[0].id


class Sleeper:
    """Implements store.tier.Tier. asked: what is to be thawed, and how; wake() does it. awake: until when which contents stay."""

    def __init__(self, *, prompt: bool = False) -> None:
        """prompt: thaws at once."""
        self.prompt = prompt
        self.frozen: set[bytes] = set()
        self.asked: dict[bytes, tuple[Priority, int]] = {}
        self.awake: dict[bytes, int] = {}
        self.calls = 0

    def __repr__(self) -> str:
        return f"<Sleeper frozen={len(self.frozen)} asked={len(self.asked)} awake={len(self.awake)}>"

    async def freeze(self, content: Layout) -> None:
        self.calls += 1
        self.frozen.add(name_of(content))
        self.awake.pop(name_of(content), None)
        self.asked.pop(name_of(content), None)

    async def thaw(self, content: Layout, priority: Priority, until_us: int) -> None:
        self.calls += 1
        name = name_of(content)
        if name in self.awake or name not in self.frozen:
            self.awake[name] = max(until_us, self.awake.get(name, 0))
            return
        before, until_before = self.asked.get(name, (Priority.BULK, 0))
        self.asked[name] = (min(priority, before), max(until_us, until_before))
        if self.prompt:
            self.wake()

    async def melt(self, content: Layout) -> None:
        self.frozen.discard(name_of(content))

    async def promise(self, content: Layout) -> None:
        return

    async def states(self, contents: Sequence[Layout]) -> list[TierState]:
        return [self._state(name_of(content)) for content in contents]

    def _state(self, name: bytes) -> TierState:
        if name in self.awake:
            return TierState(Temperature.THAWED, readable=True, until_us=self.awake[name])
        if name not in self.frozen:
            return HOT
        return THAWING if name in self.asked else COLD

    def doze(self, now_us: int) -> None:
        """What was to stay until then sleeps again."""
        self.awake = {name: until_us for name, until_us in self.awake.items() if until_us > now_us or name not in self.frozen}

    def wake(self) -> None:
        """Everything that was asked for is there."""
        self.awake |= {name: until_us for name, (_, until_us) in self.asked.items()}
        self.asked.clear()
