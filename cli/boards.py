"""The boards of cold disks that the place of a command has, and what is wrong with them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from cli.checks import Finding
from cli.exit import Exit, Hinted
from cli.output import count_text
from cli.session import Session
from node.text import span_text, visible

if TYPE_CHECKING:
    from glacier.boards import Boards
    from glacier.worker.protocol import Status


@asynccontextmanager
async def known_boards(session: Session, workers: tuple[str, ...] = ()) -> AsyncIterator[Boards]:
    """Raises: Hinted when no worker is known."""
    if session.directory().is_cluster:
        async with _cluster_boards(session, workers) as boards:
            yield boards
        return
    from cli.door import check_store, running
    from cli.state import SECRET_FILE
    from glacier.boards import open_boards
    from node.auth import NamespaceKey

    store = check_store(session.directory())
    state = running(store)
    addresses = workers or (state.cold if state is not None else ())
    if not addresses:
        raise Hinted(
            f"no worker of cold disks is known in {store}",
            "start the store with --board DIR (or --cold), or give --worker",
            code=Exit.NOT_FOUND,
        )
    async with open_boards(addresses, NamespaceKey.load(store / SECRET_FILE)) as boards:
        yield boards


@asynccontextmanager
async def _cluster_boards(session: Session, workers: tuple[str, ...]) -> AsyncIterator[Boards]:
    """Those of all hosts. Raises: Hinted when there is none."""
    from cli.cluster.door import open_door
    from cli.cluster.reach import boards_of
    from glacier.boards import open_boards

    async with open_door(session.directory()) as node:
        if workers:
            async with open_boards(workers, node.key) as boards:
                yield boards
            return
        found = boards_of(node)
        if not found.workers:
            hint = "give a host boards: [freezer] and [worker] of its node's file (packaging/README.md)"
            raise Hinted("no host of the cluster has a worker of cold disks", hint, code=Exit.NOT_FOUND)
        yield found


async def board_statuses(session: Session) -> list[Status]:
    """Of all buses; none where no board is known. Raises: FrazilError."""
    try:
        async with known_boards(session) as boards:
            return [await worker.status() for worker in boards.workers]
    except Hinted as error:
        if error.exit is Exit.NOT_FOUND:
            return []
        raise


def board_findings(statuses: Sequence[Status]) -> Iterator[Finding]:
    """What an operator should look at. A bus with which all is well is one finding."""
    for status in statuses:
        troubles = list(_troubles(status))
        yield from troubles
        if not troubles:
            yield Finding("cold disks", "ok", f"bus {status.name}", f"{count_text(len(status.disks), 'disk')}, none has trouble")


def _troubles(status: Status) -> Iterator[Finding]:
    bus = f"bus {status.name}"
    if not status.connected:
        yield Finding(
            "cold disks", "failure", bus, "the freezer does not answer", "start it, or look at its log: nothing is restored meanwhile"
        )
    for disk in status.disks:
        if disk.problem:
            again = f", tried again in {span_text(disk.rest_s)}" if disk.rest_s else ""
            hint = f"look at `frazil freezer show`; if it is lost: frazil glacier lose {disk.disk}"
            yield Finding("cold disks", "warning", f"{bus}, disk {disk.disk}", visible(disk.problem) + again, hint)
    if status.lost:
        yield Finding("cold disks", "warning", bus, f"{count_text(status.lost, 'chunk')} lost", "frazil scrub meta makes new ones")
