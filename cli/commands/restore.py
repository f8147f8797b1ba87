"""restore, thaw: objects of the cold classes, made readable for a while."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import Any

import click
import trio

from cli.address import Remote
from cli.client import S3Client
from cli.cold import COLD_CLASSES, TIERS, Restore, parse_restore
from cli.exit import Exit, Hinted, NeedsRestore, RestoreUnderWay
from cli.job import Job, Runner
from cli.match import Filter
from cli.meter import SilentMeter, metered
from cli.output import Output, count_text
from cli.parameter import REMOTE, dry_run_option, filter_options, jobs_option
from cli.session import Session, with_session
from node.text import visible

DAYS_DEFAULT = 1
LOOK_S = (0.2, 10.0)
"""How long a waiting command waits before it looks: at first, and at most."""
LOOK_GROWTH = 1.5


def _wish_options(function: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.option(
            "--days",
            metavar="DAYS",
            type=click.IntRange(1),
            default=DAYS_DEFAULT,
            show_default=True,
            help="How long the bytes are to stay.",
        ),
        click.option(
            "--tier",
            type=click.Choice(TIERS, case_sensitive=False),
            default="standard",
            show_default=True,
            help="How soon they are wanted.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.command("restore", short_help="Make cold objects readable for a while.")
@click.argument("places", type=REMOTE, nargs=-1, required=True, metavar="PLACE...")
@_wish_options
@click.option("--version-id", default="", metavar="ID", help="Of this version instead of the current one.")
@click.option("--wait", is_flag=True, help="Until they can be read.")
@with_session
def restore(session: Session, places: tuple[Remote, ...], days: int, tier: str, version_id: str, wait: bool) -> Exit:
    """Make objects of class GLACIER or DEEP_ARCHIVE readable for some days.

    For one that is readable already the days count anew; a restore under way is only made more urgent.
    """
    for place in places:
        if not place.key:
            raise click.UsageError(f"{place} is a bucket; `frazil thaw` takes all below a prefix")
    return session.run(lambda: _restore(session, places, days, tier, version_id, wait))


async def _restore(session: Session, places: tuple[Remote, ...], days: int, tier: str, version: str, wait: bool) -> Exit:
    runner = Runner(session.output, SilentMeter())

    async def jobs(clients: dict[str, S3Client]) -> AsyncGenerator[Job, None]:
        for place in places:
            call = partial(_one, session.output, clients[place.profile], place, days, tier, version, wait)
            yield Job("restore", str(place), "", 0, call)

    async with session.clients({place.profile for place in places}) as clients:
        await runner.run(jobs(clients))
    return runner.finish()


async def _one(output: Output, client: S3Client, place: Remote, days: int, tier: str, version: str, wait: bool) -> None:
    """Raises: Hinted for an object that is not cold."""
    await ask(client, place.bucket, place.key, days, tier, version)
    found = await _state(client, place, version)
    pause = LOOK_S[0]
    while wait and (found is None or found.ongoing):
        await trio.sleep(pause)
        pause = min(pause * LOOK_GROWTH, LOOK_S[1])
        found = await _state(client, place, version)
    words = found.words if found is not None else "being restored"
    output.record("restore", f"{visible(str(place))} {words}", place=str(place), **(found or Restore()).fields())


async def _state(client: S3Client, place: Remote, version: str) -> Restore | None:
    head = await client.head(place.bucket, place.key, version)
    return parse_restore(head.headers.get("x-amz-restore", ""))


async def ask(client: S3Client, bucket: str, key: str, days: int, tier: str, version: str = "") -> None:
    """A restore that is under way already, and not to be made more urgent, is as good. Raises: Hinted for what is not cold."""
    try:
        await client.restore(bucket, key, days, tier.capitalize(), version)
    except RestoreUnderWay:
        return
    except NeedsRestore as error:  # of this call the refusal says that there is nothing to restore
        raise Hinted("its storage class is not cold: it can be read as it is", code=Exit.CONFLICT) from error


@click.command("thaw", short_help="Make all cold objects below a prefix readable.")
@click.argument("place", type=REMOTE)
@_wish_options
@click.option("--detach", is_flag=True, help="Only ask for them; don't wait until they can be read.")
@filter_options
@jobs_option
@dry_run_option
@with_session
def thaw(
    session: Session,
    place: Remote,
    days: int,
    tier: str,
    detach: bool,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    jobs: int,
    dry_run: bool,
) -> Exit:
    """Make all objects of cold classes whose keys begin with PLACE's readable for some days, and wait until they are.

    Interrupted, it goes on when it is given again: what is asked for stays asked for.
    """
    session.subject = str(place)
    order = Thaw(session, place, days, tier, Filter.parse(include, exclude), jobs)
    return session.run(lambda: order.run(wait=not detach and not dry_run))


class Thaw:
    """pending: bytes by key of what was asked for and can't be read yet."""

    def __init__(self, session: Session, place: Remote, days: int, tier: str, passes: Filter, jobs: int) -> None:
        self._session, self._place, self._days, self._tier = session, place, days, tier
        self._passes, self._jobs = passes, jobs
        self._cut = place.key.rfind("/") + 1
        self._pending: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Thaw {self._place} pending={len(self._pending)}>"

    async def run(self, *, wait: bool) -> Exit:
        output = self._session.output
        async with self._session.client(self._place.profile, connections_max=self._jobs) as client:
            with metered(output) as meter:
                runner = Runner(output, SilentMeter(), self._jobs)
                await runner.run(self._asking(client))
                meter.expect(sum(self._pending.values()))
                pause = LOOK_S[0]
                while wait and self._pending:
                    for key, size in await self._arrived(client):
                        meter.advance(size)
                        output.progress("thawed", f"thawed {visible(key)}", bucket=self._place.bucket, key=key, size=size)
                    if self._pending:
                        await trio.sleep(pause)
                        pause = min(pause * LOOK_GROWTH, LOOK_S[1])
        if not wait and self._pending and not output.dry_run:
            output.note(f"{count_text(len(self._pending), 'object')} on the way; `frazil ls -l {self._place}` shows them")
        return runner.finish()

    async def _asking(self, client: S3Client) -> AsyncGenerator[Job, None]:
        bucket = self._place.bucket
        async for entry in client.list_objects(bucket, self._place.key, restores=True):
            if entry.storage_class not in COLD_CLASSES or not self._passes.passes(entry.key[self._cut :]):
                continue
            if entry.restore is None or entry.restore.ongoing:
                self._pending[entry.key] = entry.size
            yield Job("thaw", str(Remote(bucket, entry.key, self._place.profile)), "", entry.size, partial(self._ask, client, entry.key))

    async def _ask(self, client: S3Client, key: str) -> None:
        try:
            await ask(client, self._place.bucket, key, self._days, self._tier)
        except BaseException:
            self._pending.pop(key, None)  # told by the runner; nobody waits for it
            raise

    async def _arrived(self, client: S3Client) -> list[tuple[str, int]]:
        """What can be read by now, or is gone."""
        left, arrived = dict(self._pending), []
        async for entry in client.list_objects(self._place.bucket, self._place.key, restores=True):
            size = left.pop(entry.key, None)
            if size is not None and (entry.storage_class not in COLD_CLASSES or (entry.restore and not entry.restore.ongoing)):
                arrived.append((entry.key, size))
        arrived += left.items()
        for key, _ in arrived:
            del self._pending[key]
        return arrived
