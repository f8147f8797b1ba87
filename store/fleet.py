"""The volumes of the store as the object layer sees them: which take writes, which failed lately, what was found damaged."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from random import Random

import msgspec
import trio

from node.errors import (
    ChunkNotFound,
    DeadlineExceeded,
    FrazilError,
    InvalidArgument,
    NotEnoughServices,
    Unavailable,
    VolumeForeign,
    VolumeFull,
    VolumeNotFound,
)
from rawx.protocol import Rawx, VolumeStat
from rawx.volume import Volume
from store.hedge import LAGS_MAX, Pace
from store.location import LEVELS
from store.parallel import gather
from store.placement import Candidate, Topology, draw, spread, weight
from store.policy import Usable

FINDINGS_MAX = 10_000
"""Findings kept for repair; the oldest go first: scrub finds them again."""
STAT_PERIOD_S = 2.0
"""How often the volumes' free space and health are asked, in the background."""
STAT_AGE_S_MAX = 30.0
"""A write that finds nothing newer asks itself."""
STAT_TIMEOUT_S = 2.0
SLABS_AT_ONCE = 8
COMMITS_AT_ONCE = 24
"""Slabs being hashed and written (two threads each), and chunks of large metachunks being committed, in the whole process: together they
leave threads of node.threads for everything else. More at once would not be faster; they wait here instead of being refused there."""
FULL = "full"
AVOID_S = 10.0
"""How long a volume that failed a write gets no new chunks, unless its health is checked anew."""


DISTRUST_S = 600.0
"""In so long half of what a volume was blamed for is forgiven."""
BLAMED = frozenset({"corrupt", "truncated", "record", "unreadable"})
"""Damage that speaks against the disk: it gets fewer new chunks for a while."""
OF_A_PART = -1


class ChunkFinding(msgspec.Struct, frozen=True):
    """A chunk that is not what the metadata says.

    problem   "missing", "corrupt", "unreadable" (its volume doesn't answer), "unwritten" (the write met its quorum without it)
    chunk     "" when it was never written
    version   OF_A_PART for a part of an upload in progress: repaired by the scrub by metadata, which walks the parts too
    """

    bucket: str
    key: str
    version: int
    metachunk: int
    position: int
    chunk: str
    volume: str
    problem: str
    detail: str = ""


def _hosts(candidates: Iterable[Candidate]) -> int:
    return len({each.location.group(LEVELS.index("host")) for each in candidates})


def problem_of(error: FrazilError) -> str:
    if isinstance(error, ChunkNotFound):
        return "missing"
    return "unreadable" if isinstance(error, Unavailable | VolumeNotFound | VolumeForeign) else "corrupt"


