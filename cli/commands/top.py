"""top: the dashboard."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import click

from cli.exit import Exit, Hinted
from cli.session import Session, with_session

if TYPE_CHECKING:
    from cli.place import StoreDirectory
    from tui.feed import Opening, Reader

EVERY_S_LEAST = 0.2


@click.command("top", short_help="Watch the store on a dashboard.")
@click.option("--every", type=click.FloatRange(EVERY_S_LEAST), default=1.0, show_default=True, metavar="SECONDS", help="How often to look.")
@click.option("--write", is_flag=True, help="Let keys steer jobs, services and cold disks.")
@with_session
def top(session: Session, every: float, write: bool) -> Exit:
    """Watch the store on a full-screen dashboard: health, space, traffic, volumes, buckets, jobs, boards of sleeping disks, events.

    On a host of a cluster (--store /etc/frazil/node.toml) it shows all hosts, their services with scores, and who leads.
    Looks only, unless --write is given or W pressed. Press ? for the keys.
    """
    if session.settings.json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Hinted("the dashboard needs a terminal", "`frazil status --json` tells programs", code=Exit.USAGE)
    from tui.app import Top

    place = session.directory()
    opening = cluster_opening(place) if place.is_cluster else local_opening(place)
    Top(opening, every_s=every, write=write).run()
    return Exit.OK


def local_opening(place: StoreDirectory) -> Opening:
    from cli.door import check_store, running
    from cli.estimate import progress
    from tui.local import Serving, local_reader
    from tui.memory import Memory

    path, memory = check_store(place), Memory()

    def serving() -> Serving:
        state = running(path)
        return Serving(state.url, state.cold) if state else Serving("")

    @asynccontextmanager
    async def opening() -> AsyncIterator[Reader]:
        async with local_reader(path, serving, progress, memory) as reader:
            yield reader

    return opening


def cluster_opening(place: StoreDirectory) -> Opening:
    from cli.cluster.door import open_door
    from cli.cluster.operator import lock, unlock
    from cli.cluster.reach import boards_of, cluster_meta
    from cli.estimate import progress
    from meta.conscience.protocol import Lock
    from tui.cluster import ClusterReader
    from tui.memory import Memory

    memory = Memory()

    @asynccontextmanager
    async def opening() -> AsyncIterator[Reader]:
        async with open_door(place) as node:

            async def set_lock(service: str, locked: bool) -> None:
                if locked:
                    await lock(node, service, Lock(place=0))
                else:
                    await unlock(node, service)

            yield ClusterReader(
                node.config.namespace,
                cluster_meta(node),
                node.directory,
                node.coordinator,
                node.client,
                boards=boards_of(node),
                sentence=progress,
                lock=set_lock,
                memory=memory,
            )

    return opening
