"""election: who leads which set of metadata peers."""

from __future__ import annotations

import click

from cli.exit import Exit
from cli.session import Session, with_session


@click.group("election", short_help="Show who leads which metadata, and have another lead.")
def election() -> None:
    """Show who leads which metadata, and have another lead. Run it on any host of the cluster: --store names its node's file."""


@election.command("list", short_help="Show sets of peers with their leaders.")
@with_session
def list_elections(session: Session) -> Exit:
    """Show the sets of metadata peers: who leads, who would be next, who belongs to it, and who is away.

    Exit code 11 when a set has no leader or a peer is away.
    """
    return session.run(lambda: _list(session))


async def _list(session: Session) -> Exit:
    from cli.cluster.peers import list_sets

    return await list_sets(session)


@election.command("leave", short_help="Have another peer lead.")
@click.argument("names", nargs=-1, required=True, metavar="SET|PEER...")
@with_session
def leave(session: Session, names: tuple[str, ...]) -> Exit:
    """Have the leader of a set, or of all sets that a peer leads, hand over to the next in good order: no write fails.

    A set goes back to its first peer after a while, as long as that is well.
    """
    return session.run(lambda: _leave(session, names))


async def _leave(session: Session, names: tuple[str, ...]) -> Exit:
    from cli.cluster.peers import leave_sets

    return await leave_sets(session, names)