class Fleet:
    """All volumes by id. Only the event loop's thread touches it."""

    def __init__(self, volumes: Mapping[str, Rawx], *, random: Random, now: Callable[[], float] = trio.current_time) -> None:
        self.volumes = dict(volumes)
        self.findings: deque[ChunkFinding] = deque(maxlen=FINDINGS_MAX)
        self.counts: Counter[str] = Counter()
        self.retired: frozenset[str] = frozenset()
        """Volumes that are being emptied: nothing new is put there."""
        self.topology: Topology | None = None
        """Over several hosts: where the volumes are and what the conscience says of them. None: all are this process's own."""
        self.reserved: Mapping[str, frozenset[str]] = {}
        """On one host: the volumes that storage classes with boards of their own draw from, by class."""
        self.slabs = trio.Semaphore(SLABS_AT_ONCE)
        self.commits = trio.Semaphore(COMMITS_AT_ONCE)
        self._random = random
        self._now = now
        self._stats: dict[str, VolumeStat] = {}
        self._asked_at = -STAT_AGE_S_MAX * 2
        self._asking = trio.Lock()
        self._avoided: dict[str, tuple[float, FrazilError]] = {}
        self._slow: dict[str, float] = {}
        self._lags: Counter[str] = Counter()
        self.pace = Pace()
        """Of reads from other hosts."""
        self._blame: dict[str, tuple[float, float]] = {}
        self._candidates: list[Candidate] = []
        self._usable = Usable(0)
        self._candidates_until = -math.inf

    def __repr__(self) -> str:
        return f"<Fleet volumes={len(self.volumes)} avoided={len(self._avoided)} findings={len(self.findings)}>"

    def volume(self, volume_id: str) -> Rawx:
        """Raises: VolumeNotFound when the store has no such volume (its folder is gone)."""
        found = self.volumes.get(volume_id)
        if found is None:
            raise VolumeNotFound(f"volume {volume_id} is not there")
        return found

    def at(self, place: str) -> list[str]:
        """The volumes of a host, or of another place that locations name. Raises: InvalidArgument."""
        if self.topology is None:
            raise InvalidArgument(f"this store is on one host, it has no {place!r}: name a volume")
        found = sorted(each.volume for each in self.topology.members.values() if each.location.lies_in(place))
        if not found:
            raise InvalidArgument(f"there is no volume at {place!r}; `frazil cluster status` lists the locations")
        return found

    def is_gone(self, volume_id: str) -> bool:
        """Whether it was given up: nothing of it needs to be deleted."""
        return self.topology is not None and volume_id in self.topology.gone

    def may_be_whole(self, volume_id: str, error: FrazilError) -> bool:
        """Whether a chunk there that failed so may be read another time: its volume is away, and nobody gave it up."""
        return problem_of(error) == "unreadable" and not self.is_gone(volume_id)

    def whereabouts(self, volume_id: str) -> str:
        """For people: the location, where hosts are told apart, else nothing."""
        member = self.topology.members.get(volume_id) if self.topology is not None else None
        return str(member.location).lstrip(".") if member is not None else ""

    def replace(self, volume_id: str, volume: Rawx) -> None:
        """Another volume object in the same place: its disk came or went."""
        self.volumes[volume_id] = volume
        self._asked_at = -STAT_AGE_S_MAX * 2
        self._candidates_until = -math.inf
        self._avoided.pop(volume_id, None)

    def arrange(self, volumes: Mapping[str, Rawx], topology: Topology) -> None:
        """What the conscience told: these volumes are there now, so placed and so good."""
        self.volumes = dict(volumes)
        self.topology = topology
        self._candidates_until = -math.inf

    def is_far(self, volume_id: str) -> bool:
        """Whether it is on another host: this process has not opened it itself."""
        return not isinstance(self.volumes.get(volume_id), Volume)

    def likely(self, volume_id: str) -> bool:
        """Whether a read there will probably be answered soon; if not, others are asked first."""
        if self.topology is not None and volume_id not in self.topology.readable:
            return False
        until = self._slow.get(volume_id)
        if until is not None and until < self._now():
            del self._slow[volume_id]
            return True
        return until is None

    @property
    def doubts(self) -> bool:
        """Whether any volume is not `likely`."""
        return bool(self._slow) or (self.topology is not None and len(self.topology.readable) < len(self.topology.members))

    def slow(self, volume_id: str) -> None:
        """It did not answer a read in time: others are asked first for a while."""
        self._slow[volume_id] = self._now() + AVOID_S

    def answered(self, volume_id: str, seconds: float) -> None:
        """A read from another host, by its time for each unit."""
        self.pace.observe(seconds)
        self._lags.pop(volume_id, None)

    def lagged(self, volume_id: str) -> None:
        """Others answered a read before it did."""
        self.counts["read_hedged"] += 1
        self._lags[volume_id] += 1
        if self._lags[volume_id] >= LAGS_MAX:
            del self._lags[volume_id]
            self.slow(volume_id)

    def means(self, volumes: Iterable[str], policy: str) -> bool:
        """Whether chunks of the policy, or class, should be on these."""
        if self.topology is not None:
            return self.topology.means(volumes, policy)
        return policy not in self.reserved or self.reserved[policy].issuperset(volumes)

    def quality(self, volumes: Iterable[str], policy: str) -> int:
        """What of this placement is worse than wished: see store.placement.judge."""
        return 0 if self.topology is None else self.topology.judge(volumes, policy)

    async def watch(self) -> None:
        """Keeps the statistics young, for ever."""
        while True:
            await self.refresh()
            await trio.sleep(STAT_PERIOD_S)

    async def refresh(self, *, age_s_max: float = STAT_PERIOD_S / 2) -> None:
        """Asks every volume for its health, all at once, in bounded time; one that does not answer is sick."""
        async with self._asking:
            if self._now() - self._asked_at < age_s_max:
                return
            names = list(self.volumes)
            results = await gather([lambda volume=self.volumes[name]: _stat(volume) for name in names])  # type: ignore[misc]
            for name, result in zip(names, results, strict=True):
                self._stats[name] = VolumeStat(name, 0, 0, 0, sick=str(result)) if isinstance(result, FrazilError) else result
            self._asked_at = self._now()
            self._candidates_until = -math.inf

    async def candidates(self) -> list[Candidate]:
        """The volumes that take chunks, with their weights, from statistics at most STAT_AGE_S_MAX old."""
        now = self._now()
        if now < self._candidates_until:
            return self._candidates
        if self.topology is not None:
            until_s = math.inf
            members = self.topology.members.values()
            found = [self._distrusted(each) for each in members if each.weight > 0 and each.volume not in self.retired]
        else:
            if now - self._asked_at >= STAT_AGE_S_MAX:
                await self.refresh()
            until_s = self._asked_at + STAT_AGE_S_MAX
            found = [Candidate(name, weight) for name in self.volumes if (weight := self._weight(name)) > 0]
        found = self._candidates = [each for each in found if not self._avoids(each.volume, now)]
        hosts = (_hosts(found), _hosts(self.topology.members.values())) if self.topology is not None else (0, 0)
        self._usable = Usable(len(found), *hosts)
        self._candidates_until = min([until_s, *(until for until, _ in self._avoided.values() if until > now)])
        return found

    def _avoids(self, name: str, now: float) -> FrazilError | None:
        until, error = self._avoided.get(name, (0.0, None))
        return error if until > now else None

    def retire(self, volumes: Collection[str]) -> None:
        if self.retired != frozenset(volumes):
            self.retired = frozenset(volumes)
            self._candidates_until = -math.inf

    def _weight(self, name: str) -> float:
        stat = self._stats.get(name)
        if stat is None or name in self.retired:
            return 0.0
        full = weight(stat.bytes_free, stat.bytes_total, stat.inodes_free, sick=bool(stat.sick), read_only=stat.read_only)
        return full / (1.0 + self._blamed(name)) if name in self._blame else full

    def _distrusted(self, candidate: Candidate) -> Candidate:
        """With less weight where this process met damage of late; what its own disk met, its score says."""
        if candidate.volume not in self._blame:
            return candidate
        return replace(candidate, weight=candidate.weight / (1.0 + self._blamed(candidate.volume)))

    async def usable(self) -> Usable:
        await self.candidates()
        return self._usable

    async def draw(
        self, least: int, wanted: int, *, without: Collection[str] = (), beside: Collection[str] = (), policy: str = ""
    ) -> list[str]:
        """`wanted` different volumes, or as many as there are but not fewer than `least`.

        beside: those that hold other chunks of the same metachunk, for a draw over hosts; policy: Policy.draws. Raises: NotEnoughServices.
        """
        candidates = await self.candidates()
        if self.topology is not None:
            members = self.topology.members
            near = [members[each].location for each in beside if each in members]
            pool = self.topology.pool_of(policy)
            return spread(candidates, least, wanted, self._random, pool, without=without, beside=near)
        if policy in self.reserved:
            candidates = [each for each in candidates if each.volume in self.reserved[policy]]
        there = sum(1 for each in candidates if each.volume not in without) if without else len(candidates)
        return draw(candidates, max(least, min(wanted, there)), self._random, without=without)

    def belongs(self, volume: str, policy: str) -> bool:
        """Whether a draw for this policy (Policy.draws) may take the volume: whether its boards are at the site that the pool names."""
        if self.topology is None:
            return policy not in self.reserved or volume in self.reserved[policy]
        member = self.topology.members.get(volume)
        return member is not None and self.topology.pool_of(policy).takes(member)

    def shortage(self, error: NotEnoughServices) -> FrazilError:
        """The same refusal with the reason why volumes take no chunks; VolumeFull when it is space that some lack."""
        now = self._now()
        reasons = Counter(reason for name in self.volumes if (reason := self._unusable(name, now)))
        words = f"{error} ({', '.join(f'{count} {reason}' for reason, count in sorted(reasons.items()))})" if reasons else str(error)
        return VolumeFull(words) if FULL in reasons else NotEnoughServices(words)

    def _unusable(self, name: str, now: float) -> str:
        failed, stat = self._avoids(name, now), self._stats.get(name)
        if self.topology is not None:
            member = self.topology.members.get(name)
            reason = "" if member is not None and member.weight > 0 else "with score 0"
            return reason or (f"just failed: {failed}" if failed else "")
        if isinstance(failed, VolumeFull):
            return FULL
        if stat is None or stat.sick:
            return f"sick: {stat.sick if stat else 'not asked yet'}"
        if stat.read_only:
            return "read-only"
        if self._weight(name) == 0.0:
            return FULL
        return f"just failed: {failed}" if failed else ""

    async def stats(self, *, age_s_max: float = STAT_PERIOD_S / 2) -> list[VolumeStat]:
        await self.refresh(age_s_max=age_s_max)
        return list(self._stats.values())

    def failed_write(self, volume_id: str, error: FrazilError) -> None:
        """Keeps new chunks away from a volume for a while."""
        self.counts[f"write_{error.code}"] += 1
        if isinstance(error, Unavailable):
            self._avoided[volume_id] = (self._now() + AVOID_S, error)
            self._candidates_until = -math.inf

    def blame(self, volume_id: str, problem: str) -> None:
        """Damage was found there: the volume is drawn less often, the less the more there was lately."""
        if problem in BLAMED:
            self._blame[volume_id] = self._blamed(volume_id) + 1.0, self._now()
            self._candidates_until = -math.inf

    def _blamed(self, volume_id: str) -> float:
        """How much damage of late, older one counting for less."""
        amount, at = self._blame.get(volume_id, (0.0, 0.0))
        return amount * 0.5 ** ((self._now() - at) / DISTRUST_S) if amount else 0.0

    def found(self, finding: ChunkFinding) -> None:
        """Remembers damage for repair, and counts it."""
        self.blame(finding.volume, finding.problem)
        self.counts[f"chunk_{finding.problem}"] += 1
        self.findings.append(finding)


async def _stat(volume: Rawx) -> VolumeStat:
    with trio.move_on_after(STAT_TIMEOUT_S):
        return await volume.stat()
    raise DeadlineExceeded(f"no answer within {STAT_TIMEOUT_S:g} s")
