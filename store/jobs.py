"""Long work on everything that is stored: scrubs, the rebuilding and emptying of volumes, rebalancing.

Each kind is a `Task`: small steps from a position that is kept, so that any of them goes on after a kill. Whoever submits a job only writes
it into the jobs' base; here it is done.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from typing import Protocol

import msgspec
import trio

from meta.protocol.bucket import SYSTEM_BUCKET
from meta.protocol.holding import Cursor, Holding
from meta.protocol.jobs import Job
from node.errors import AlreadyExists, BaseNotFound, BucketNotFound, ContentLost, FrazilError, InvalidArgument, Superseded
from node.log import get_logger
from node.metrics import gauge
from store.context import Context
from store.fleet import Fleet
from store.layout import Layout
from store.parallel import gather
from store.repair import Need, remake
from store.scrub import Scrub, Tally, judge
from store.scrub import expected as chunks_of
from store.worker import State

BUCKETS_PAGE = 1_000
MOVE_ROWS = 50
"""Contents that one step of a move looks at."""
MOVES_AT_ONCE = 4
"""Contents."""
TRIES_MAX = 3
"""For a content that changes while a chunk of it is written anew; then the step is tried again."""
PASSES_MAX = 5
"""Of a decommission, for one that still finds something."""
SAVE_S = 1.0
"""How often a job's position is kept; what was done since is done again after a kill, which changes nothing."""
LOOK_S = 1.0
SHALLOW_CHUNK_BYTES = 4096
"""What looking at a chunk without reading it counts for."""
SPREAD = 0.02
"""Rebalancing ends when no volume is fuller than all together by more than this share."""
STANDING_DELAY_S = 600.0
"""Scrubs of the background begin so long after the process."""
STANDING = {
    "scrub-meta": ({"standing": "1"}, 8 << 20, 24 * 3600.0),
    "scrub-chunks": ({"standing": "1", "deep": "1"}, 16 << 20, 14 * 24 * 3600.0),
}
"""Arguments, pace in bytes per second, and the time from the begin of one pass to the next."""
EMPTIED = "decommission"
log = get_logger("store.jobs")


class Task(Protocol):
    """One kind of work."""

    async def step(self, position: str) -> tuple[str | None, int]:
        """One small piece from this position ("" at first): the next position, None at the end; the bytes it counts for.

        Raises: FrazilError when the world is in the way; the step is tried again.
        """

    def left(self) -> str:
        """Why the work is not done though it came to its end; "" when it is."""


