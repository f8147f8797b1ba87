"""user: the users of accounts, each with keys and policies of its own."""

from __future__ import annotations

import click

from cli.exit import Exit, Hinted
from cli.identity import ACCOUNT_OPTION, each, keep_an_admin, marks, provide_policies, shown, stamped
from cli.session import Session, with_session
from meta.protocol.door import Meta
from meta.protocol.identities import Subject, User
from node.text import visible


@click.group("user", short_help="Make, list, suspend and remove users of accounts.")
def user() -> None:
    """A user is who of an account: it has keys, and may have policies that narrow them all.

    `frazil key create NAME --account ACCOUNT` makes the user NAME too. These commands work on the store's host, whether or not it runs.
    """


@user.command("create", short_help="Make a user.")
@click.argument("name")
@ACCOUNT_OPTION
@click.option("--policy", "policies", multiple=True, metavar="NAME", help="A policy to attach; may be given again.")
@with_session
def create(session: Session, name: str, account: str, policies: tuple[str, ...]) -> Exit:
    """Make a user called NAME. Without a policy it may do what its account may."""
    return session.run(lambda: _create(session, User(account, name, policies=policies)))


async def _create(session: Session, wanted: User) -> Exit:
    from cli.door import local_store

    async with local_store(session.directory(), write=True) as store:
        await provide_policies(store.meta, wanted.policies)
        made = await store.meta.identities.create_user(wanted)
    session.output.record("user", f"arn  {_arn(made)}", **_fields(made))
    session.output.note(
        f"user {made.user} of account {made.account}; make a key with: frazil key create {made.user} --account {made.account}"
    )
    return Exit.OK


def _arn(user: User) -> str:
    from s3.principal import user_arn

    return user_arn(user.account, user.user)


def _fields(user: User) -> dict[str, object]:
    return {
        "user": user.user,
        "account": user.account,
        "arn": _arn(user),
        "created": stamped(user.created_us),
        "suspended": user.suspended,
        "policies": list(user.policies),
    }


@user.command("list", short_help="List users.")
@click.option("--account", default="", metavar="NAME", help="Only those of this account.")
@with_session
def list_users(session: Session, account: str) -> Exit:
    """List users with their policies."""
    return session.run(lambda: _list(session, account))


async def _list(session: Session, account: str) -> Exit:
    from cli.door import local_store

    async with local_store(session.directory()) as store:
        users = [each_ for each_ in await store.meta.identities.users() if account in ("", each_.account)]
    for each_ in users:
        tail = " ".join(part for part in (", ".join(each_.policies), marks(suspended=each_.suspended)) if part)
        line = f"{visible(each_.user):<24} {visible(each_.account):<24} {shown(each_.created_us)}  {visible(tail)}"
        session.output.record("user", line.rstrip(), **_fields(each_))
    if session.output.json:
        session.output.record("summary", users=len(users))
    return Exit.OK


@user.command("show", short_help="Show a user with its keys and policies.")
@click.argument("name")
@ACCOUNT_OPTION
@with_session
def show(session: Session, name: str, account: str) -> Exit:
    """Show the user NAME: how policies name it, its keys, its policies."""
    session.subject = name
    return session.run(lambda: _show(session, name, account))


async def _show(session: Session, name: str, account: str) -> Exit:
    from cli.door import local_store

    async with local_store(session.directory()) as store:
        found = [each_ for each_ in await store.meta.identities.users() if (each_.account, each_.user) == (account, name)]
        if not found:
            raise Hinted(f"there is no user {name} of account {account}", "list them with `frazil user list`", code=Exit.NOT_FOUND)
        keys = [pair.access_key for pair in await store.meta.accounts.keys() if (pair.account, pair.name) == (account, name)]
    (user_,) = found
    lines = [
        f"user      {visible(name)}  {marks(suspended=user_.suspended)}".rstrip(),
        f"account   {visible(account)}",
        f"arn       {visible(_arn(user_))}",
        f"made      {shown(user_.created_us)}",
        f"keys      {', '.join(keys)}".rstrip(),
        f"policies  {visible(', '.join(user_.policies)) or '(none: it may do what its account may)'}",
    ]
    session.output.record("user", "\n".join(lines), **_fields(user_), keys=keys)
    return Exit.OK


@user.command("suspend", short_help="Suspend users: all their keys are refused.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@ACCOUNT_OPTION
@with_session
def suspend(session: Session, names: tuple[str, ...], account: str) -> Exit:
    """Suspend users: requests with their keys are refused within seconds."""

    async def act(meta: Meta, name: str) -> None:
        await keep_an_admin(meta, lambda pair: (pair.account, pair.name) == (account, name))
        await meta.identities.suspend(Subject(account, name), suspended=True)

    return session.run(lambda: each(session, "user", names, "suspended", act))


@user.command("resume", short_help="Resume suspended users.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@ACCOUNT_OPTION
@with_session
def resume(session: Session, names: tuple[str, ...], account: str) -> Exit:
    """Resume suspended users: their keys work again within seconds, but those suspended by themselves."""

    async def act(meta: Meta, name: str) -> None:
        await meta.identities.suspend(Subject(account, name), suspended=False)

    return session.run(lambda: each(session, "user", names, "resumed", act))


@user.command("remove", short_help="Remove users that have no keys.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@ACCOUNT_OPTION
@with_session
def remove(session: Session, names: tuple[str, ...], account: str) -> Exit:
    """Remove users. Their keys must be revoked before."""

    async def act(meta: Meta, name: str) -> None:
        await meta.identities.remove_user(account, name)

    return session.run(lambda: each(session, "user", names, "removed", act))
