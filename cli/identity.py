"""What the commands about accounts, users, keys and policies share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from cli.exit import Exit, Hinted
from cli.output import time_json, time_text
from node.errors import FrazilError, InvalidArgument

if TYPE_CHECKING:
    from cli.session import Session
    from meta.protocol.accounts import KeyPair
    from meta.protocol.door import Meta

ACCOUNT_OPTION = click.option("--account", required=True, metavar="NAME", help="The account of the user.")


def moment(time_us: int) -> datetime:
    return datetime.fromtimestamp(time_us / 1e6, UTC)


def shown(time_us: int) -> str:
    return time_text(moment(time_us))


def stamped(time_us: int) -> str:
    return time_json(moment(time_us))


def marks(**there: bool) -> str:
    return " ".join(mark for mark, is_there in there.items() if is_there)


async def each(session: Session, noun: str, names: Sequence[str], verb: str, act: Callable[[Meta, str], Awaitable[None]]) -> Exit:
    """Does something to each of what is named; says what was done, and which of it failed. verb: as in "revoked"; noun: of what."""
    from cli.door import local_store
    from cli.job import Runner
    from cli.meter import SilentMeter

    runner = Runner(session.output, SilentMeter())
    async with local_store(session.directory(), write=True) as store:
        for name in names:
            try:
                await act(store.meta, name)
            except FrazilError as error:
                runner.fail(name, error)
            else:
                runner.tally.done += 1
                session.output.progress("done", f"{verb} {name}", verb=verb, source=name)
    return runner.finish(noun)


async def keep_an_admin(meta: Meta, loses: Callable[[KeyPair], bool]) -> None:
    """Refuses what would take the last admin key that works. Raises: Hinted."""
    admins = [pair for pair in await meta.accounts.keys() if pair.admin and not pair.suspended]
    if admins and all(loses(pair) for pair in admins):
        raise Hinted("no admin key would be left", "make another first: frazil key create NAME --admin", code=Exit.CONFLICT)


async def provide_policies(meta: Meta, names: Iterable[str]) -> None:
    """Stores the presets among the policies that are about to be attached. Raises: InvalidArgument for a preset that makes no sense."""
    from s3.preset import is_preset, preset

    stored = {policy.name: policy.text for policy in await meta.identities.policies()}
    for name in names:
        if is_preset(name):
            try:
                text = preset(name)
            except ValueError as error:
                raise InvalidArgument(str(error)) from error
            if stored.get(name) != text:
                await meta.identities.put_policy(name, text)
