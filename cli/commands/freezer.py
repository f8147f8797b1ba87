"""freezer: drive a board of cold disks, and look at it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.exit import Exit, Hinted
from cli.output import count_text, time_text
from cli.parameter import SIZE
from cli.session import Session, with_session
from node.text import bytes_text, visible

if TYPE_CHECKING:
    from cli.board import Board
    from glacier.config import FreezerConfig
    from glacier.loopplan import LoopPlan
    from glacier.protocol import DiskReport, Freezer

SYSTEM_CONFIG = Path("/etc/frazil/freezer.toml")
DISKS_MAX = 1024
BUSES_MAX = 64


@click.group("freezer", short_help="Drive a board of cold disks, and look at it.")
def freezer() -> None:
    """Drive a board of cold disks, and look at it.

    A freezer is the daemon of one board; it powers disks, mounts them and copies chunks. Which disk has power when is for its workers to
    decide; `freezer power` has its say beside them, within the same budget.
    """


def _config_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--config",
        type=click.Path(dir_okay=False, path_type=Path),
        default=None,
        envvar="FRAZIL_FREEZER",
        metavar="FILE",
        help="The freezer's configuration [env: FRAZIL_FREEZER]; else the store's board, else /etc/frazil/freezer.toml.",
    )(function)


@freezer.command("serve", short_help="Run the freezer of a board in the foreground.")
@click.argument("config", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--ready-fd", type=click.IntRange(3), default=None, metavar="FD", help="Write a line to this descriptor once it serves.")
@click.option("--parent", type=int, default=None, hidden=True, help="End when this process does; `up` sets it.")
@with_session
def serve(session: Session, config: Path, ready_fd: int | None, parent: int | None) -> Exit:
    """Run the freezer that CONFIG describes, until SIGTERM or Ctrl-C. First of all it switches everything off.

    The commented sample, whose values are the defaults, is glacier/freezer.toml.
    """
    from cli.process import die_with, prepare
    from glacier.config import FreezerConfig
    from node import log, runner
    from node.config import load

    if parent is not None:
        die_with(parent)
    prepare()
    log.set_up()
    loaded = load(FreezerConfig, config)
    return Exit(runner.run(functools.partial(_serve, session, loaded), ready_fd=ready_fd))


async def _serve(session: Session, config: FreezerConfig, drain: Any, ready: Any) -> None:
    import trio

    from glacier.daemon import open_freezer, serve_freezer

    async with open_freezer(config) as board, trio.open_nursery() as nursery:
        addresses = await nursery.start(serve_freezer, board, config, drain)
        line = f"Board {config.name} ({count_text(len(config.layout.disks), 'disk')}) is served on {', '.join(addresses)}"
        session.output.record("serving", line, board=config.name, disks=len(config.layout.disks), addresses=addresses)
        session.output.flush()
        ready.ready(",".join(addresses))


@freezer.command("init", short_help="Make a board of loop devices, for trying things out.")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--disks", metavar="N", type=click.IntRange(1, DISKS_MAX), default=8, show_default=True, help="Disks on the board.")
@click.option("--buses", metavar="N", type=click.IntRange(1, BUSES_MAX), default=2, show_default=True, help="Buses they are spread over.")
@click.option("--disk-size", type=SIZE, default="1GiB", show_default=True, help="Size of each disk; its image takes what is written.")
@click.option(
    "--spin-up", metavar="SECONDS", type=click.FloatRange(0, 600), default=15.0, show_default=True, help="Seconds from power-on to mounted."
)
@with_session
def init(session: Session, directory: Path, disks: int, buses: int, disk_size: int, spin_up: float) -> Exit:
    """Write configurations in DIRECTORY for a board of loop devices and its workers, for the store on this host.

    `frazil up DIR --board DIRECTORY` runs it; what waits for cold disks there waits seconds, not hours. On a host of a cluster its node's
    file must name them; what to write is told.
    """
    from cli.board import Board
    from cli.door import check_store
    from glacier.loopplan import LoopPlan

    if disks < buses:
        raise Hinted("a bus without disks makes no sense", "give --disks at least as many as --buses", code=Exit.USAGE)
    board = Board(directory)
    if board.config.exists():
        raise Hinted(f"{visible(str(board.config))} is there already", "change it, or name a new directory", code=Exit.CONFLICT)
    place, plan = session.directory(), LoopPlan(disks, buses, disk_size, spin_up)
    if place.is_cluster:
        _init_for_node(session, place.path, board, plan)
    else:
        board.make(check_store(place), plan)
        session.output.progress("done", f"wrote {visible(str(board.config))}", verb="init", source=str(board.config))
    return Exit.OK


def _init_for_node(session: Session, file: Path, board: Board, plan: LoopPlan) -> None:
    """A board of a cluster's host, for its volumes; says what its node's file must say."""
    from cli.cluster.config import load_node

    node = load_node(file)
    if len(node.rawx.volumes) < plan.buses:
        hint = f"give --buses {max(1, len(node.rawx.volumes))}, or the node more rawx.volumes"
        raise Hinted(f"{file} names {count_text(len(node.rawx.volumes), 'volume')}, and each bus takes the chunks of its own", hint)
    board.make_for("", node.key, node.rawx.volumes, plan)
    buses = ", ".join(f'"{board.worker_file(bus)}"' for bus in range(plan.buses))
    lines = [f'[freezer]\nboards = ["{board.config}"]', f"[worker]\nbuses = [{buses}]"]
    session.output.progress("done", f"wrote {visible(str(board.config))}", verb="init", source=str(board.config))
    session.output.note("put this into {}, and restart the node's rawx:\n\n{}".format(file, "\n\n".join(lines)))


@freezer.command("list", short_help="List the disks of the board.")
@_config_option
@with_session
def list_disks(session: Session, config: Path | None) -> Exit:
    """List the disks of the board, with their state, fill, hours of power and what is wrong."""
    return session.run(lambda: _on_each_bus(session, config, _list))


async def _list(session: Session, bus: Freezer) -> Exit:
    trouble = False
    for disk in bus.bus.disks:
        report = await bus.probe(disk)
        trouble |= bool(report.problem)
        _show(session, bus, report)
    return Exit.WARNINGS if trouble else Exit.OK


def _show(session: Session, bus: Freezer, report: DiskReport) -> None:
    state = report.state.name.lower()
    if report.ready_ms:
        state += f" {report.ready_ms / 1000:.0f} s"
    used = f"{bytes_text(report.bytes_total - report.bytes_free)} of {bytes_text(report.bytes_total)}" if report.measured_us else "unknown"
    counters = f"{report.power_cycles:>6} cycles {report.powered_s / 3600:>8.1f} h {report.errors:>4} errors"
    problem = session.output.style(visible(report.problem), "red") if report.problem else ""
    line = f"disk {report.disk:>4}  bus {bus.bus.bus}  {state:<12} {used:>24} {counters}  {problem}".rstrip()
    session.output.record("disk", line, board=bus.bus.board, bus=bus.bus.bus, **_fields(report))


def _fields(report: DiskReport) -> dict[str, object]:
    return {name: getattr(report, name) for name in report.__slots__} | {"state": report.state.name.lower()}


@freezer.command("show", short_help="Show all about disks.")
@click.argument("disks", nargs=-1, type=int, required=True, metavar="DISK...")
@_config_option
@with_session
def show(session: Session, disks: tuple[int, ...], config: Path | None) -> Exit:
    """Show all that the freezer knows of disks, which they need no power for."""
    return session.run(lambda: _on_disks(session, config, disks, _show_one))


async def _show_one(session: Session, bus: Freezer, disk: int) -> Exit:
    report = await bus.probe(disk)
    lines = [f"disk {disk} on bus {bus.bus.bus} of board {bus.bus.board}"]
    lines += [f"  {name:<16} {value}" for name, value in _shown(report)]
    session.output.record("disk", "\n".join(lines), board=bus.bus.board, bus=bus.bus.bus, **_fields(report))
    return Exit.WARNINGS if report.problem else Exit.OK


def _shown(report: DiskReport) -> Iterator[tuple[str, str]]:
    """(what, value) for people, without what is not known."""

    def moment(time_us: int) -> str:
        return time_text(datetime.fromtimestamp(time_us / 1e6, UTC))

    yield "state", report.state.name.lower() + (f" since {moment(report.since_us)}" if report.since_us else "")
    if report.problem:
        yield "problem", visible(report.problem)
    if report.ready_ms:
        yield "ready in", f"{report.ready_ms / 1000:.0f} s"
    if report.rest_ms:
        yield "rests for", f"{report.rest_ms / 1000:.0f} s after a failed start"
    if report.measured_us:
        used = bytes_text(report.bytes_total - report.bytes_free)
        yield "used", f"{used} of {bytes_text(report.bytes_total)}, measured {moment(report.measured_us)}"
    yield "volume", visible(report.volume) or "unknown"
    yield "power cycles", f"{report.power_cycles:,}, {report.powered_s / 3600:,.1f} hours with power"
    yield "failed starts", f"{report.failed_starts:,}"
    yield "errors", f"{report.read_errors:,} reading, {report.write_errors:,} writing, {report.checksum_errors:,} wrong checksums"
    if report.last_error:
        yield "last error", f"{visible(report.last_error)} ({moment(report.last_error_us)})"


@freezer.group("power", short_help="Switch disks on and off.")
def power() -> None:
    """Switch disks on and off, within the board's power budget."""