class Place(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a walk through all containers is."""

    bucket: str = ""
    cursor: Cursor = Cursor()


class _Walk:
    """A task that goes through all contents, or those of one bucket."""

    def __init__(self, context: Context, bucket: str) -> None:
        self._context, self._bucket = context, bucket

    async def step(self, position: str) -> tuple[str | None, int]:
        place = msgspec.json.decode(position, type=Place) if position else Place(self._bucket or SYSTEM_BUCKET)
        try:
            cursor, size = await self.visit(place.bucket, place.cursor)
        except BucketNotFound:
            cursor, size = None, 0
        if cursor is not None:
            return msgspec.json.encode(Place(place.bucket, cursor)).decode(), size
        following = None if self._bucket else await self._next_bucket(place.bucket)
        return (None if following is None else msgspec.json.encode(Place(following)).decode()), size

    async def _next_bucket(self, after: str) -> str | None:
        page = await self._context.meta.accounts.buckets("", after="" if after == SYSTEM_BUCKET else after, limit=1)
        return page[0].bucket if page else None

    def left(self) -> str:
        return ""

    async def visit(self, bucket: str, cursor: Cursor) -> tuple[Cursor | None, int]:
        """Some contents behind the cursor; the next cursor, None at the end. Raises: BucketNotFound."""
        raise NotImplementedError


class ScrubMetadata(_Walk):
    def __init__(self, context: Context, tally: Tally, arguments: dict[str, str]) -> None:
        super().__init__(context, arguments.get("bucket", ""))
        self._deep = "deep" in arguments
        self._scrub = Scrub(context, tally, deep=self._deep, repair="dry" not in arguments)

    async def visit(self, bucket: str, cursor: Cursor) -> tuple[Cursor | None, int]:
        before = self._scrub.tally.counts["chunks"]
        following, size = await self._scrub.holders(bucket, cursor)
        return following, size if self._deep else (self._scrub.tally.counts["chunks"] - before) * SHALLOW_CHUNK_BYTES


class ScrubChunks:
    def __init__(self, context: Context, tally: Tally, arguments: dict[str, str]) -> None:
        self._fleet = context.fleet
        self._only = arguments.get("volume", "")
        self._deep = "deep" in arguments
        self._scrub = Scrub(context, tally, deep=self._deep, repair="dry" not in arguments)

    async def step(self, position: str) -> tuple[str | None, int]:
        names = [self._only] if self._only else sorted(self._fleet.volumes)
        volume, _, after = position.partition(" ")
        volume = volume or names[0]
        before = self._scrub.tally.counts["chunks"]
        try:
            following, size = await self._scrub.files(volume, after)
        except FrazilError as error:
            if self._only:
                raise
            log.warning("a volume can't be looked through now", extra={"volume": volume, "error": str(error)})
            following, size = None, 0
        cost = size if self._deep else (self._scrub.tally.counts["chunks"] - before) * SHALLOW_CHUNK_BYTES
        if following is not None:
            return f"{volume} {following}", cost
        later = [name for name in names if name > volume]
        return (f"{later[0]} " if later else None), cost

    def left(self) -> str:
        return ""


class _Mover(_Walk):
    """Writes chunks anew elsewhere."""

    def __init__(self, context: Context, tally: Tally) -> None:
        super().__init__(context, "")
        self._tally = tally

    async def visit(self, bucket: str, cursor: Cursor) -> tuple[Cursor | None, int]:
        holders = await self._context.container(bucket).walk(cursor, MOVE_ROWS)
        size = 0
        for at in range(0, len(holders), MOVES_AT_ONCE):
            for outcome in await gather([partial(self._move_all, bucket, holder) for holder in holders[at : at + MOVES_AT_ONCE]]):
                if isinstance(outcome, FrazilError):
                    raise outcome
                size += outcome
        return (holders[-1].cursor if holders else None), size

    def needs(self, bucket: str, holder: Holding) -> AsyncIterator[Need]:
        raise NotImplementedError

    def left(self) -> str:
        lost = self._tally.counts["lost"]
        return f"{lost} metachunks can't be made whole: too little of them is left, the log names them" if lost else ""

    async def _move_all(self, bucket: str, holder: Holding) -> int:
        """One after another, for each changes the layout that the next must find as it is. Raises: Superseded, Unavailable."""
        needs = [need async for need in self.needs(bucket, holder)]
        return sum([await self._move(need, afresh=number > 0) for number, need in enumerate(needs)])

    async def _move(self, need: Need, *, afresh: bool) -> int:
        """A content that changes meanwhile is looked at again, one that can't be made whole is told. Raises: Superseded, Unavailable."""
        for number in range(TRIES_MAX):
            if afresh or number:
                now = await self._now(need)
                if now is None:
                    return 0
                need = now
            try:
                size = await remake(self._context, need)
            except Superseded:
                continue
            except ContentLost as error:
                self._tally.counts["lost"] += 1
                log.error("a metachunk can't be made whole", extra={"bucket": need.bucket, "error": str(error)})
                return 0
            self._tally.counts["moved"] += len(need.positions)
            self._tally.counts["bytes"] += size
            return size
        raise Superseded(f"{need.bucket}/{need.holder.key} was changed again and again while its chunks were to be written anew")

    async def _now(self, need: Need) -> Need | None:
        """The same chunks where they are named now; None when nothing names them any more."""
        now = await Scrub(self._context, self._tally, deep=False).again(need.bucket, need.holder)
        if now is None:
            return None
        mine = {chunk.id for chunk in Layout.parse(need.holder.layout).metachunks[need.index].chunks if chunk.position in need.positions}
        for index, metachunk in enumerate(Layout.parse(now.layout).metachunks):
            if mine <= {chunk.id for chunk in metachunk.chunks}:
                return replace(need, holder=now, index=index)
        return None


class RebuildVolume(_Mover):
    """Makes anew what a volume should hold and doesn't."""

    def __init__(self, context: Context, tally: Tally, arguments: dict[str, str]) -> None:
        super().__init__(context, tally)
        self._volume = arguments["volume"]

    async def needs(self, bucket: str, holder: Holding) -> AsyncIterator[Need]:
        mine = [each for each in chunks_of(holder) if each.volume == self._volume]
        if not mine:
            return
        self._tally.saw(len(mine), 0)
        away = self._volume in self._context.fleet.retired or bool(await self._sick())
        looks = {}
        if not away:
            found = await self._context.fleet.volume(self._volume).examine([each.chunk.name for each in mine], deep=False)
            looks = {look.chunk: look for look in found}
        for each in mine:
            look = looks.get(each.chunk.name)
            if look is None or judge(each, look)[0] not in ("", "stale"):
                avoid = (self._volume,) if away else ()
                yield Need(bucket, holder, each.index, frozenset({each.chunk.position}), "its volume was rebuilt", avoid)

    async def _sick(self) -> str:
        return next((stat.sick for stat in await self._context.fleet.stats() if stat.volume == self._volume), "it is not there")


class Decommission(_Mover):
    """Moves everything off a volume, which takes nothing new any more: passes, until one finds nothing there.

    What was begun before the volume was retired may be named behind a pass's cursor; the next pass finds it.
    """

    def __init__(self, context: Context, tally: Tally, arguments: dict[str, str]) -> None:
        super().__init__(context, tally)
        self._volume = arguments["volume"]

    async def step(self, position: str) -> tuple[str | None, int]:
        counts = self._tally.counts
        if not position and not counts["passes"]:
            await trio.sleep(LOOK_S * 3)  # until every process knows that nothing new goes there: see `keep_retired`
        following, size = await super().step(position)
        if following is not None:
            return following, size
        counts["passes"] += 1
        if counts["found"] == counts["lost"] or counts["passes"] >= PASSES_MAX:
            return None, size
        counts["found"] = counts["lost"] = 0
        return "", size

    def left(self) -> str:
        """Of the last pass."""
        found, lost, passes = (self._tally.counts[name] for name in ("found", "lost", "passes"))
        if not found:
            return ""
        left = f"pass {passes} still found chunks on the volume: {found}, and too little is left of {lost} of them to make them whole"
        return f"{left}. What the log names is to be restored or deleted, then the volume emptied again"

    async def needs(self, bucket: str, holder: Holding) -> AsyncIterator[Need]:
        for each in chunks_of(holder):
            if each.volume == self._volume:
                self._tally.counts["found"] += 1
                yield Need(bucket, holder, each.index, frozenset({each.chunk.position}), "", (self._volume,), keep=True)


class Rebalance(_Mover):
    """Moves chunks from the fullest volumes to the emptiest."""

    def __init__(self, context: Context, tally: Tally, arguments: dict[str, str]) -> None:
        super().__init__(context, tally)
        self._moved: dict[str, int] = {}

    async def needs(self, bucket: str, holder: Holding) -> AsyncIterator[Need]:
        full, fuller = await self._uneven()
        for each in chunks_of(holder):
            if each.volume in full and each.size and self._moved.get(each.volume, 0) < full[each.volume]:
                self._moved[each.volume] = self._moved.get(each.volume, 0) + each.size
                yield Need(bucket, holder, each.index, frozenset({each.chunk.position}), "", fuller, keep=True)

    async def _uneven(self) -> tuple[dict[str, int], frozenset[str]]:
        """Bytes too much, of the volumes that have too many; and all that are not emptier than the whole."""
        stats = [stat for stat in await self._context.fleet.stats() if stat.bytes_total and not stat.sick]
        total = sum(stat.bytes_total for stat in stats)
        if not total:
            return {}, frozenset()
        mean = sum(stat.bytes_total - stat.bytes_free for stat in stats) / total
        used = {stat.volume: (stat.bytes_total - stat.bytes_free) / stat.bytes_total for stat in stats}
        full = {stat.volume: int((used[stat.volume] - mean) * stat.bytes_total) for stat in stats if used[stat.volume] > mean + SPREAD}
        return full, frozenset(volume for volume, share in used.items() if share >= mean)


KINDS: dict[str, Callable[[Context, Tally, dict[str, str]], Task]] = {
    "scrub-meta": ScrubMetadata,
    "scrub-chunks": ScrubChunks,
    "rebuild-volume": RebuildVolume,
    "decommission": Decommission,
    "rebalance": Rebalance,
}


class _Running:
    """A job that is being worked on."""

    def __init__(self, context: Context, job: Job) -> None:
        self.tally = Tally(job.progress)
        self.task = KINDS[job.kind](context, self.tally, job.arguments)
        self.job = job
        self.next_at = self.saved_at = 0.0


class JobRunner:
    """Works on every job that is running, a step of each in turn."""

    name = "jobs"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._running: dict[int, _Running] = {}
        self._prepared = False
        self._began_us = context.clock.now_us()

    def status(self) -> str:
        return f"{len(self._running)} jobs are being worked on"

    async def work(self) -> State:
        await self._prepare()
        wished = {job.id: job for job in await self._context.meta.jobs.jobs()}
        retire(self._context.fleet, list(wished.values()))
        self._running = {number: each for number, each in self._running.items() if number in wished and wished[number].state == "running"}
        busy = False
        for job in wished.values():
            if job.state == "running" and self._is_due(job):
                busy = await self._advance(job) or busy
        return State.BUSY if busy else State.IDLE

    async def wait(self) -> None:
        await trio.sleep(LOOK_S)

    def _is_due(self, job: Job) -> bool:
        if "standing" not in job.arguments:
            return True
        return self._context.clock.now_us() >= max(job.progress.get("next_us", 0), self._began_us + int(STANDING_DELAY_S * 1e6))

    async def _prepare(self) -> None:
        """The scrubs of the background, which never end."""
        if self._prepared:
            return
        there = {job.kind for job in await self._context.meta.jobs.jobs() if "standing" in job.arguments and job.state != "aborted"}
        for kind, (arguments, pace_bytes, _) in STANDING.items():
            if kind not in there:
                try:
                    await self._context.meta.jobs.submit_job(Job(kind, arguments, pace_bytes=pace_bytes))
                except AlreadyExists:
                    continue
        self._prepared = True

    async def _advance(self, job: Job) -> bool:
        """One step of a job, if its pace allows it; whether there was one."""
        running = self._running.get(job.id)
        if running is None:
            if job.kind not in KINDS:
                await self._save(job, state="failed", message=f"this Frazil knows no work {job.kind!r}")
                return False
            running = self._running[job.id] = _Running(self._context, job)
        now = time.monotonic()
        if running.next_at > now:
            return False
        position = running.job.position
        if not position:
            running.tally.counts["began_us"] = self._context.clock.now_us()
        try:
            following, size = await running.task.step(position)
        except FrazilError as error:
            running.next_at = now + LOOK_S * 5
            await self._save(msgspec.structs.replace(running.job, progress=dict(running.tally.counts)), message=str(error))
            return False
        if job.pace_bytes:
            running.next_at = max(running.next_at, now) + size / job.pace_bytes
        running.job = msgspec.structs.replace(job, position=following or "", progress=dict(running.tally.counts), message="")
        if following is None:
            await self._end(running)
        elif now - running.saved_at >= SAVE_S:
            running.saved_at = now
            running.job = await self._save(running.job)
        return True

    async def _end(self, running: _Running) -> None:
        job, tally = running.job, running.tally
        del self._running[job.id]
        message = "; ".join(tally.sentences())
        if "standing" not in job.arguments:
            left = running.task.left()
            await self._save(job, state="failed" if left else "done", message=left or message)
            return
        began_us = tally.counts["began_us"]
        _, _, period_s = STANDING[job.kind]
        gauge("scrub_pass_age_seconds", "Age of the oldest chunk that no scrub has looked at since.", ("kind",)).labels(job.kind).set(
            (self._context.clock.now_us() - began_us) / 1e6
        )
        progress = {"passed_us": began_us, "next_us": began_us + int(period_s * 1e6), "passes": job.progress.get("passes", 0) + 1}
        await self._save(msgspec.structs.replace(job, progress=progress), message=message)

    async def _save(self, job: Job, *, state: str = "", message: str | None = None) -> Job:
        changed = msgspec.structs.replace(job, state=state or job.state, message=job.message if message is None else message)
        return await self._context.meta.jobs.save_job(changed)


def retire(fleet: Fleet, jobs: list[Job]) -> None:
    """Volumes that are being emptied, or were, take nothing new; of several such jobs of a volume the last counts."""
    last = {job.arguments["volume"]: job for job in sorted(jobs, key=lambda job: job.id) if job.kind == EMPTIED}
    fleet.retire({volume for volume, job in last.items() if job.state != "aborted"})


async def keep_retired(context: Context) -> None:
    """The same in a process that works on no jobs, for ever."""
    while True:
        try:
            retire(context.fleet, await context.meta.jobs.jobs())
        except (FrazilError, BaseNotFound) as error:
            log.info("the jobs can't be read now", extra={"error": str(error)})
        await trio.sleep(LOOK_S * 2)


def check(kind: str, arguments: dict[str, str], fleet: Fleet) -> None:
    """Raises: InvalidArgument for a job that can't be."""
    if kind not in KINDS:
        raise InvalidArgument(f"there is no work {kind!r}; there is {', '.join(KINDS)}")
    volume = arguments.get("volume")
    if kind in ("rebuild-volume", "decommission") and not volume:
        raise InvalidArgument(f"{kind} needs a volume")
    if volume and volume not in fleet.volumes:
        raise InvalidArgument(f"there is no volume {volume}; there are {', '.join(sorted(fleet.volumes))}")
