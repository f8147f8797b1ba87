"""account: make, list, suspend and resume accounts of a store on this host."""

from __future__ import annotations

import click

from cli.exit import Exit, Hinted
from cli.identity import each, keep_an_admin, marks, shown, stamped
from cli.session import Session, with_session
from meta.protocol.door import Meta
from meta.protocol.identities import Account, Subject
from node.text import visible


@click.group("account", short_help="Make, list, suspend and resume accounts.")
def account() -> None:
    """Accounts own buckets. All keys of an account may do everything in it, unless a policy narrows them.

    These commands work on the store's host, whether or not it runs.
    """


@account.command("create", short_help="Make an account.")
@click.argument("name")
@click.option("--user-id", default="", metavar="HEX", help="Canonical id, owner in listings and ACLs [default: a new one].")
@click.option("--display-name", default="", metavar="TEXT", help="Owner name in listings [default: NAME].")
@click.option("--email", default="", metavar="ADDRESS", help="By which others may grant it access.")
@with_session
def create(session: Session, name: str, user_id: str, display_name: str, email: str) -> Exit:
    """Make an account called NAME. It needs no key yet: `frazil key create` makes its keys."""
    return session.run(lambda: _create(session, Account(name, user_id, display_name, email)))


async def _create(session: Session, wanted: Account) -> Exit:
    from cli.door import local_store

    async with local_store(session.directory(), write=True) as store:
        made = await store.meta.identities.create_account(wanted)
    session.output.record("account", f"canonical id  {made.user_id}", **_fields(made))
    session.output.note(f"account {made.account}; make a key with: frazil key create NAME --account {made.account}")
    return Exit.OK


def _fields(account: Account) -> dict[str, object]:
    return {
        "account": account.account,
        "user_id": account.user_id,
        "display_name": account.display_name,
        "email": account.email,
        "created": stamped(account.created_us),
        "suspended": account.suspended,
    }


@account.command("list", short_help="List accounts.")
@with_session
def list_accounts(session: Session) -> Exit:
    """List all accounts."""
    return session.run(lambda: _list(session))


async def _list(session: Session) -> Exit:
    from cli.door import local_store

    async with local_store(session.directory()) as store:
        accounts = await store.meta.identities.accounts()
    for each_ in accounts:
        line = (
            f"{visible(each_.account):<24} {visible(each_.display_name):<24} {shown(each_.created_us)}  {marks(suspended=each_.suspended)}"
        )
        session.output.record("account", line.rstrip(), **_fields(each_))
    if session.output.json:
        session.output.record("summary", accounts=len(accounts))
    return Exit.OK


@account.command("show", short_help="Show an account with its users, keys and buckets.")
@click.argument("name")
@with_session
def show(session: Session, name: str) -> Exit:
    """Show the account NAME: its canonical id, users, keys and buckets."""
    session.subject = name
    return session.run(lambda: _show(session, name))


async def _show(session: Session, name: str) -> Exit:
    from cli.door import local_store

    async with local_store(session.directory()) as store:
        found = [each_ for each_ in await store.meta.identities.accounts() if each_.account == name]
        if not found:
            raise Hinted(f"there is no account {name}", "list them with `frazil account list`", code=Exit.NOT_FOUND)
        users = [user.user for user in await store.meta.identities.users() if user.account == name]
        keys = [pair.access_key for pair in await store.meta.accounts.keys() if pair.account == name]
        buckets = [entry.bucket for entry in await store.meta.accounts.buckets(name)]
    (account_,) = found
    lines = [
        f"account       {visible(name)}  {marks(suspended=account_.suspended)}".rstrip(),
        f"canonical id  {account_.user_id or '(none until its first key)'}",
        f"name          {visible(account_.display_name)}",
        f"e-mail        {visible(account_.email)}".rstrip(),
        f"made          {shown(account_.created_us)}",
        f"users         {visible(', '.join(users))}".rstrip(),
        f"keys          {', '.join(keys)}".rstrip(),
        f"buckets       {len(buckets):,}",
    ]
    session.output.record("account", "\n".join(lines), **_fields(account_), users=users, keys=keys, buckets=buckets)
    return Exit.OK


@account.command("suspend", short_help="Suspend accounts: all their keys are refused.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@with_session
def suspend(session: Session, names: tuple[str, ...]) -> Exit:
    """Suspend accounts: requests with their keys are refused within seconds. What they own stays, and others keep their access to it."""

    async def act(meta: Meta, name: str) -> None:
        await keep_an_admin(meta, lambda pair: pair.account == name)
        await meta.identities.suspend(Subject(name), suspended=True)

    return session.run(lambda: each(session, "account", names, "suspended", act))


@account.command("resume", short_help="Resume suspended accounts.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@with_session
def resume(session: Session, names: tuple[str, ...]) -> Exit:
    """Resume suspended accounts: their keys work again within seconds, but those suspended by themselves."""

    async def act(meta: Meta, name: str) -> None:
        await meta.identities.suspend(Subject(name), suspended=False)

    return session.run(lambda: each(session, "account", names, "resumed", act))