@power.command("on", short_help="Switch a disk on and wait until it is mounted.")
@click.argument("disks", nargs=-1, type=int, required=True, metavar="DISK...")
@click.option("--force", is_flag=True, help="Also a disk that failed to come up and is left alone.")
@_config_option
@with_session
def power_on(session: Session, disks: tuple[int, ...], force: bool, config: Path | None) -> Exit:
    """Switch disks on and wait until they are mounted. Its worker switches off again what it doesn't need."""

    async def switch(session: Session, bus: Freezer, disk: int) -> Exit:
        _show(session, bus, await bus.power_on(disk, force=force))
        return Exit.OK

    return session.run(lambda: _on_disks(session, config, disks, switch))


@power.command("off", short_help="Unmount a disk and switch it off.")
@click.argument("disks", nargs=-1, type=int, required=True, metavar="DISK...")
@_config_option
@with_session
def power_off(session: Session, disks: tuple[int, ...], config: Path | None) -> Exit:
    """Unmount disks and switch them off; refused while a transfer uses them."""
    return session.run(lambda: _on_disks(session, config, disks, _switch_off))


async def _switch_off(session: Session, bus: Freezer, disk: int) -> Exit:
    """Raises: Hinted."""
    from node.errors import Busy, DiskFailed

    try:
        _show(session, bus, await bus.power_off(disk))
    except Busy as error:
        raise Hinted(str(error), f"`frazil glacier power off {disk}` waits until its job is done", code=Exit.TEMPORARY) from error
    except DiskFailed as error:  # it keeps its power
        raise Hinted(str(error), "`frazil freezer power clean` switches the whole bus off") from error
    return Exit.OK


