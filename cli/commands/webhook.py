"""webhook: say which URLs the events of buckets may go to."""

from __future__ import annotations

import click

from cli.exit import Exit, Hinted
from cli.output import visible
from cli.session import Session, with_session


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
    from cli.door import check_store
    from store.webhooks import Webhook, check_webhook, load_webhooks, save_webhooks

    first = check_store(session.directory())
    made = Webhook(name, url, account)
    check_webhook(made)
    save_webhooks(first, load_webhooks(first) | {name: made})
    session.output.progress("done", f"registered {visible(name)}: arn:aws:sns:::{name}", verb="register", source=name)
    return Exit.OK


@webhook.command("list", short_help="List the registered URLs.")
@with_session
def list_webhooks(session: Session) -> Exit:
    """List the registered URLs, and how many events wait for each."""
    return session.run(lambda: _list(session))


async def _list(session: Session) -> Exit:
    from cli.door import check_store
    from s3.outbox import waiting
    from store.webhooks import load_webhooks

    first = check_store(session.directory())
    events = await waiting(first)
    for each in load_webhooks(first).values():
        number = events.get(each.name, 0)
        line = f"{visible(each.name):<24} {visible(each.account) or '*':<16} {number:>8}  {visible(each.url)}"
        session.output.record("webhook", line, name=each.name, account=each.account, url=each.url, waiting=number)
    return Exit.OK


@webhook.command("remove", short_help="Remove registered URLs.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@with_session
def remove(session: Session, names: tuple[str, ...]) -> Exit:
    """Remove registered URLs. Events that wait for them, and those to come, wait until the name is registered again, for days at most."""
    from cli.door import check_store
    from store.webhooks import load_webhooks, save_webhooks

    first = check_store(session.directory())
    webhooks = load_webhooks(first)
    unknown = [name for name in names if name not in webhooks]
    if unknown:
        raise Hinted(f"no webhook {visible(unknown[0])}", "`frazil webhook list` shows them", code=Exit.NOT_FOUND)
    save_webhooks(first, {name: each for name, each in webhooks.items() if name not in names})
    for name in names:
        session.output.progress("done", f"removed {visible(name)}", verb="remove", source=name)
    return Exit.OK
