"""cluster: the services of all hosts, their scores, and an operator's word against them."""

from __future__ import annotations

import click

from cli.exit import Exit
from cli.session import Session, with_session

_score = click.IntRange(0, 100)


@click.group("cluster", short_help="Show the services of all hosts, and lock their scores.")
def cluster() -> None:
    """Show the services of all hosts, and lock their scores. Run it on any host of the cluster: --store names its node's file."""


@cluster.command("status", short_help="Show all services with their scores.")
@with_session
def status(session: Session) -> Exit:
    """Show all services with their scores for placing and for reading, why a score is 0, and who leads what.

    Exit code 11 when a service is dead or avoided.
    """
    return session.run(lambda: _status(session))


async def _status(session: Session) -> Exit:
    from cli.cluster.show import show_cluster

    return await show_cluster(session)


@cluster.command("improve", short_help="Move chunks to where they should be.")
@click.option("--pace", type=click.IntRange(0), default=0, metavar="MIB", help="At most so many MiB per second [default: no limit].")
@click.option("--detach", is_flag=True, help="Don't wait for the end.")
@with_session
def improve(session: Session, pace: int, detach: bool) -> Exit:
    """Move chunks that could not be placed as the pools wish, as when a host was down. It is also done in the background."""
    from cli.work import perform
    from meta.protocol.jobs import Job

    return session.run(lambda: perform(session, Job("improve", {}, pace_bytes=pace << 20), detach=detach))


@cluster.command("lock", short_help="Set scores of services by hand.")
@click.argument("services", nargs=-1, required=True, metavar="SERVICE...")
@click.option("--place", type=_score, default=None, metavar="SCORE", help="Score for new things; 0: none go there.")
@click.option("--read", type=_score, default=None, metavar="SCORE", help="Score for reading; 0: others are asked first.")
@with_session
def lock(session: Session, services: tuple[str, ...], place: int | None, read: int | None) -> Exit:
    """Set the scores of each SERVICE (an id, host or location) by hand, until `unlock`, over every restart. Without options: place 0."""
    return session.run(lambda: _lock(session, services, 0 if place is None and read is None else place, read))


async def _lock(session: Session, services: tuple[str, ...], place: int | None, read: int | None) -> Exit:
    from cli.cluster.door import open_door
    from cli.cluster.operator import lock, matching
    from meta.conscience.protocol import Lock

    async with open_door(session.directory()) as door:
        for name in services:
            for service in matching(door, name):
                await lock(door, service.id, Lock(place, read))
                session.output.record("lock", f"{service.id} is locked", id=service.id, place=place, read=read)
    return Exit.OK


@cluster.command("forget", short_help="Give up services that are lost for good.")
@click.argument("services", nargs=-1, required=True, metavar="SERVICE...")
@with_session
def forget(session: Session, services: tuple[str, ...]) -> Exit:
    """Give up each dead SERVICE (an id, host or location): it is not listed any more, and nothing waits for it.

    First have what they held made anew, with `frazil rebuild host`. `frazil cluster unlock` takes it back.
    """
    return session.run(lambda: _forget(session, services))


async def _forget(session: Session, services: tuple[str, ...]) -> Exit:
    from cli.cluster.door import open_door
    from cli.cluster.operator import forget, matching

    async with open_door(session.directory()) as door:
        for name in services:
            for service in matching(door, name):
                await forget(door, service)
                session.output.record("forgotten", f"{service.id} is given up", id=service.id, kind=service.registration.kind)
    return Exit.OK


@cluster.command("unlock", short_help="Let the scores speak again.")
@click.argument("services", nargs=-1, required=True, metavar="SERVICE...")
@with_session
def unlock(session: Session, services: tuple[str, ...]) -> Exit:
    """Take the locks off each SERVICE (an id, host or location)."""
    return session.run(lambda: _unlock(session, services))


async def _unlock(session: Session, services: tuple[str, ...]) -> Exit:
    from cli.cluster.door import open_door
    from cli.cluster.operator import matching, unlock

    async with open_door(session.directory()) as door:
        for name in services:
            for service in matching(door, name, gone=True):
                if await unlock(door, service.id):
                    session.output.record("unlock", f"{service.id} is unlocked", id=service.id)
    return Exit.OK
