"""Volumes made anew, or emptied."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial

from meta.protocol.holding import Holding
from node.errors import FrazilError
from node.log import get_logger
from rawx.protocol import Examined, Rawx
from store.context import Context
from store.jobs.mover import Mover
from store.jobs.task import volumes_of
from store.layout import Layout
from store.parallel import gather
from store.repair import Need
from store.scrub import NOT_ASIDE, judge
from store.scrub import expected as chunks_of
from store.tally import Tally
from store.tier import Priority

PASSES_MAX = 5
"""Of a decommission, for one that still finds something."""
COLD_S = 60.0
"""Between the passes of one that waits for thaws."""
WAIT_S = 30.0
"""Between the passes of a rebuild that waits for volumes."""
BEGUN_S = 24 * 3600.0
"""So long after a chunk was written its metadata may come: behind the rest of a large and slow upload; and so long one may be written. A
gateway that was killed, and does not start again, leaves such for good."""
WRITERS_S = 10.0
"""Between the passes of a decommission that waits for writes."""
AWAY_AGE_S = 10.0
"""How old the knowledge may be which volumes are there: to ask one that is not costs seconds."""
log = get_logger("store.jobs")


async def thaw(context: Context, need: Need) -> None:
    """Asks for what must be read before it can be written anew; a later pass finds it. Raises: Unavailable."""
    await context.tier.thaw(Layout.parse(need.holder.layout), Priority.BULK, 0)


class RebuildVolume(Mover):
    """Makes anew what volumes should hold and don't: passes, until nothing waits for volumes that could take it, or for a thaw."""

    passed_over = "waiting"

    def __init__(self, context: Context, tally: Tally, arguments: dict[str, str]) -> None:
        super().__init__(context, tally, arguments)
        self._volumes = frozenset(volumes_of(arguments))
        self._away: frozenset[str] = frozenset()
        self._looks: dict[tuple[str, str], Examined] = {}

    async def step(self, position: str) -> tuple[str | None, int]:
        following, size = await super().step(position)
        if following is not None:
            return following, size
        counts = self._tally.counts
        waiting, cold = counts["waiting"], counts["cold"]
        self._tally.notes = [f"{waiting} metachunks wait for volumes: {self._why}"] if waiting else []
        self._tally.notes += [f"{cold} metachunks wait for a thaw, which was asked for"] if cold else []
        if not waiting and not cold:
            return None, size
        log.info("a rebuild waits", extra={"metachunks": waiting, "why": self._why, "cold": cold})
        counts["waiting"] = counts["cold"] = counts["lost"] = 0  # the next pass looks at everything again
        self.pause_s = WAIT_S if waiting else COLD_S
        self._tally.share(0, 1)
        return "", size

    async def prepare(self, holders: Sequence[Holding]) -> None:
        """Which of the volumes are there now, and what they hold of these contents."""
        fleet = self._context.fleet
        stats = {stat.volume: stat for stat in await fleet.stats(age_s_max=AWAY_AGE_S)}
        self._away = frozenset(v for v in self._volumes if v in fleet.retired or v not in stats or stats[v].sick)
        wanted: dict[str, list[str]] = {}
        for each in (each for holder in holders for each in chunks_of(holder)):
            if each.volume in self._volumes - self._away:
                wanted.setdefault(each.volume, []).append(each.chunk.name)
        answers = await gather([partial(fleet.volume(volume).examine, chunks, deep=False) for volume, chunks in wanted.items()])
        self._looks = {}
        for volume, answer in zip(wanted, answers, strict=True):
            if isinstance(answer, FrazilError):
                raise answer
            self._looks |= {(volume, look.chunk): look for look in answer}

    async def needs(self, bucket: str, holder: Holding) -> AsyncIterator[Need]:
        """One for each metachunk, however many of its chunks are lost: its sources are read once."""
        lost: dict[int, list[int]] = {}
        gone: set[tuple[int, int]] = set()
        for each in chunks_of(holder):
            if each.volume in self._volumes:
                self._tally.saw(1, 0)
                look = self._looks.get((each.volume, each.chunk.name))
                problem = "" if look is None else judge(each, look)[0]
                if look is None or problem not in ("", "stale"):
                    lost.setdefault(each.index, []).append(each.chunk.position)
                    if problem in NOT_ASIDE:
                        gone.add((each.index, each.chunk.position))
        for index, positions in lost.items():
            missing = [position for position in positions if (index, position) in gone]
            yield Need(bucket, holder, index, frozenset(positions), "its volume was rebuilt", self._away, gone=missing)

    async def is_cold(self, need: Need) -> None:
        await thaw(self._context, need)


