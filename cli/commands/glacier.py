"""glacier: the cold tier, as its operator sees it."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from cli.boards import known_boards
from cli.exit import Exit, Hinted
from cli.output import count_text
from cli.parameter import SIZE
from cli.session import Session, with_session
from cli.trial import short_time, simulate
from node.text import bytes_text, span_text, visible

if TYPE_CHECKING:
    import trio

    from glacier.boards import Boards
    from glacier.worker.config import WorkerConfig
    from glacier.worker.protocol import ColdDoor, DiskStatus, QueuedJob, Status
    from node.runner import Ready


@click.group("glacier", short_help="Look at the cold tier and try out its schedule.")
def glacier() -> None:
    """Look at the cold tier and try out its schedule."""


_worker = click.option("--worker", "workers", multiple=True, metavar="ADDRESS", help="A worker's socket, unix:PATH [default: the store's].")


_bus = click.option(
    "--bus",
    default="",
    metavar="BOARD/BUS",
    help="This bus, as `frazil glacier queue` names it [default: all, or the only one with the disk].",
)


@glacier.command("serve", short_help="Run the worker of a bus in the foreground.")
@click.argument("config", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--ready-fd", type=click.IntRange(3), default=None, metavar="FD", help="Write a line to this descriptor once it serves.")
@click.option("--parent", type=int, default=None, hidden=True, help="End when this process does; `up` sets it.")
@with_session
def serve(session: Session, config: Path, ready_fd: int | None, parent: int | None) -> Exit:
    """Run the worker that CONFIG describes, until SIGTERM or Ctrl-C.

    The commented sample, whose values are the defaults, is glacier/worker/worker.toml.
    """
    from cli.process import die_with, prepare
    from glacier.worker.config import WorkerConfig
    from node import log, runner
    from node.config import load
    from node.logbook import LOGBOOK

    if parent is not None:
        die_with(parent)
    prepare()
    log.set_up()
    LOGBOOK.attach()
    return Exit(runner.run(functools.partial(_serve, session, load(WorkerConfig, config)), ready_fd=ready_fd))


async def _serve(session: Session, config: WorkerConfig, drain: trio.Event, ready: Ready) -> None:
    import trio

    from glacier.worker.daemon import open_daemon, serve_worker

    async with open_daemon(config) as worker, trio.open_nursery() as nursery:
        await nursery.start(serve_worker, worker, config, drain)
        bus = f"{worker.core.report.board}/{worker.core.report.bus}"
        session.output.record("serving", f"The worker of bus {bus} answers on {config.listen}", bus=bus, address=config.listen)
        session.output.flush()
        ready.ready(config.listen)


@glacier.command("queue", short_help="Show what waits for cold disks.")
@click.option("--limit", metavar="N", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Jobs of each bus.")
@_worker
@with_session
def queue(session: Session, limit: int, workers: tuple[str, ...]) -> Exit:
    """Show each bus, its disks, and what waits for them, the most urgent first."""
    return session.run(lambda: _queue(session, limit, workers))


async def _queue(session: Session, limit: int, workers: tuple[str, ...]) -> Exit:
    async with known_boards(session, workers) as boards:
        for worker in boards.workers:
            status = await worker.status()
            _tell_bus(session, status)
            for disk in status.disks:
                _tell_disk(session, status, disk)
            for job in await worker.queue(limit):
                _tell_job(session, status, job)
    return Exit.OK


def _tell_bus(session: Session, status: Status) -> None:
    name = status.name
    waiting = ", ".join(f"{number:,} {kind}" for kind, number in sorted(status.waiting.items())) or "nothing"
    state = "" if status.connected else "  (the freezer does not answer)"
    lost = f"; {count_text(status.lost, 'chunk')} lost" if status.lost else ""
    lost += f"; {count_text(status.strays, 'stray')}" if status.strays else ""
    if status.site:
        name += f" in {status.site}"
    if status.rate_bytes:
        lost += f"; at most {bytes_text(status.rate_bytes)} per second"
    if status.unverified_us:
        lost += f"; every chunk was read within {span_text(max(time.time() - status.unverified_us / 1e6, 0.0))}"
    words = f"bus {name}: {status.doing}{state}; {waiting} waits; {count_text(status.power_ons, 'power-on')}{lost}"
    session.output.record("bus", words, **msgspec.to_builtins(status))


def _tell_disk(session: Session, status: Status, disk: DiskStatus) -> None:
    if not (disk.chunks or disk.waiting or disk.closed or disk.problem or disk.note):
        return
    notes = [note for note in ("powered" if disk.powered else "", disk.closed, disk.problem, visible(disk.note)) if note]
    notes += [f"{number:,} {kind}" for kind, number in sorted(disk.waiting.items())]
    share = f"{100 * disk.used / disk.total:5.1f} %" if disk.total else "       "
    human = f"  disk {disk.disk:>3}  {bytes_text(disk.used):>10} {share}  {disk.chunks:>9,} chunks  {', '.join(notes)}".rstrip()
    session.output.record("disk", human, board=status.board, bus=status.bus, **msgspec.to_builtins(disk))


def _tell_job(session: Session, status: Status, job: QueuedJob) -> None:
    age = short_time(max(time.time() - job.at_us / 1e6, 0.0))
    problem = f"  failed {count_text(job.tries, 'time')}: {job.problem}" if job.problem else ""
    due = f"  in about {short_time(job.wait_s)}" if job.wait_s >= 0 else ""
    human = f"  {job.kind:<9} disk {job.disk:>3}  {bytes_text(job.size):>10}  {age:>8}  {job.chunk}{due}{problem}"
    session.output.record("job", human, board=status.board, bus=status.bus, **msgspec.to_builtins(job))


@glacier.command("verify", short_help="Have cold disks read and compared.")
@click.option("--disk", metavar="DISK", type=click.IntRange(0), default=None, help="This disk only [default: all].")
@_bus
@_worker
@with_session
def verify(session: Session, disk: int | None, bus: str, workers: tuple[str, ...]) -> Exit:
    """Have every chunk on cold disks read and compared, now, and not only when its time comes.

    `frazil glacier queue` shows how far it is. What is damaged is made anew by the next `frazil scrub meta`.
    """
    return session.run(lambda: _verify(session, disk, bus, workers))


async def _verify(session: Session, disk: int | None, bus: str, workers: tuple[str, ...]) -> Exit:
    async with known_boards(session, workers) as boards:
        total = 0
        for worker, status in await _named(boards, bus):
            if disk is not None and disk not in [each.disk for each in status.disks]:
                continue
            count = await worker.verify(-1 if disk is None else disk)
            total += count
            name = status.name
            since = _since(status.unverified_us)
            session.output.record("bus", f"bus {name}: {count_text(count, 'chunk')} will be read; {since}", bus=name, chunks=count)
        if disk is not None and not total:
            session.output.note(f"no chunks on disk {disk}")
    return Exit.OK


def _since(unverified_us: int) -> str:
    if not unverified_us:
        return "none was there before"
    return f"the one that waits longest was read {short_time(max(time.time() - unverified_us / 1e6, 0.0))} ago"


@glacier.command("clear", short_help="Move all chunks of a cold disk to others.")
@click.argument("disk", type=click.IntRange(0))
@_bus
@_worker
@with_session
def clear(session: Session, disk: int, bus: str, workers: tuple[str, ...]) -> Exit:
    """Move all chunks of DISK to other disks of its bus: each comes back to its volume, and goes out again.

    `frazil glacier queue` shows how far it is. Disks that deletions emptied are cleared without being asked. An empty disk takes chunks
    again; one that is to be taken out is given up then, with `frazil glacier lose`.
    """
    return session.run(lambda: _clear(session, disk, bus, workers))


async def _clear(session: Session, disk: int, bus: str, workers: tuple[str, ...]) -> Exit:
    async with known_boards(session, workers) as boards:
        count = await (await _worker_of(boards, disk, bus)).clear(disk)
    session.output.record("disk", f"disk {disk} is cleared of {count_text(count, 'chunk')}", disk=disk, chunks=count)
    return Exit.OK


async def _named(boards: Boards, bus: str) -> list[tuple[ColdDoor, Status]]:
    """The buses that are meant. Raises: Hinted when there is none of this name, or boards of one name that are not told apart."""
    from glacier.worker.protocol import is_named

    known = [(worker, await worker.status()) for worker in boards.workers]
    found = [(worker, status) for worker, status in known if is_named(status, bus)]
    if not found:
        raise Hinted(f"there is no bus {bus}", "`frazil glacier queue` lists them", code=Exit.NOT_FOUND)
    if bus and len(found) > 1:
        names = " or ".join(status.full_name for _, status in found)
        raise Hinted(f"there are several buses {bus}", f"name one with --bus {names}", code=Exit.USAGE)
    return found


async def _worker_of(boards: Boards, disk: int, bus: str) -> ColdDoor:
    """Raises: Hinted, also when several buses have a disk of this number."""
    found = [(worker, status) for worker, status in await _named(boards, bus) if disk in [each.disk for each in status.disks]]
    if not found:
        where = f"bus {bus}" if bus else "any bus"
        raise Hinted(f"there is no disk {disk} on {where}", "`frazil glacier queue --json` lists them", code=Exit.NOT_FOUND)
    if len(found) > 1:
        names = {status.name for _, status in found}
        if len(names) < len(found):
            names = {status.full_name for _, status in found}
        raise Hinted(f"several buses have a disk {disk}", f"name one with --bus {' or '.join(sorted(names))}", code=Exit.USAGE)
    return found[0][0]


@glacier.group("power", short_help="Switch a cold disk on or off through its worker.")
def power() -> None:
    """Switch a cold disk on or off through its worker, from any host, between two of its jobs and within the power budget."""


@power.command("on", short_help="Switch a disk on.")
@click.argument("disk", type=click.IntRange(0))
@click.option("--force", is_flag=True, help="Also a disk that failed to come up and is left alone.")
@_bus
@_worker
@with_session
def power_on(session: Session, disk: int, force: bool, bus: str, workers: tuple[str, ...]) -> Exit:
    """Switch DISK on; refused while another disk of its bus has power. What is idle is switched off again after a while."""
    return session.run(lambda: _order(session, disk, "force" if force else "on", bus, workers))


@power.command("off", short_help="Switch a disk off.")
@click.argument("disk", type=click.IntRange(0))
@_bus
@_worker
@with_session
def power_off(session: Session, disk: int, bus: str, workers: tuple[str, ...]) -> Exit:
    """Switch DISK off once the job that runs on it is done. Jobs that wait for it have it switched on again."""
    return session.run(lambda: _order(session, disk, "off", bus, workers))


@glacier.command("fsck", short_help="Check the file system of a cold disk through its worker.")
@click.argument("disk", type=click.IntRange(0))
@click.option("--repair", is_flag=True, help="Repair what can be repaired without asking.")
@_bus
@_worker
@with_session
def fsck(session: Session, disk: int, repair: bool, bus: str, workers: tuple[str, ...]) -> Exit:
    """Check the file system of DISK, which gets power for it; the other disks of its bus wait meanwhile.

    What a check that takes longer came to is shown by `frazil glacier queue`.
    """
    return session.run(lambda: _order(session, disk, "repair" if repair else "fsck", bus, workers))


async def _order(session: Session, disk: int, verb: str, bus: str, workers: tuple[str, ...]) -> Exit:
    from glacier.worker.protocol import Verb

    async with known_boards(session, workers) as boards:
        words = await (await _worker_of(boards, disk, bus)).order(disk, Verb(verb))
    session.output.record("disk", words, disk=disk, order=verb)
    return Exit.OK


@glacier.command("pace", short_help="Limit the bytes per second to boards and from them.")
@click.argument("rate", type=SIZE)
@_bus
@_worker
@with_session
def pace(session: Session, rate: int, bus: str, workers: tuple[str, ...]) -> Exit:
    """Let no more than RATE bytes per second go to cold boards and come from them; 0 takes the limit away.

    It holds until the worker ends; what holds from its start is rate_bytes in its configuration.
    """
    return session.run(lambda: _pace(session, rate, bus, workers))


async def _pace(session: Session, rate: int, bus: str, workers: tuple[str, ...]) -> Exit:
    async with known_boards(session, workers) as boards:
        for worker, status in await _named(boards, bus):
            await worker.pace(float(rate))
            name, words = status.name, f"at most {bytes_text(rate)} per second" if rate else "no limit"
            session.output.record("bus", f"bus {name}: {words}", bus=name, rate_bytes=rate)
    return Exit.OK


@glacier.command("sites", short_help="Have a cold class go to the boards of certain data centres.")
@click.argument("storage_class", type=click.Choice(["GLACIER", "DEEP_ARCHIVE"]), metavar="CLASS")
@click.argument("sites", nargs=-1, metavar="[SITE...]")
@click.option("--any", "anywhere", is_flag=True, help="To all boards again.")
@_worker
@with_session
def sites(session: Session, storage_class: str, sites: tuple[str, ...], anywhere: bool, workers: tuple[str, ...]) -> Exit:
    """Have objects of CLASS (GLACIER, DEEP_ARCHIVE) go to the boards of these data centres only; without any, show which.

    A SITE is what `site` in the worker's file names. What is cold already stays where it is. On a cluster pools have sites:
    `frazil config set pools.paris.sites '["dc2"]'`, then `frazil config set draws.GLACIER paris`.
    """
    return session.run(lambda: _sites(session, storage_class, sites, anywhere, workers))


async def _sites(session: Session, storage_class: str, sites: tuple[str, ...], anywhere: bool, workers: tuple[str, ...]) -> Exit:
    from cli.door import check_store
    from store.settings import load_settings, save_settings

    if session.directory().is_cluster:
        hint = "`frazil config set pools.paris.sites '[\"dc2\"]'`, then `frazil config set draws.GLACIER paris`"
        raise Hinted("on a cluster the pool of a class says where its boards are", hint, code=Exit.USAGE)
    store = check_store(session.directory())
    settings = load_settings(store)
    assert settings is not None
    if sites or anywhere:
        async with known_boards(session, workers) as boards:
            known = {status.site for status in [await worker.status() for worker in boards.workers] if status.site}
        if strange := sorted(set(sites) - known):
            there = f"there are some in {', '.join(sorted(known))}" if known else "no worker's file names a site"
            raise Hinted(f"no board is in {visible(strange[0])}", f"{there}: `site` of worker.toml", code=Exit.NOT_FOUND)
        others = {name: places for name, places in settings.sites.items() if name != storage_class}
        settings = msgspec.structs.replace(settings, sites=others | ({storage_class: sites} if sites else {}))
        save_settings(store, settings)
    chosen = settings.sites.get(storage_class, ())
    session.output.record("sites", f"{storage_class}: {', '.join(chosen) or 'all boards'}", storage_class=storage_class, sites=chosen)
    return Exit.OK


@glacier.command("lose", short_help="Give a cold disk up for good.")
@click.argument("disk", type=click.IntRange(0))
@click.option("--yes", is_flag=True, help="Don't ask.")
@_bus
@_worker
@with_session
def lose(session: Session, disk: int, yes: bool, bus: str, workers: tuple[str, ...]) -> Exit:
    """Give DISK up for good: it is never powered again, and what lay on it is made anew from other chunks.

    Chunks whose bytes are on their volumes still are frozen to other disks; of the others `frazil scrub meta` makes new ones.
    """
    if not yes:
        click.confirm(f"Is disk {disk} gone for good? What only it holds is then made anew from other chunks", abort=True, err=True)
    return session.run(lambda: _lose(session, disk, bus, workers))


async def _lose(session: Session, disk: int, bus: str, workers: tuple[str, ...]) -> Exit:
    async with known_boards(session, workers) as boards:
        count = await (await _worker_of(boards, disk, bus)).lose(disk)
    session.output.record("disk", f"disk {disk} is given up; it held {count_text(count, 'chunk')}", disk=disk, chunks=count)
    return Exit.OK


glacier.add_command(simulate)
