"""Reads a cluster from any of its hosts: the services as the conscience tells them, the others by asking them, all proved with the key."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

import trio

from glacier.cluster import ClusterBoards
from glacier.worker.protocol import ColdDoor, QueuedJob, Status, Verb
from meta.cluster.link import reign_of_set
from meta.cluster.roster import Roster
from meta.conscience.client import Directory
from meta.conscience.protocol import KINDS, Service
from meta.coordinator import Coordinator
from meta.protocol.door import Meta
from meta.protocol.jobs import Job
from node.clock import Clock, SystemClock
from node.errors import FrazilError, NotFound, Unavailable
from node.http.client import Client
from node.logbook import Line, log_of
from rawx.client import RemoteRawx
from rawx.protocol import VolumeStat
from store.parallel import gather
from tui.cold import ColdKeys, named, waiting_view
from tui.local import METRICS_BYTES_MAX, METRICS_S_MAX, WAITING_SHOWN_MAX
from tui.memory import Memory
from tui.snapshot import BoardView, ElectionView, HostView, Level, ServiceView, Snapshot, Traffic, VolumeView, WaitingView
from tui.traffic import Reading, between, parse
from tui.usage import Usage

VOLUMES_EVERY_S = 5.0
"""Every volume is asked for its space."""
ANSWER_S_MAX = 2.0
REIGN_S_MAX = 1.0
T = TypeVar("T")
Lock = Callable[[str, bool], Awaitable[None]]


class ClusterReader:
    """tui.feed.Reader of the cluster that this host belongs to.

    name: of the namespace;  sentence: how far a job is, for people;  lock: takes a service out of use, or back into it
    """

    def __init__(
        self,
        name: str,
        meta: Meta,
        directory: Directory,
        coordinator: Coordinator,
        client: Client,
        *,
        boards: ClusterBoards,
        sentence: Callable[[Job], str],
        lock: Lock,
        memory: Memory,
        clock: Clock | None = None,
    ) -> None:
        self._name = name
        self._meta = meta
        self._directory = directory
        self._coordinator = coordinator
        self._client = client
        self._boards = boards
        self._lock = lock
        self._clock = clock or SystemClock()
        self._usage = Usage(meta, sentence, self._clock)
        self._roster = Roster(coordinator)
        self._journal, self._meters = memory.journal, memory.meters
        self._keys = ColdKeys()
        self._before: Reading | None = None
        self._stats: dict[str, VolumeStat | FrazilError] = {}
        self._asked_at_s = -VOLUMES_EVERY_S

    def __repr__(self) -> str:
        return f"<ClusterReader {self._name} {self._directory!r}>"

    async def read(self) -> Snapshot:
        """What can't be asked now is told as a trouble, beside what can. Raises: FrazilError when nobody tells of services."""
        await self._directory.refresh()
        known = sorted(self._directory.services.values(), key=lambda each: (each.registration.location, each.registration.kind, each.id))
        if not known:
            raise Unavailable("no conscience answers, and nothing is known of the services yet")
        troubles: list[str] = [] if self._directory.age_s() < VOLUMES_EVERY_S else ["no conscience answers: services as they were last"]
        services, volumes = tuple(map(service_view, known)), await self._volumes(known)
        boards, waiting = await self._cold(troubles)
        elections = await self._ask(troubles, "ZooKeeper", self._elections)
        buckets = await self._ask(troubles, "the metadata", self._usage.buckets)
        jobs = await self._ask(troubles, "the metadata", self._usage.jobs)
        gateways = [each for each in known if each.registration.kind == "gateway" and each.read]
        self._journal.look(self._clock.now_us())
        self._journal.services(services)
        self._journal.elections(elections)
        self._journal.volumes(volumes)
        self._journal.boards(boards)
        self._journal.jobs(jobs)
        return Snapshot(
            self._clock.now_us(),
            f"namespace {self._name}",
            bool(gateways),
            f"{len(gateways)} gateways" if len(gateways) != 1 else "1 gateway",
            "",
            volumes,
            buckets,
            jobs,
            boards,
            waiting,
            services,
            elections,
            tuple(self._journal.events),
            await self._traffic(known),
            hosts=hosts(known, volumes),
            troubles=tuple(dict.fromkeys(troubles)),
        )

    async def steer(self, job: int, state: str) -> None:
        await self._meta.jobs.control_job(job, state=state, pace_bytes=None)

    async def lock(self, service: str, *, locked: bool) -> None:
        await self._lock(service, locked)

    async def order(self, bus: str, disk: int, verb: Verb) -> str:
        return await self._keys.order(bus, disk, verb)

    async def verify(self, bus: str, disk: int) -> str:
        return await self._keys.verify(bus, disk)

    async def pace(self, bus: str, rate_bytes: int) -> str:
        return await self._keys.pace(bus, rate_bytes)

    async def log(self, service: str) -> Sequence[Line]:
        found = self._directory.services.get(service)
        if found is None:
            raise NotFound(f"no service {service} is known" if service else "choose a service first")
        if not found.registration.log:
            raise NotFound(f"{service} tells its log nowhere: look into the journal of {found.registration.host}")
        return await log_of(self._client, found.registration.log)

    async def _volumes(self, known: Iterable[Service]) -> tuple[VolumeView, ...]:
        served = [each for each in known if each.registration.kind == "rawx"]
        if self._clock.monotonic() - self._asked_at_s >= VOLUMES_EVERY_S:
            answers = await gather([partial(self._stat, each) for each in served])
            self._stats = {each.id: answer for each, answer in zip(served, answers, strict=True)}
            self._asked_at_s = self._clock.monotonic()
        return tuple(volume_view(each, self._stats.get(each.id)) for each in served)

    async def _stat(self, service: Service) -> VolumeStat:
        with trio.move_on_after(ANSWER_S_MAX):
            return await RemoteRawx(self._client, service.registration.address, service.id).stat()
        raise Unavailable(f"no answer within {ANSWER_S_MAX:g} s")

    async def _elections(self) -> tuple[ElectionView, ...]:
        await self._roster.look()
        queues = {name: await self._coordinator.candidates(name) for name in sorted(await self._coordinator.elections())}
        led = [name for name, queue in queues.items() if queue and name in self._roster.sets]
        answers = await gather([partial(self._reign, name, queues[name][0].address) for name in led])
        reigns = {name: answer for name, answer in zip(led, answers, strict=True) if not isinstance(answer, FrazilError)}
        found = []
        for name, queue in queues.items():
            peers = self._roster.sets[name].peers if name in self._roster.sets else tuple(each.name for each in queue)
            epoch, lag = reigns.get(name, (0, 0))
            found.append(ElectionView(name, queue[0].name if queue else "", epoch, peers, lag))
        return tuple(found)

    async def _reign(self, of: str, leader: str) -> tuple[int, int]:
        """Its epoch, and what the peer that is furthest behind lacks. Raises: Unavailable, NotLeader while the leader doesn't say."""
        with trio.move_on_after(REIGN_S_MAX):
            epoch, lag = await reign_of_set(self._client, leader, of)
            return epoch, max(lag.values(), default=0)
        raise Unavailable(f"no answer within {REIGN_S_MAX:g} s")

    async def _cold(self, troubles: list[str]) -> tuple[tuple[BoardView, ...], tuple[WaitingView, ...]]:
        """Of the workers that answer."""
        self._boards.arrange()
        answers = await gather([partial(self._bus, worker) for worker in self._boards.workers])
        troubles += [f"a worker of cold disks does not answer: {answer}" for answer in answers if isinstance(answer, FrazilError)]
        told = [
            (worker, *answer) for worker, answer in zip(self._boards.workers, answers, strict=True) if not isinstance(answer, FrazilError)
        ]
        statuses = named([status for _, status, _ in told])
        self._keys.learn([worker for worker, _, _ in told], statuses)
        now_us = self._clock.now_us()
        waiting = [waiting_view(status, job, now_us) for status, (_, _, jobs) in zip(statuses, told, strict=True) for job in jobs]
        return self._meters.boards(self._clock.monotonic(), statuses), tuple(waiting)

    async def _bus(self, worker: ColdDoor) -> tuple[Status, list[QueuedJob]]:
        with trio.move_on_after(ANSWER_S_MAX):
            return await worker.status(), await worker.queue(WAITING_SHOWN_MAX)
        raise Unavailable(f"no answer within {ANSWER_S_MAX:g} s")

    async def _ask(self, troubles: list[str], whom: str, call: Callable[[], Awaitable[tuple[T, ...]]]) -> tuple[T, ...]:
        try:
            with trio.fail_after(ANSWER_S_MAX):
                return await call()
        except (FrazilError, trio.TooSlowError) as error:
            troubles.append(f"{whom} does not answer" + (f": {error}" if str(error) else ""))
            return ()

    async def _traffic(self, known: Sequence[Service]) -> Traffic:
        addresses = [each.registration.metrics for each in known if each.registration.kind == "gateway" and each.registration.metrics]
        answers = await gather([partial(self._metrics, address) for address in addresses])
        texts = [answer for answer in answers if not isinstance(answer, FrazilError)]
        before, self._before = self._before, parse(self._clock.monotonic(), texts)
        return between(before, self._before) if before is not None else Traffic(memory_bytes=int(self._before.memory_bytes))

    async def _metrics(self, address: str) -> str:
        async with await self._client.request("GET", address, "/metrics", timeout_s=METRICS_S_MAX) as answer:
            await answer.raise_for_error()
            return (await answer.read(METRICS_BYTES_MAX)).decode()


