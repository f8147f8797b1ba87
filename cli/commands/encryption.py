"""encryption: the keys that encrypt what is stored, on the store's host."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime
from functools import partial

import click

from cli.address import Remote
from cli.exit import Exit
from cli.job import Job, Runner
from cli.meter import SilentMeter
from cli.output import Output, time_json, time_text
from cli.parameter import REMOTE, dry_run_option, jobs_option
from cli.session import Session, with_session
from meta.protocol.encryption import EncryptionKey
from node.errors import InvalidArgument, NotFound
from node.text import visible
from store.envelope import envelope_of
from store.rewrap import Wanted, newest_version
from store.store import Store
from store.vault import Vault

SSE_S3 = "sse-s3"
"""What the key behind SSE-S3 is called here."""
AWS_S3 = "aws/s3"
"""The key of SSE-KMS where none is named."""


@click.group("encryption", short_help="Make, rotate and switch encryption keys.")
def encryption() -> None:
    """Make, rotate and switch the keys that encrypt what is stored, on the store's host, whether or not it runs.

    The keys themselves are derived from the store's secret.key and are nowhere else: keep a copy of that file in a safe place, for what is
    encrypted is lost without it.
    """


@encryption.group("key", short_help="Make, list and switch keys for SSE-KMS.")
def key() -> None:
    """Make, list, disable and enable keys that requests name for SSE-KMS."""


def _number(vault: Vault, name: str) -> str:
    """The id of a key by its id or by what it is called here."""
    return {SSE_S3: vault.managed_key, AWS_S3: vault.default_key}.get(name.removeprefix("alias/"), name)


def _is_implied(vault: Vault, number: str) -> bool:
    return number in (vault.managed_key, vault.default_key)


def _name(vault: Vault, number: str) -> str:
    return {vault.managed_key: SSE_S3, vault.default_key: AWS_S3}.get(number, "")


def _show(output: Output, vault: Vault, found: EncryptionKey) -> None:
    name, state = _name(vault, found.id), "enabled" if found.enabled else "disabled"
    number = found.id if found.id != vault.managed_key else SSE_S3
    rotated = datetime.fromtimestamp(found.rotated_us / 1e6, UTC)
    since = time_text(rotated) if found.rotated_us else "-"
    line = f"{number:<36}  {name:<6}  {state:<8}  version {found.version:<3}  {since:<20}  {visible(found.description)}".rstrip()
    fields: dict[str, object] = {"id": number, "alias": name, "state": state, "version": found.version, "description": found.description}
    if found.rotated_us:
        fields["rotated"] = time_json(rotated)
    output.record("encryption_key", line, **fields)


async def _all(vault: Vault) -> list[EncryptionKey]:
    """The two that are always there first."""
    implied = [await vault.keys.encryption_key(number, implied=True) for number in (vault.managed_key, vault.default_key)]
    numbers = {each.id for each in implied}
    return implied + [each for each in await vault.keys.encryption_keys() if each.id not in numbers]


async def _with_vault(session: Session, work: Callable[[Vault], Awaitable[list[EncryptionKey]]], *, write: bool = False) -> Exit:
    """Runs `work` and shows the keys it gives."""
    from cli.door import local_store

    async with local_store(session.directory(), write=write) as store:
        for found in await work(store.vault):
            _show(session.output, store.vault, found)
    return Exit.OK


@encryption.command("status", short_help="Show all keys and their newest versions.")
@with_session
def status(session: Session) -> Exit:
    """Show all keys, their state and newest version: sse-s3 encrypts for AES256, aws/s3 for aws:kms where no key is named."""
    return session.run(lambda: _with_vault(session, _all))


@key.command("list", short_help="List the keys for SSE-KMS.")
@with_session
def list_keys(session: Session) -> Exit:
    """List the keys that requests may name."""

    async def work(vault: Vault) -> list[EncryptionKey]:
        return [each for each in await _all(vault) if each.id != vault.managed_key]

    return session.run(lambda: _with_vault(session, work))


@key.command("create", short_help="Make a key.")
@click.argument("number", metavar="[ID]", default="")
@click.option("--description", default="", metavar="TEXT", help="Kept with the key.")
@with_session
def create(session: Session, number: str, description: str) -> Exit:
    """Make a key that requests name by its ID [default: a random one]."""

    async def work(vault: Vault) -> list[EncryptionKey]:
        return [await vault.keys.create_encryption_key(number, description)]

    return session.run(lambda: _with_vault(session, work, write=True))


@key.command("disable", short_help="Switch keys off.")
@click.argument("numbers", nargs=-1, required=True, metavar="ID...")
@with_session
def disable(session: Session, numbers: tuple[str, ...]) -> Exit:
    """Switch keys off: what they encrypt can't be read, nor anything be written with them, until they are enabled again."""
    return session.run(lambda: _with_vault(session, lambda vault: _switch(vault, numbers, enabled=False), write=True))