@power.command("clean", short_help="Switch everything off.")
@click.option("--force", is_flag=True, help="Although transfers run, which then fail.")
@_config_option
@with_session
def clean(session: Session, force: bool, config: Path | None) -> Exit:
    """Switch off all disks of the board."""

    async def switch(session: Session, bus: Freezer) -> Exit:
        await bus.clean(force=force)
        session.output.progress("done", f"bus {bus.bus.bus} is off", verb="clean", bus=bus.bus.bus)
        return Exit.OK

    return session.run(lambda: _on_each_bus(session, config, switch))


@freezer.command("fsck", short_help="Check the file system of a disk.")
@click.argument("disks", nargs=-1, type=int, required=True, metavar="DISK...")
@click.option("--repair", is_flag=True, help="Repair what can be repaired without asking.")
@_config_option
@with_session
def fsck(session: Session, disks: tuple[int, ...], repair: bool, config: Path | None) -> Exit:
    """Check the file system of disks; one that is off is switched on for it, and off again."""

    async def check(session: Session, bus: Freezer, disk: int) -> Exit:
        from glacier.protocol import DiskState

        was_on = (await bus.probe(disk)).state is DiskState.ON
        await bus.power_on(disk)
        try:
            report = await bus.fsck(disk, repair=repair)
        finally:
            if not was_on:
                await bus.power_off(disk)
        word = "repaired" if report.repaired else "clean" if report.clean else "damaged"
        line = f"disk {disk} is {word}\n{visible(report.text)}" if not report.clean or report.repaired else f"disk {disk} is {word}"
        session.output.record("fsck", line, disk=disk, clean=report.clean, repaired=report.repaired, text=report.text)
        return Exit.OK if report.clean else Exit.DAMAGED

    return session.run(lambda: _on_disks(session, config, disks, check))


