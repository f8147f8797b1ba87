"""Reads a store on this host: its bases and volumes beside the running process, its traffic from the processes' own sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from glacier.boards import open_boards
from glacier.worker.protocol import Verb
from meta.protocol.jobs import Job
from node.auth import NamespaceKey
from node.clock import Clock, SystemClock
from node.errors import FrazilError, InvalidArgument
from node.http.client import Client
from node.logbook import Line, log_of
from rawx.protocol import VolumeStat
from store.embedded import StoreOptions, open_store
from store.runfolder import metrics_sockets
from store.settings import KEY_NAME, short_path
from store.store import Store
from tui.cold import ColdKeys, named, waiting_view
from tui.memory import Memory
from tui.snapshot import BoardView, Level, Snapshot, Traffic, VolumeView, WaitingView
from tui.traffic import Reading, between, parse
from tui.usage import Usage

WAITING_SHOWN_MAX = 200
"""Of each bus, the most urgent."""
METRICS_BYTES_MAX = 4 << 20
METRICS_S_MAX = 2.0


class Serving(NamedTuple):
    """url: "" when the store does not run; cold: the sockets of the workers of its boards."""

    url: str
    cold: tuple[str, ...] = ()


@asynccontextmanager
async def local_reader(
    directory: Path, serving: Callable[[], Serving], sentence: Callable[[Job], str], memory: Memory | None = None
) -> AsyncIterator[LocalReader]:
    """serving: where the store serves now; sentence: how far a job is, for people. Raises: FrazilError."""
    key = NamespaceKey.load(directory / KEY_NAME)
    async with open_store(StoreOptions(directories=(directory,)), role="gateway") as store, Client(key=key) as client:
        yield LocalReader(store, directory, client, key, serving, sentence, memory or Memory())


@dataclass
class LocalReader:
    """tui.feed.Reader of a store whose directory is here."""

    store: Store
    directory: Path
    client: Client
    key: NamespaceKey
    serving: Callable[[], Serving]
    sentence: Callable[[Job], str]
    memory: Memory
    clock: Clock = field(default_factory=SystemClock)
    _before: Reading | None = None

    def __post_init__(self) -> None:
        self._usage = Usage(self.store.meta, self.sentence, self.clock)

    async def read(self) -> Snapshot:
        url, cold = self.serving()
        found = await self.store.status()
        volumes = tuple(volume_view(volume) for volume in sorted(found.volumes, key=lambda each: each.volume))
        jobs = await self._usage.jobs()
        boards, waiting = await self._cold(cold)
        self.memory.journal.look(self.clock.now_us())
        self.memory.journal.volumes(volumes)
        self.memory.journal.boards(boards)
        self.memory.journal.jobs(jobs)
        return Snapshot(
            self.clock.now_us(),
            str(self.directory),
            bool(url),
            url,
            f"{found.policy_small} small, {found.policy_large} large",
            volumes,
            await self._usage.buckets(),
            jobs,
            boards,
            waiting,
            events=tuple(self.memory.journal.events),
            traffic=await self._traffic(),
            findings=found.findings,
            pending=found.pending,
        )

    async def steer(self, job: int, state: str) -> None:
        await self.store.meta.jobs.control_job(job, state=state, pace_bytes=None)

    async def lock(self, service: str, *, locked: bool) -> None:
        raise InvalidArgument("a store in one process has no services to lock")

    async def order(self, bus: str, disk: int, verb: Verb) -> str:
        async with self._cold_keys() as keys:
            return await keys.order(bus, disk, verb)

    async def verify(self, bus: str, disk: int) -> str:
        async with self._cold_keys() as keys:
            return await keys.verify(bus, disk)

    async def pace(self, bus: str, rate_bytes: int) -> str:
        async with self._cold_keys() as keys:
            return await keys.pace(bus, rate_bytes)

    @asynccontextmanager
    async def _cold_keys(self) -> AsyncIterator[ColdKeys]:
        async with open_boards(self.serving().cold, self.key) as boards:
            keys = ColdKeys()
            keys.learn(boards.workers, named([await worker.status() for worker in boards.workers]))
            yield keys

    async def log(self, service: str) -> Sequence[Line]:
        """Of all processes of the store, in order of time."""
        found: list[Line] = []
        for path in metrics_sockets(self.directory):
            with suppress(FrazilError, OSError), short_path(str(path)) as name:  # one that has just ended
                found += await log_of(self.client, f"unix:{name}")
        return sorted(found, key=lambda line: line.at_us)

    async def _cold(self, addresses: tuple[str, ...]) -> tuple[tuple[BoardView, ...], tuple[WaitingView, ...]]:
        if not addresses:
            return (), ()
        waiting: list[WaitingView] = []
        async with open_boards(addresses, self.key) as boards:
            statuses = named([await worker.status() for worker in boards.workers])
            for worker, status in zip(boards.workers, statuses, strict=True):
                waiting += [waiting_view(status, job, self.clock.now_us()) for job in await worker.queue(WAITING_SHOWN_MAX)]
        return self.memory.meters.boards(self.clock.monotonic(), statuses), tuple(waiting)

    async def _traffic(self) -> Traffic:
        texts: list[str] = []
        for path in metrics_sockets(self.directory):
            try:
                texts.append(await self._metrics(path))
            except (FrazilError, OSError):
                continue  # that process has just ended
        before, self._before = self._before, parse(self.clock.monotonic(), texts)
        return between(before, self._before) if before is not None else Traffic(memory_bytes=int(self._before.memory_bytes))

    async def _metrics(self, path: Path) -> str:
        with short_path(str(path)) as name:
            async with await self.client.request("GET", f"unix:{name}", "/metrics", timeout_s=METRICS_S_MAX) as answer:
                await answer.raise_for_error()
                return (await answer.read(METRICS_BYTES_MAX)).decode()


def volume_view(volume: VolumeStat) -> VolumeView:
    trouble = volume.trouble
    level = Level.GOOD if not trouble else Level.BAD if volume.sick or volume.read_only else Level.WARNING
    return VolumeView(volume.volume, volume.bytes_total, volume.bytes_free, trouble, level)
