"""webhook: say which URLs the events of buckets may go to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.exit import Exit, Hinted
from cli.session import Session, with_session
from node.text import visible

if TYPE_CHECKING:
    from store.webhooks import Webhook


@click.group("webhook", short_help="Register the URLs that events of buckets go to.")
def webhook() -> None:
    """Register, list and remove the URLs that events of buckets go to.

    A bucket's notification configuration names one by an ARN: arn:aws:sns:::NAME, arn:aws:sqs:::NAME or arn:aws:lambda:::function:NAME
    all mean NAME. Only registered URLs are ever called. Works beside a running store, which heeds it at once.
    """


@webhook.command("add", short_help="Register a URL, or give a name another one.")
@click.argument("name")
@click.argument("url")
@click.option("--account", default="", metavar="NAME", help="Only this account's buckets may use it.")
@with_session
def add(session: Session, name: str, url: str, account: str) -> Exit:
    """Register a URL under a name. What waits for that name goes to the new URL."""
    return session.run(lambda: _add(session, name, url, account))


async def _add(session: Session, name: str, url: str, account: str) -> Exit:
    from store.webhooks import Webhook, check_webhook

    made = Webhook(name, url, account)
    check_webhook(made)
    await _change(session, lambda known: known | {name: made})
    session.output.progress("done", f"registered {visible(name)}: arn:aws:sns:::{name}", verb="register", source=name)
    return Exit.OK


async def _change(session: Session, change: Callable[[dict[str, Webhook]], dict[str, Webhook]]) -> None:
    """Of a store on one host, or of a cluster."""
    place = session.directory()
    if place.is_cluster:
        from cli.cluster.door import open_door
        from cli.cluster.webhooks import change_webhooks

        async with open_door(place) as node:
            await change_webhooks(node, change)
        return
    from cli.door import check_store
    from store.webhooks import load_webhooks, save_webhooks

    first = check_store(place)
    save_webhooks(first, change(load_webhooks(first)))


@webhook.command("list", short_help="List the registered URLs.")
@with_session
def list_webhooks(session: Session) -> Exit:
    """List the registered URLs, and how many events wait for each; on a cluster, at this host: each gateway hands over its own."""
    return session.run(lambda: _list(session))


async def _list(session: Session) -> Exit:
    from s3.outbox import waiting

    home, known = await _known(session)
    events = await waiting(home)
    for each in known.values():
        number = events.get(each.name, 0)
        line = f"{visible(each.name):<24} {visible(each.account) or '*':<16} {number:>8}  {visible(each.url)}"
        session.output.record("webhook", line, name=each.name, account=each.account, url=each.url, waiting=number)
    return Exit.OK


async def _known(session: Session) -> tuple[Path, dict[str, Webhook]]:
    """Where events wait on this host, and the webhooks there are."""
    place = session.directory()
    if place.is_cluster:
        from cli.cluster.door import open_door
        from cli.cluster.webhooks import read_webhooks

        async with open_door(place) as node:
            return node.config.state, await read_webhooks(node)
    from cli.door import check_store
    from store.webhooks import load_webhooks

    first = check_store(place)
    return first, load_webhooks(first)


@webhook.command("remove", short_help="Remove registered URLs.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@with_session
def remove(session: Session, names: tuple[str, ...]) -> Exit:
    """Remove registered URLs. Events that wait for them, and those to come, wait until the name is registered again, for days at most."""
    return session.run(lambda: _remove(session, names))


async def _remove(session: Session, names: tuple[str, ...]) -> Exit:
    def without(known: dict[str, Webhook]) -> dict[str, Webhook]:
        unknown = [name for name in names if name not in known]
        if unknown:
            raise Hinted(f"no webhook {visible(unknown[0])}", "`frazil webhook list` shows them", code=Exit.NOT_FOUND)
        return {name: each for name, each in known.items() if name not in names}

    await _change(session, without)
    for name in names:
        session.output.progress("done", f"removed {visible(name)}", verb="remove", source=name)
    return Exit.OK
