"""node: run what a host of a cluster runs, and take a host out of it."""

from __future__ import annotations

import functools
from pathlib import Path

import click

from cli.commands.up import worded
from cli.exit import Exit
from cli.process import prepare
from cli.session import Session, with_session

_host = click.argument("host")


@click.group("node", short_help="Run and take out the hosts of a cluster.")
def node() -> None:
    """Run and take out the hosts of a cluster. A host is told by its name or its location, as `frazil cluster status` shows them."""


@node.command("run", short_help="Run this host's part of a cluster.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--only",
    type=click.Choice(["conscience", "meta", "freezer", "rawx", "worker", "gateway"]),
    default=None,
    help="Only this of what FILE gives the host.",
)
@click.option("--volume", type=click.IntRange(1), default=None, metavar="N", help="With --only rawx: only the Nth volume.")
@click.option("--ready-fd", type=click.IntRange(3), default=None, metavar="FD", help="Write a line to this descriptor once it serves.")
@with_session
def run(session: Session, file: Path, only: str | None, volume: int | None, ready_fd: int | None) -> Exit:
    """Run this host's part of a cluster as the node's FILE (TOML) says, in the foreground.

    Needs ZooKeeper and the namespace's key, nothing else: it registers, is scored, and serves. SIGTERM lets it end what is in flight.
    """
    from cli.cluster.config import load_node
    from cli.cluster.run import run_node
    from node import log, runner
    from node.logbook import LOGBOOK

    prepare()
    log.set_up()
    LOGBOOK.attach()
    main = functools.partial(run_node, load_node(file), only or "", volume)
    return Exit(runner.run(worded(session.output, main), ready_fd=ready_fd))


@node.command("has", hidden=True, short_help="Whether a node's file gives the host this part; for service managers.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("role")
@with_session
def has(session: Session, file: Path, role: str) -> Exit:
    """Exit code 0 when FILE gives this host the part ROLE, else 9."""
    from cli.cluster.config import load_node

    return Exit.OK if role in load_node(file).roles else Exit.NOTHING_DONE


@node.command("key", short_help="Make the key of a new namespace.")
@click.argument("file", type=click.Path(path_type=Path))
@with_session
def key(session: Session, file: Path) -> Exit:
    """Make the key of a new namespace in FILE, readable by its owner only. Every host needs a copy of the same file; keep one elsewhere."""
    from node.auth import NamespaceKey

    NamespaceKey.create(file)
    session.output.record("key", f"the namespace's key is in {file}", file=str(file))
    return Exit.OK


@node.command("drain", short_help="Let a host take nothing new.")
@_host
@with_session
def drain(session: Session, host: str) -> Exit:
    """Let HOST take no new chunks, lead no metadata and be passed over by balancers, before it is serviced. What it has can still be read.

    `frazil cluster unlock HOST` takes it back.
    """
    return session.run(lambda: _drain(session, host))


async def _drain(session: Session, host: str) -> Exit:
    from cli.cluster.door import open_door
    from cli.cluster.operator import lock, matching
    from meta.conscience.protocol import Lock

    async with open_door(session.directory()) as door:
        for service in matching(door, host):
            await lock(door, service.id, Lock(place=0))
            session.output.record("service", f"{service.id} takes nothing new", id=service.id, kind=service.registration.kind)
    return Exit.OK


@node.command("decommission", short_help="Move everything off a host.")
@_host
@click.option("-n", "--dry-run", is_flag=True, help="Change nothing; tell how much would be moved.")
@click.option("--pace", type=click.IntRange(0), default=0, metavar="MIB", help="At most so many MiB per second [default: no limit].")
@click.option("--detach", is_flag=True, help="Don't wait for the end.")
@with_session
def decommission(session: Session, host: str, dry_run: bool, pace: int, detach: bool) -> Exit:
    """Move every chunk off HOST's volumes, which take nothing new from now on.

    The work goes on by itself when this command is interrupted; running it again follows it.
    """
    return session.run(lambda: _decommission(session, host, pace, detach, dry_run))


async def _decommission(session: Session, host: str, pace: int, detach: bool, dry_run: bool) -> Exit:
    from cli.cluster.decommission import decommission_host

    return await decommission_host(session, host, pace_mib=pace, detach=detach, dry_run=dry_run)