@key.command("enable", short_help="Switch keys on again.")
@click.argument("numbers", nargs=-1, required=True, metavar="ID...")
@with_session
def enable(session: Session, numbers: tuple[str, ...]) -> Exit:
    """Switch keys on again."""
    return session.run(lambda: _with_vault(session, lambda vault: _switch(vault, numbers, enabled=True), write=True))


async def _switch(vault: Vault, numbers: tuple[str, ...], *, enabled: bool) -> list[EncryptionKey]:
    for number in numbers:
        if _is_implied(vault, _number(vault, number)):
            raise InvalidArgument(f"{number} is the store's own key and always enabled")
    return [await vault.keys.enable_encryption_key(number, enabled=enabled) for number in numbers]


@encryption.command("rotate", short_help="Make a new version of keys.")
@click.argument("names", nargs=-1, metavar="[KEY...]")
@with_session
def rotate(session: Session, names: tuple[str, ...]) -> Exit:
    """Make a new version of each KEY (an ID, aws/s3 or sse-s3, which is the default) for what is encrypted from now on.

    What is encrypted already stays readable; `frazil encryption rewrap` brings it to the new version.
    """

    async def work(vault: Vault) -> list[EncryptionKey]:
        numbers = [_number(vault, name) for name in names or (SSE_S3,)]
        return [await vault.keys.rotate_encryption_key(number, implied=_is_implied(vault, number)) for number in numbers]

    return session.run(lambda: _with_vault(session, work, write=True))


@encryption.command("rewrap", short_help="Bring objects to the newest version of their key.")
@click.argument("places", type=REMOTE, nargs=-1, metavar="[PLACE...]")
@jobs_option
@dry_run_option
@with_session
def rewrap(session: Session, places: tuple[Remote, ...], jobs: int, dry_run: bool) -> Exit:
    """Wrap the data keys below each PLACE (an object, a prefix, a bucket; none: everything) with the newest version of their key.

    Only metadata changes, all versions are included, and objects stay readable meanwhile. What is encrypted with customers' keys, or
    with a key that is disabled, stays as it is.
    """
    return session.run(lambda: _rewrap(session, places, jobs))


async def _rewrap(session: Session, places: tuple[Remote, ...], jobs: int) -> Exit:
    from cli.door import local_store
    from cli.stored import buckets

    async with local_store(session.directory(), write=True) as store:
        newest = {each.id: each.version for each in await _all(store.vault) if each.enabled}
        runner = Runner(session.output, SilentMeter(), jobs)
        for place in places or [Remote(bucket) async for bucket in buckets(store)]:
            session.subject = str(place)
            await runner.run(_rewraps(store, place, newest_version(lambda number: newest.get(number, 0))))
    return runner.finish("version")


async def _rewraps(store: Store, place: Remote, wanted: Wanted) -> AsyncGenerator[Job, None]:
    from cli.stored import versions

    async for listed in versions(store, place):
        if not listed.marker:
            version = 0 if listed.null else listed.version
            yield Job(
                "rewrap",
                f"s3://{place.bucket}/{listed.key}",
                "",
                0,
                partial(store.rewrap, place.bucket, listed.key, version, wanted),
                partial(_needed, store, place.bucket, listed.key, version, wanted),
            )


async def _needed(store: Store, bucket: str, key: str, version: int, wanted: Wanted) -> bool:
    try:
        row = await store.get_row(bucket, key, version)
    except NotFound:  # deleted while we came to it
        return False
    return wanted(envelope_of(row.attributes)) is not None
