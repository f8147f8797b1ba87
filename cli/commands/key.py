"""key: make, list, suspend, resume and revoke access keys of a store on this host."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cli.exit import Exit, Hinted
from cli.identity import each, keep_an_admin, marks, provide_policies, shown, stamped
from cli.place import SECRET_BYTES_MAX, check_secret, read_secret
from cli.session import Session, with_session
from meta.protocol.accounts import KeyPair
from meta.protocol.door import Meta
from meta.protocol.identities import Subject
from node.errors import FrazilError
from node.text import visible


@click.group("key", short_help="Make, list, suspend and revoke access keys.")
def key() -> None:
    """Make, list, suspend, resume and revoke access keys, on the store's host, whether or not it runs."""


@key.command("create", short_help="Make an access key.")
@click.argument("name")
@click.option("--account", default="", metavar="NAME", help="The account it belongs to, which owns the buckets [default: NAME].")
@click.option("--admin", is_flag=True, help="May do everything in every account.")
@click.option("--access-key", default="", metavar="ID", help="Bring an access key along; needs its secret too.")
@click.option("--secret-key", default="", metavar="SECRET", help="Its secret. Others on this host may see it; --secret-file is safer.")
@click.option("--secret-file", default="", metavar="FILE", help="File with the secret, `-` for standard input.")
@click.option("--user-id", default="", metavar="HEX", help="Owner id in listings and ACLs [default: the account's, or a new one].")
@click.option("--display-name", default="", metavar="TEXT", help="Owner name in listings [default: the account's].")
@click.option("--email", default="", metavar="ADDRESS", help="Kept with the key.")
@click.option("--policy", "policies", multiple=True, metavar="NAME", help="A policy that narrows it; may be given again.")
@with_session
def create(
    session: Session,
    name: str,
    account: str,
    admin: bool,
    access_key: str,
    secret_key: str,
    secret_file: str,
    user_id: str,
    display_name: str,
    email: str,
    policies: tuple[str, ...],
) -> Exit:
    """Make an access key called NAME and print it with its secret, which is shown this once."""
    if secret_key and secret_file:
        raise click.UsageError("--secret-key and --secret-file exclude each other")
    if secret_file == "-":
        secret_key = check_secret(sys.stdin.buffer.readline(SECRET_BYTES_MAX + 1), "standard input")
    elif secret_file:
        secret_key = read_secret(Path(secret_file))
    if bool(access_key) != bool(secret_key):
        raise click.UsageError("--access-key and a secret go together; without both a new pair is made")
    wanted = KeyPair(
        access_key=access_key,
        secret=secret_key,
        account=account or name,
        name=name,
        user_id=user_id,
        display_name=display_name,
        email=email,
        admin=admin,
        policies=policies,
    )
    return session.run(lambda: _create(session, wanted))


async def _create(session: Session, wanted: KeyPair) -> Exit:
    from cli.door import local_store

    async with local_store(session.directory(), write=True) as store:
        await provide_policies(store.meta, wanted.policies)
        made = await store.meta.accounts.create_key(wanted)
    lines = [f"access key  {made.access_key}", f"secret key  {made.secret}"]
    session.output.record("key", "\n".join(lines), **_fields(made), secret_key=made.secret)
    session.output.note(f"key {made.name} of account {made.account}; the secret is shown this once")
    return Exit.OK


def _fields(pair: KeyPair) -> dict[str, object]:
    return {
        "access_key": pair.access_key,
        "name": pair.name,
        "account": pair.account,
        "user_id": pair.user_id,
        "display_name": pair.display_name,
        "email": pair.email,
        "created": stamped(pair.created_us),
        "admin": pair.admin,
        "suspended": pair.suspended,
        "suspended_by": pair.suspended_by,
        "policies": list(pair.policies),
    }


@key.command("list", short_help="List access keys.")
@with_session
def list_keys(session: Session) -> Exit:
    """List all access keys, without their secrets."""
    return session.run(lambda: _list(session))


async def _list(session: Session) -> Exit:
    from cli.door import local_store

    async with local_store(session.directory()) as store:
        pairs = await store.meta.accounts.keys()
    for pair in pairs:
        tail = " ".join(part for part in (marks(admin=pair.admin, suspended=pair.suspended), visible(", ".join(pair.policies))) if part)
        line = f"{pair.access_key:<24} {visible(pair.name):<20} {visible(pair.account):<20} {shown(pair.created_us)}  {tail}".rstrip()
        session.output.record("key", line, **_fields(pair))
    if session.output.json:
        session.output.record("summary", keys=len(pairs))
    return Exit.OK


