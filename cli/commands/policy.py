"""policy: documents that narrow users and keys."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from cli.exit import Exit, Hinted
from cli.identity import each, provide_policies, shown, stamped
from cli.session import Session, with_session
from meta.protocol.door import Meta
from meta.protocol.identities import NamedPolicy, Subject
from node.text import visible

POLICY_HELP = "read-only, bucket:NAME and prefix:BUCKET/PREFIX are there by name."


@click.group("policy", short_help="Make, list, attach and detach policies of users and keys.")
def policy() -> None:
    """Policies narrow what users and keys may do; never is one with a policy wider than its account.

    They are JSON documents in the language of bucket policies, without Principal. read-only, bucket:NAME and prefix:BUCKET/PREFIX are
    there by name. Of several policies of one user or key, each allows; those of a user and those of its key must both allow. A denial wins.

    These commands work on the store's host, whether or not it runs. Policies of buckets are set with S3's PutBucketPolicy.
    """


@policy.command("put", short_help="Store a policy.")
@click.argument("name")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@with_session
def put(session: Session, name: str, file: str) -> Exit:
    """Store the policy in FILE (`-` for standard input) as NAME, also in place of one that is there."""
    from s3.policy import POLICY_BYTES_MAX, parse_policy
    from s3.preset import is_preset
    from s3.statement import PolicyRefused

    session.subject = file
    if is_preset(name):
        raise click.UsageError(f"{name} is a preset's name; {POLICY_HELP}")
    if file == "-":
        data = sys.stdin.buffer.read(POLICY_BYTES_MAX + 1)
    else:
        with Path(file).open("rb") as opened:
            data = opened.read(POLICY_BYTES_MAX + 1)
    try:
        text = data.decode()
        parse_policy(text)
    except UnicodeDecodeError as error:
        raise Hinted("the policy is not UTF-8 text", "write it as JSON", code=Exit.USAGE) from error
    except PolicyRefused as error:
        raise Hinted(f"this is no policy: {error}", "see `frazil policy --help`", code=Exit.USAGE) from error
    return session.run(lambda: _put(session, name, text))


async def _put(session: Session, name: str, text: str) -> Exit:
    from cli.door import local_store

    async with local_store(session.directory(), write=True) as store:
        stored = await store.meta.identities.put_policy(name, text)
    session.output.record("policy", None, **_fields(stored))
    session.output.note(f"policy {name} stored; attach it with: frazil policy attach {name} --key ACCESS_KEY")
    return Exit.OK


def _fields(policy: NamedPolicy) -> dict[str, object]:
    return {"policy": policy.name, "created": stamped(policy.created_us), "changed": stamped(policy.changed_us)}


@policy.command("get", short_help="Print a policy.")
@click.argument("name")
@with_session
def get(session: Session, name: str) -> Exit:
    """Print the policy NAME, also a preset that nobody uses yet."""
    session.subject = name
    return session.run(lambda: _get(session, name))


async def _get(session: Session, name: str) -> Exit:
    from cli.door import local_store
    from s3.preset import is_preset, preset

    async with local_store(session.directory()) as store:
        found = [each_ for each_ in await store.meta.identities.policies() if each_.name == name]
    if not found and is_preset(name):
        try:
            session.output.record("policy", preset(name), policy=name, document=preset(name))
        except ValueError as error:
            raise Hinted(str(error), code=Exit.USAGE) from error
        return Exit.OK
    if not found:
        raise Hinted(f"there is no policy {name}", "list them with `frazil policy list`", code=Exit.NOT_FOUND)
    session.output.record("policy", found[0].text, **_fields(found[0]), document=found[0].text)
    return Exit.OK


@policy.command("list", short_help="List policies and whom they narrow.")
@with_session
def list_policies(session: Session) -> Exit:
    """List the stored policies, with the users and keys that they are attached to."""
    return session.run(lambda: _list(session))


async def _list(session: Session) -> Exit:
    from cli.door import local_store

    async with local_store(session.directory()) as store:
        policies = await store.meta.identities.policies()
        users = await store.meta.identities.users()
        keys = await store.meta.accounts.keys()
    for each_ in policies:
        attached = [f"{user.account}/{user.user}" for user in users if each_.name in user.policies]
        attached += [pair.access_key for pair in keys if each_.name in pair.policies]
        line = f"{visible(each_.name):<32} {shown(each_.changed_us)}  {visible(', '.join(attached))}"
        session.output.record("policy", line.rstrip(), **_fields(each_), attached=attached)
    if session.output.json:
        session.output.record("summary", policies=len(policies))
    return Exit.OK


@policy.command("delete", short_help="Delete policies that are attached to nobody.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@with_session
def delete(session: Session, names: tuple[str, ...]) -> Exit:
    """Delete policies. One that is attached must be detached before."""

    async def act(meta: Meta, name: str) -> None:
        await meta.identities.delete_policy(name)

    return session.run(lambda: each(session, "policy", names, "deleted", act))


def _whom(function: Callable[..., Any]) -> Callable[..., Any]:
    function = click.option("--account", default="", metavar="NAME", help="The account of the user.")(function)
    function = click.option("--user", default="", metavar="NAME", help="The user to narrow, with all its keys; needs --account.")(function)
    return click.option("--key", "access_key", default="", metavar="ACCESS_KEY", help="The access key to narrow.")(function)


def _subject(access_key: str, user: str, account: str) -> Subject:
    if bool(access_key) == bool(user) or bool(user) != bool(account):
        raise click.UsageError("give --key ACCESS_KEY, or --user NAME with --account NAME")
    return Subject(account, user, access_key)


@policy.command("attach", short_help="Narrow a user or a key by policies.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@_whom
@with_session
def attach(session: Session, names: tuple[str, ...], access_key: str, user: str, account: str) -> Exit:
    """Attach policies to a user or a key: within seconds it may do only what they allow."""
    subject = _subject(access_key, user, account)

    async def act(meta: Meta, name: str) -> None:
        await provide_policies(meta, [name])
        await meta.identities.attach(subject, name, attached=True)

    return session.run(lambda: each(session, "policy", names, "attached", act))


@policy.command("detach", short_help="Take policies from a user or a key.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@_whom
@with_session
def detach(session: Session, names: tuple[str, ...], access_key: str, user: str, account: str) -> Exit:
    """Detach policies. A user or key that has none left may do what its account may."""
    subject = _subject(access_key, user, account)

    async def act(meta: Meta, name: str) -> None:
        await meta.identities.attach(subject, name, attached=False)

    return session.run(lambda: each(session, "policy", names, "detached", act))
