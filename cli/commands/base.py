"""base: where metadata lies, whether its replicas agree, and how to move it."""

from __future__ import annotations

import click

from cli.exit import Exit
from cli.session import Session, with_session


@click.group("base", short_help="Show, check and move replicas of metadata.")
def base() -> None:
    """Show, check and move replicas of metadata. Run it on any host of the cluster: --store names its node's file.

    A bucket's metadata is one base; a set of peers has many of them, and each peer a replica of each.
    """


@base.command("show", short_help="Show where a bucket's metadata lies.")
@click.argument("buckets", nargs=-1, required=True, metavar="BUCKET...")
@with_session
def show(session: Session, buckets: tuple[str, ...]) -> Exit:
    """Show the set of peers that has a bucket's base, and where each replica stands (epoch and index of its last transaction)."""
    return session.run(lambda: _show(session, buckets))


async def _show(session: Session, buckets: tuple[str, ...]) -> Exit:
    from cli.cluster.bases import show_bases

    return await show_bases(session, buckets)


@base.command("check", short_help="Compare the replicas of metadata.")
@click.argument("buckets", nargs=-1, metavar="[BUCKET...]")
@with_session
def check(session: Session, buckets: tuple[str, ...]) -> Exit:
    """Have each peer check and sum up its replicas, of each BUCKET or of everything, and compare the sums.

    A base that is being written may differ for a moment: it is asked again. Exit code 7 when replicas differ or a file is damaged.
    """
    return session.run(lambda: _check(session, buckets))


async def _check(session: Session, buckets: tuple[str, ...]) -> Exit:
    from cli.cluster.bases import check_bases

    return await check_bases(session, buckets)


@base.command("move", short_help="Have another peer take over replicas.")
@click.argument("of", metavar="SET|BUCKET")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option("--detach", is_flag=True, help="Don't wait for the end.")
@with_session
def move(session: Session, of: str, source: str, target: str, detach: bool) -> Exit:
    """Have the peer TO take the place of the peer FROM in a SET, also when FROM is lost for good. `frazil election list` names them.

    Sets move, not single buckets: given a BUCKET, its set moves, with all buckets in it. TO joins first, then FROM leaves, once TO has
    everything. Reads and writes go on meanwhile. A move under way may be changed: moving TO to FROM again takes it back.
    """
    return session.run(lambda: _move(session, of, source, target, detach))


async def _move(session: Session, of: str, source: str, target: str, detach: bool) -> Exit:
    from cli.cluster.peers import move_peer

    return await move_peer(session, of, (source, target), detach=detach)
