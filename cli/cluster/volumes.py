"""The role rawx: volumes, and the listener in front of each."""

from __future__ import annotations

import functools
import os
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import trio

from cli.cluster.cold import Home, forget_at, homes
from cli.cluster.node import Node
from cli.cluster.telling import count_calls, expose_metrics
from cli.listener import bind
from meta.conscience.protocol import Registration
from node.http.server import serve
from node.logbook import LogCall
from node.statistics import Disk
from rawx.device import Devices
from rawx.health import Trust
from rawx.identity import read_identity
from rawx.service import LIMITS as RAWX_LIMITS
from rawx.service import RawxService
from rawx.volume import Volume
from store.slot import LOOK_PERIOD_S, Slot


class _ServedVolume:
    """One volume and the listener in front of it."""

    def __init__(self, node: Node, number: int, slot: Slot, home: Home) -> None:
        self.port = node.config.rawx.port + number
        self._node = node
        self._slot = slot
        self._home = home
        self._location = f"{node.config.place}.{node.config.rawx.disks[number]}"
        self._disk = Disk(slot.path)
        self._trust = Trust()
        self._offered: dict[str, Volume] = {}
        self.service = RawxService(self._offered, node.key)

    def offer(self) -> None:
        """The volume that the slot holds now, if it is there."""
        self._offered.clear()
        if isinstance(volume := self._slot.volume, Volume):
            self._offered[volume.volume_id] = volume

    def registration(self) -> Registration:
        node, volume = self._node, self._slot.volume
        health = volume.health if isinstance(volume, Volume) else None
        problem = health.sick if health is not None else getattr(volume, "reason", "it is away")
        statistics = {"cpu": round(node.processor.sample(), 1), **self._disk.sample()}
        if health is not None:
            statistics |= {"trust": round(self._trust.sample(health.errors, trio.current_time()), 1), **health.latency.sample()}
            if health.full or health.read_only:
                statistics["space"] = 0.0
        host = node.registration("rawx", self.port)
        return msgspec.structs.replace(
            host,
            id=self._slot.id,
            location=self._location,
            slots=node.config.rawx.slots,
            statistics=statistics,
            problem=problem,
            worker=self._home.worker,
            site=self._home.site,
        )


async def serve_rawx(
    node: Node, drain: trio.Event, *, only: int | None = None, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """only: number of the one volume to serve, from 0."""
    devices, observe = Devices(), count_calls("rawx", node.config.rawx.metrics)
    known = homes(node)
    await expose_metrics(node, node.config.rawx.metrics, drain)
    async with AsyncExitStack() as stack:
        served: list[tuple[_ServedVolume, Slot]] = []
        for number, path in enumerate(node.config.rawx.volumes):
            if only is None or number == only:
                home = known.get(path.absolute(), Home())
                forget = forget_at(node.client, home.worker) if home.worker else None
                slot = stack.enter_context(Slot(volume_id_of(path), path, node.namespace, devices, forget=forget))
                served.append((_ServedVolume(node, number, slot, home), slot))
        node.services.append(lambda: [each.registration() for each, _ in served])
        async with trio.open_nursery() as nursery, trio.open_nursery() as background:
            for each, slot in served:
                each.offer()
                background.start_soon(each.service.keep_tidy)
                background.start_soon(slot.sweep)
                background.start_soon(slot.keep_probed)
                background.start_soon(_follow, each, slot)
                sockets = bind((node.config.listen, each.port), shared=False)
                handler = LogCall(each.service, node.key)
                run = functools.partial(serve, handler, sockets, limits=RAWX_LIMITS, tls=node.tls.server, name="rawx")
                await nursery.start(functools.partial(run, drain=drain, observe=observe))
            task_status.started()
            await drain.wait()
            background.cancel_scope.cancel()


async def _follow(served: _ServedVolume, slot: Slot) -> None:
    """Opens the volume anew when its disk came or went."""
    from node.threads import run_blocking

    while True:
        await trio.sleep(LOOK_PERIOD_S)
        if await run_blocking(slot.changed, abandon=True):
            await run_blocking(slot.open)
            served.offer()


def volume_id_of(path: Path) -> str:
    """The id the volume has, or will get: a folder without one is a new volume. Its folder is made when its parent is there."""
    path.mkdir(exist_ok=True, mode=0o700)
    identity = read_identity(str(path))
    return identity.id if identity is not None else os.urandom(8).hex()
