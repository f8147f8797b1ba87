"""storage-policy: how what is stored is protected, bucket by bucket."""

from __future__ import annotations

import click

from cli.address import Remote
from cli.exit import Exit
from cli.parameter import REMOTE
from cli.session import Session, with_session
from node.errors import InvalidArgument
from store.store import Store

MIB = 1 << 20
DEFAULT = "default"
"""In place of a policy: what the store gives to buckets that have none of their own."""


@click.group("storage-policy", short_help="Show and change how a bucket's objects are stored.")
def storage_policy() -> None:
    """Show and change how a bucket's objects are stored: copies or erasure code, and how many losses they bear.

    These commands work on the store's host, whether or not it runs, and on any host of a cluster. What keys and users may do is another
    matter: `frazil policy`.
    """


@storage_policy.command("list", short_help="List the policies there are.")
@with_session
def list_policies(session: Session) -> Exit:
    """List the storage policies, the volumes that each needs, and how many of them may be lost."""
    return session.run(lambda: _list(session))


async def _list(session: Session) -> Exit:
    from cli.door import local_store
    from store.policy import POLICIES

    async with local_store(session.directory()) as store:
        count, chosen = len(store.volumes), (store.policies.small, store.policies.large)
    for each in POLICIES.values():
        form = f"{each.data} fragments and {each.parity} of parity" if each.coded else f"{each.data} cop{'y' if each.data == 1 else 'ies'}"
        marks = [] if each.chunks <= count else [f"needs {each.chunks} volumes, the store has {count}"]
        marks += [words for words, mine in zip(("small objects", "large objects"), chosen, strict=True) if mine is each]
        line = f"{each.name:<12} {form}, bears the loss of {each.tolerates}" + (f" ({', '.join(marks)})" if marks else "")
        fields = {"data": each.data, "parity": each.parity, "tolerates": each.tolerates, "volumes": each.chunks}
        session.output.record("policy", line, name=each.name, **fields, possible=each.chunks <= count)
    return Exit.OK


@storage_policy.command("show", short_help="Show which policy a bucket has.")
@click.argument("bucket", type=REMOTE)
@with_session
def show(session: Session, bucket: Remote) -> Exit:
    """Show which policy new objects in BUCKET get."""
    return session.run(lambda: _show(session, bucket.bucket))


async def _show(session: Session, bucket: str) -> Exit:
    from cli.door import local_store
    from store.policy import STORAGE_POLICY

    async with local_store(session.directory()) as store:
        own = (await store.meta.container(bucket).settings()).documents.get(STORAGE_POLICY, "")
        policies = await store.policies_of(bucket)
    whose = "its own" if own else "the store's"
    line = f"{bucket}: {policies.small.name} for small objects, {policies.large.name} for large ({whose})"
    session.output.record("policy", line, bucket=bucket, own=own, small=policies.small.name, large=policies.large.name)
    return Exit.OK


@storage_policy.command("change", short_help="Change how a bucket's objects are stored.")
@click.argument("place", type=REMOTE)
@click.argument("policy", metavar="POLICY")
@click.option("--new", "only", flag_value="new", help="Only new objects, from now on.")
@click.option("--existing", "only", flag_value="existing", help="Only objects that are there now.")
@click.option("-n", "--dry-run", is_flag=True, help="Change nothing; tell how much would be written anew.")
@click.option("--pace", type=click.IntRange(0), default=0, metavar="MIB", help="At most so many MiB per second [default: no limit].")
@click.option("--detach", is_flag=True, help="Don't wait for the end, if a process runs the store.")
@with_session
def change(session: Session, place: Remote, policy: str, only: str | None, dry_run: bool, pace: int, detach: bool) -> Exit:
    """Store new objects of the bucket PLACE under POLICY, and write those that are there anew under it.

    POLICY is one of `frazil storage-policy list`, or "default" for the store's own. With a prefix (s3://BUCKET/PREFIX) only existing
    objects below it are changed. Small objects are kept as copies under every code. Reads and writes go on meanwhile; nothing of an
    object changes but where its bytes are. Objects on sleeping disks stay as they are.
    """
    if place.key and only == "new":
        raise click.UsageError("new objects get the policy of their bucket: leave out the prefix or --new")
    name = "" if policy.lower() == DEFAULT else policy.upper()
    return session.run(lambda: _change(session, place, name, "existing" if place.key else only or "", dry_run, pace, detach))


async def _change(session: Session, place: Remote, policy: str, only: str, dry_run: bool, pace: int, detach: bool) -> Exit:
    from cli.work import perform
    from meta.protocol.jobs import Job

    async def prepare(store: Store) -> Job | None:
        """Raises: InvalidArgument, BucketNotFound."""
        bucket = place.bucket
        await store.meta.container(bucket).settings()
        if only != "existing" and not dry_run:
            await store.set_policy(bucket, policy)
        else:
            store.check_policy(policy)
        if only == "new":
            words = policy or f"{store.policies.large.name}, the store's own"
            session.output.record("done", f"new objects in {bucket} get {words}", bucket=bucket, policy=policy)
            return None
        wanted = {"bucket": bucket, "prefix": place.key, "policy": policy or store.policies.large.name}
        if only != "existing" and not dry_run:
            wanted["policy"] = ""  # the bucket's
        arguments = {name: value for name, value in wanted.items() if value} | ({"dry": "1"} if dry_run else {})
        return Job("change-policy", arguments, pace_bytes=pace * MIB)

    if dry_run and only == "new":
        raise InvalidArgument("--new changes nothing that is there: there is nothing to tell")
    return await perform(session, prepare, detach=detach)