@key.command("show", short_help="Show an access key.")
@click.argument("access_key")
@with_session
def show(session: Session, access_key: str) -> Exit:
    """Show an access key, without its secret: whose it is, and what narrows it."""
    session.subject = access_key
    return session.run(lambda: _show(session, access_key))


async def _show(session: Session, access_key: str) -> Exit:
    from cli.door import local_store

    async with local_store(session.directory()) as store:
        found = [pair for pair in await store.meta.accounts.keys() if pair.access_key == access_key]
        users = {(user.account, user.user): user.policies for user in await store.meta.identities.users()}
    if not found:
        raise Hinted("there is no such access key", "list them with `frazil key list`", code=Exit.NOT_FOUND)
    (pair,) = found
    inherited = users.get((pair.account, pair.name), ())
    lines = [
        f"access key    {pair.access_key}  {marks(admin=pair.admin)}".rstrip(),
        f"user          {visible(pair.name)}",
        f"account       {visible(pair.account)}",
        f"canonical id  {visible(pair.user_id)}",
        f"name          {visible(pair.display_name)}",
        f"e-mail        {visible(pair.email)}".rstrip(),
        f"made          {shown(pair.created_us)}",
        f"suspended     {f'by its {pair.suspended_by}' if pair.suspended_by != 'key' else 'yes'}" if pair.suspended else "suspended     no",
        f"policies      {visible(', '.join(pair.policies)) or '(none)'}",
        f"of its user   {visible(', '.join(inherited)) or '(none)'}",
    ]
    session.output.record("key", "\n".join(lines), **_fields(pair), user_policies=list(inherited))
    return Exit.OK


@key.command("suspend", short_help="Suspend access keys until they are resumed.")
@click.argument("access_keys", nargs=-1, required=True, metavar="ACCESS_KEY...")
@with_session
def suspend(session: Session, access_keys: tuple[str, ...]) -> Exit:
    """Suspend access keys: requests with them are refused within seconds."""

    async def act(meta: Meta, access_key: str) -> None:
        await keep_an_admin(meta, lambda pair: pair.access_key == access_key)
        await meta.identities.suspend(Subject(access_key=access_key), suspended=True)

    return session.run(lambda: each(session, "key", access_keys, "suspended", act))


@key.command("resume", short_help="Resume suspended access keys.")
@click.argument("access_keys", nargs=-1, required=True, metavar="ACCESS_KEY...")
@with_session
def resume(session: Session, access_keys: tuple[str, ...]) -> Exit:
    """Resume suspended access keys: they work again within seconds, unless their user or account is suspended."""

    async def act(meta: Meta, access_key: str) -> None:
        await meta.identities.suspend(Subject(access_key=access_key), suspended=False)

    return session.run(lambda: each(session, "key", access_keys, "resumed", act))


@key.command("revoke", short_help="Revoke access keys.")
@click.argument("access_keys", nargs=-1, required=True, metavar="ACCESS_KEY...")
@with_session
def revoke(session: Session, access_keys: tuple[str, ...]) -> Exit:
    """Revoke access keys: requests with them are refused within seconds. What their accounts own stays."""
    return session.run(lambda: _revoke(session, access_keys))


async def _revoke(session: Session, access_keys: tuple[str, ...]) -> Exit:
    from cli.door import local_store
    from cli.job import Runner
    from cli.meter import SilentMeter

    runner = Runner(session.output, SilentMeter())
    async with local_store(session.directory(), write=True) as store:
        admins = {pair.access_key for pair in await store.meta.accounts.keys() if pair.admin}
        for access_key in access_keys:
            try:
                if admins == {access_key}:
                    raise Hinted("it is the last admin key", "make another first: frazil key create NAME --admin", code=Exit.CONFLICT)
                await store.meta.accounts.revoke_key(access_key)
            except FrazilError as error:
                runner.fail(access_key, error)
            else:
                admins.discard(access_key)
                runner.tally.done += 1
                session.output.progress("done", f"revoked {access_key}", verb="revoke", source=access_key)
    return runner.finish("key")
