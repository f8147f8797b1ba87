"""presign: a URL that grants access for a while."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import click

from cli.address import Remote
from cli.exit import Exit
from cli.output import time_json
from cli.parameter import DURATION, REMOTE
from cli.session import Session, with_session
from cli.signature import PRESIGN_SECONDS_MAX

EXPIRES_DEFAULT_S = 3600


@click.command("presign", short_help="Print a URL that grants access for a while.")
@click.argument("place", type=REMOTE)
@click.option("--expires", type=DURATION, default=EXPIRES_DEFAULT_S, help="How long: 90s, 15m, 12h, 7d (at most) [default: 1h].")
@click.option(
    "--method",
    type=click.Choice(["get", "put", "head", "delete"], case_sensitive=False),
    default="get",
    show_default=True,
    help="For what.",
)
@click.option("--download-as", metavar="NAME", default="", help="The file name that a browser saves it under.")
@with_session
def presign(session: Session, place: Remote, expires: int, method: str, download_as: str) -> Exit:
    """Print a URL with which anyone may GET (or PUT, HEAD, DELETE) one object until it expires. Makes no request."""
    if not place.key:
        raise click.UsageError(f"{place} is a bucket; presign takes an object")
    if not 1 <= expires <= PRESIGN_SECONDS_MAX:
        raise click.UsageError("--expires is between 1s and 7d")
    if '"' in download_as or not download_as.isprintable():
        raise click.UsageError("--download-as has a quote or a control character")
    session.subject = str(place)
    return session.run(lambda: _presign(session, place, expires, method.upper(), download_as))


async def _presign(session: Session, place: Remote, expires: int, method: str, download_as: str) -> Exit:
    query = [("response-content-disposition", f'attachment; filename="{download_as}"')] if download_as else []
    async with session.client(place.profile) as client:
        url = client.presign(method, place.bucket, place.key, expires, query)
    session.output.record("url", url, url=url, method=method, expires=time_json(datetime.fromtimestamp(int(time.time()) + expires, UTC)))
    return Exit.OK