def _load(session: Session, config: Path | None) -> FreezerConfig:
    """Raises: Hinted, ConfigError."""
    from cli.board import BOARD_LINK
    from glacier.config import FreezerConfig
    from node.config import load

    if config is None and not SYSTEM_CONFIG.is_file() and not session.directory().is_cluster:
        config = session.directory().path / BOARD_LINK
        if not config.exists():
            raise Hinted("no board is known here", "name its configuration with --config FILE", code=Exit.NOT_FOUND)
    if config is None and session.directory().is_cluster:
        config = _board_of_node(session.directory().path)
    loaded = load(FreezerConfig, config or SYSTEM_CONFIG)
    if not loaded.key.exists() and session.directory().is_cluster:
        from cli.cluster.config import load_node

        return dataclasses.replace(loaded, key=load_node(session.directory().path).key)
    return loaded


def _board_of_node(file: Path) -> Path:
    """Raises: Hinted, when the node has none or several."""
    from cli.cluster.config import load_node

    boards = load_node(file).freezer.boards
    if not boards:
        hint = "`frazil cluster status` shows the hosts with freezers; or name a configuration with --config FILE"
        raise Hinted(f"{file} gives this host no board", hint, code=Exit.NOT_FOUND)
    if len(boards) > 1:
        raise Hinted("this host has several boards", f"name one with --config: {', '.join(map(str, boards))}", code=Exit.USAGE)
    return boards[0]


def _dialler(session: Session, config: Path | None, loaded: FreezerConfig) -> Callable[[int], AbstractAsyncContextManager[Freezer]]:
    """To a bus by its number. The boards that a node runs speak its TLS. Raises: ConfigError."""
    from cli.cluster.config import load_node
    from glacier.reach import reach
    from node.auth import NamespaceKey
    from node.tls import open_tls

    dial = functools.partial(reach, loaded, key=NamespaceKey.load(loaded.key))
    try:
        place = session.directory()
    except Hinted:  # a freezer may be alone on its host
        return dial
    node = load_node(place.path) if place.is_cluster else None
    if node is None or not node.tls.wanted or (config and config.resolve() not in [board.resolve() for board in node.freezer.boards]):
        return dial
    here = node.reached_at()
    return functools.partial(dial, tls=open_tls(node.tls, here), here=here)


async def _on_each_bus(session: Session, config: Path | None, do: Callable[[Session, Freezer], Awaitable[Exit]]) -> Exit:
    """Does it on one bus after the other; the worst outcome."""
    loaded = _load(session, config)
    dial = _dialler(session, config, loaded)
    codes = []
    for number in range(len(loaded.buses)):
        async with dial(number) as bus:
            codes.append(await do(session, bus))
    return max(codes)


async def _on_disks(
    session: Session, config: Path | None, disks: tuple[int, ...], do: Callable[[Session, Freezer, int], Awaitable[Exit]]
) -> Exit:
    loaded = _load(session, config)
    dial = _dialler(session, config, loaded)
    codes = []
    for disk in disks:
        async with dial(loaded.layout.bus_of(disk)) as bus:
            codes.append(await do(session, bus, disk))
    return max(codes)