def service_view(service: Service) -> ServiceView:
    told = service.registration
    return ServiceView(service.id, told.kind, told.location, service.place, service.read, service.locked, service.reason, _host(service))


def volume_view(service: Service, stat: VolumeStat | FrazilError | None) -> VolumeView:
    """Named by its place, which people know, and the begin of its id, which nothing else has."""
    name = f"{'.'.join(service.registration.location.split('.')[-2:])} {service.id[:6]}"
    host = _host(service)
    if not isinstance(stat, VolumeStat):
        return VolumeView(name, 0, 0, service.reason or str(stat or "not asked yet"), Level.BAD if stat else Level.WARNING, host)
    trouble = stat.trouble or ("" if service.read else service.reason)
    level = Level.GOOD if not trouble else Level.BAD if stat.sick or stat.read_only else Level.WARNING
    return VolumeView(name, stat.bytes_total, stat.bytes_free, trouble, level, host)


def hosts(known: Iterable[Service], volumes: Sequence[VolumeView]) -> tuple[HostView, ...]:
    """volumes: of the rawx services among those that are known, in their order."""
    by_host: dict[str, list[Service]] = defaultdict(list)
    space: dict[str, list[VolumeView]] = defaultdict(list)
    left = iter(volumes)
    for service in known:
        host = _host(service)
        by_host[host].append(service)
        if service.registration.kind == "rawx":
            space[host].append(next(left))
    return tuple(_host_view(name, found, space[name]) for name, found in sorted(by_host.items()))


def _host(service: Service) -> str:
    """The location as far as the host: those of volumes and freezers go on."""
    parts = service.registration.location.split(".")
    return ".".join(parts[:-1] if service.registration.kind in ("rawx", "freezer") and len(parts) > 1 else parts)


def _host_view(name: str, services: Sequence[Service], volumes: Sequence[VolumeView]) -> HostView:
    usable = [each for each in services if each.read]
    idle = [each.registration.statistics["cpu"] for each in usable if "cpu" in each.registration.statistics]
    kinds = sorted({each.registration.kind for each in services}, key=KINDS.index)
    bad = [f"{each.registration.kind}: {each.reason}" for each in services if each.reason]
    locked = sum(each.locked for each in services)
    level = Level.BAD if not usable else Level.WARNING if bad or locked else Level.GOOD
    note = "nothing answers" if not usable else "; ".join(dict.fromkeys(bad)) or (f"{locked} locked" if locked else "")
    return HostView(
        name,
        len(usable),
        len(services),
        tuple(kinds),
        sum(each.bytes_total for each in volumes),
        sum(each.bytes_free for each in volumes),
        100.0 - sum(idle) / len(idle) if idle else 0.0,
        note,
        level,
    )
