"""top: the dashboard."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import click

from cli.exit import Exit
from cli.session import Session, with_session

if TYPE_CHECKING:
    from tui.feed import Reader

EVERY_S_LEAST = 0.2


@click.command("top", short_help="Watch the store on a dashboard.")
@click.option("--every", type=click.FloatRange(EVERY_S_LEAST), default=1.0, show_default=True, metavar="SECONDS", help="How often to look.")
@click.option("--write", is_flag=True, help="Let keys pause, resume and abort jobs.")
@with_session
def top(session: Session, every: float, write: bool) -> Exit:
    """Watch the store on a full-screen dashboard: health, space, traffic, volumes, buckets, jobs, boards of sleeping disks, events.

    Looks only, unless --write is given or W pressed. Press ? for the keys.
    """
    from cli.door import check_store, running
    from cli.estimate import progress
    from tui.app import Top
    from tui.local import Serving, local_reader

    place = session.directory()
    path = check_store(place)

    def serving() -> Serving:
        state = running(path)
        return Serving(state.url, state.cold) if state else Serving("")

    @asynccontextmanager
    async def opening() -> AsyncIterator[Reader]:
        async with local_reader(path, serving, progress) as reader:
            yield reader

    Top(opening, every_s=every, write=write).run()
    return Exit.OK
