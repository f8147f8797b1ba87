"""cat: objects to standard output."""

from __future__ import annotations

import sys

import click
import trio

from cli.address import Remote
from cli.customer import CustomerKeys
from cli.download import Downloader
from cli.exit import Exit
from cli.job import JOBS_DEFAULT
from cli.meter import SilentMeter
from cli.parameter import REMOTE, customer_key_option
from cli.session import Session, with_session


@click.command("cat", short_help="Write objects to standard output.")
@click.argument("places", type=REMOTE, nargs=-1, required=True, metavar="PLACE...")
@customer_key_option
@with_session
def cat(session: Session, places: tuple[Remote, ...], sse_c_key_file: str) -> Exit:
    """Write objects to standard output, one after the other; stops at the first that fails."""
    for place in places:
        if not place.key:
            raise click.UsageError(f"{place} is a bucket; cat takes objects")
    return session.run(lambda: _cat(session, places, CustomerKeys.of_files(sse_c_key_file, "")))


async def _cat(session: Session, places: tuple[Remote, ...], customers: CustomerKeys) -> Exit:
    async with session.clients({place.profile for place in places}, customers=customers) as clients:
        limiter = trio.Semaphore(JOBS_DEFAULT)
        for place in places:
            session.subject = str(place)
            await Downloader(clients[place.profile], limiter, SilentMeter()).stream(place, write_standard_output)
    return Exit.OK


def write_standard_output(piece: bytes) -> None:
    """Raises: BrokenPipeError when the reader is gone."""
    sys.stdout.buffer.write(piece)