class Decommission(Mover):
    """Moves everything off volumes, which take nothing new any more: passes, until one finds nothing there.

    What was begun before they were retired may be named behind a pass's cursor; the next pass finds it. The volumes themselves refuse what
    is begun later, and say what was begun before and may still be named: by whichever process, it is waited for (rawx/gate.py).
    """

    def __init__(self, context: Context, tally: Tally, arguments: dict[str, str]) -> None:
        super().__init__(context, tally, arguments)
        self._volumes = frozenset(volumes_of(arguments))
        self._marked = False
        """Whether this process told the volumes."""
        self._doubtful = False
        """Whether something was being written there when the pass began, or nobody here knows: what it did not find may be there by now."""
        self._untold: frozenset[str] = frozenset()
        """Volumes that could not be told: what they took meanwhile is not known."""
        self._missing: dict[str, int] = {}
        """Since when (us) chunks that were begun are not there; 0 for those that were."""

    async def step(self, position: str) -> tuple[str | None, int]:
        counts = self._tally.counts
        if self._dry:
            return await super().step(position)
        if not position or not self._marked:
            self._doubtful = await self._begun() > 0 or bool(position)  # another process began the pass, which is gone
        following, size = await super().step(position)
        if following is not None:
            return following, size
        if counts["cold"]:  # they have been asked for; such a pass decides nothing
            counts["found"] = counts["lost"] = counts["cold"] = 0
            self.pause_s = COLD_S
            return "", size
        if self._doubtful or await self._has_come_back():
            counts["found"] = counts["lost"] = 0
            begun = await self._begun()
            self._tally.notes = [f"{begun} chunks that were begun before are waited for"] if begun else []
            self.pause_s = WRITERS_S if begun else 0.0
            return "", size
        counts["passes"] += 1
        if counts["found"] == counts["lost"] or counts["passes"] >= PASSES_MAX:
            return None, size
        counts["found"] = counts["lost"] = 0
        return "", size

    async def _begun(self) -> int:
        """Has the volumes refuse new chunks; how many were begun before that are on their way or may still be named."""
        begun, untold = 0, set()
        for name in self._volumes:
            try:
                begun += await self._begun_at(self._context.fleet.volume(name))
            except FrazilError as error:
                untold.add(name)
                log.warning("a volume that is emptied can't be told to take nothing new", extra={"volume": name, "error": str(error)})
        self._marked, self._untold = True, frozenset(untold)
        return begun

    async def _has_come_back(self) -> bool:
        """Whether a volume that could not be told when the pass began can be by now. One that stays away holds nothing up."""
        before = self._untold
        if before:
            await self._begun()
        return not before <= self._untold

    async def _begun_at(self, volume: Rawx) -> int:
        chunks = await volume.retire(True)
        now_us = self._context.clock.now_us()
        looks = await volume.examine(chunks, deep=False)
        return sum(self._since_us(look, now_us) > now_us - int(BEGUN_S * 1e6) for look in looks)

    def _since_us(self, look: Examined, now_us: int) -> int:
        """Since when a chunk is waited for. One that was there and is gone was deleted: whoever was to settle it may be dead."""
        if look.problem == "missing":
            return self._missing.setdefault(look.chunk, now_us)
        self._missing[look.chunk] = 0
        return look.mtime_us

    async def is_cold(self, need: Need) -> None:
        await thaw(self._context, need)

    def left(self) -> str:
        """Of the last pass."""
        if self._dry:
            return ""
        found, lost, passes = (self._tally.counts[name] for name in ("found", "lost", "passes"))
        if not found:
            return Mover.left(self)
        left = f"pass {passes} still found {found} metachunks there, and too little can be read of {lost} of them to make them whole"
        return f"{left}. What the log names is to be restored or deleted, then the volume emptied again"

    async def needs(self, bucket: str, holder: Holding) -> AsyncIterator[Need]:
        found: dict[int, list[int]] = {}
        for each in chunks_of(holder):
            if each.volume in self._volumes:
                found.setdefault(each.index, []).append(each.chunk.position)
        for index, positions in found.items():
            self._tally.counts["found"] += 1
            yield Need(bucket, holder, index, frozenset(positions), "", self._volumes, keep=True)
