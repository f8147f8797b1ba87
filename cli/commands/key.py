"""key: make, list and revoke access keys of a store on this host."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from cli.exit import Exit, Hinted
from cli.output import time_json, time_text, visible
from cli.place import SECRET_BYTES_MAX, check_secret, read_secret
from cli.session import Session, with_session
from meta.protocol import KeyPair
from node.errors import FrazilError


@click.group("key", short_help="Make, list and revoke access keys.")
def key() -> None:
    """Make, list and revoke access keys, on the store's host, whether or not it runs."""


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
    )
    return session.run(lambda: _create(session, wanted))


async def _create(session: Session, wanted: KeyPair) -> Exit:
    from cli.door import local_store

    async with local_store(session.directory(), write=True) as store:
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
        "created": time_json(_created(pair)),
        "admin": pair.admin,
        "suspended": pair.suspended,
    }


def _created(pair: KeyPair) -> datetime:
    return datetime.fromtimestamp(pair.created_us / 1e6, UTC)


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
        marks = " ".join(mark for mark, there in (("admin", pair.admin), ("suspended", pair.suspended)) if there)
        line = f"{pair.access_key:<24} {visible(pair.name):<20} {visible(pair.account):<20} {time_text(_created(pair))}  {marks}".rstrip()
        session.output.record("key", line, **_fields(pair))
    if session.output.json:
        session.output.record("summary", keys=len(pairs))
    return Exit.OK


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
