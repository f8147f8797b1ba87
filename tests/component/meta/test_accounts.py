"""Accounts and access keys, wherever they are kept."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from meta.local import open_meta
from meta.protocol.accounts import KeyPair
from meta.protocol.door import Meta
from meta.protocol.registry import BucketEntry
from node.auth import NamespaceKey
from node.clock import FakeClock
from node.errors import AlreadyExists, BucketNotFound, BucketTaken, InvalidArgument, KeyPairNotFound, RecordCorrupt
from tests.component.meta.conftest import KEY


async def test_a_key_is_made_shown_and_found(meta: Meta, clock: FakeClock) -> None:
    made = await meta.accounts.create_key(KeyPair("", "ann", "laptop", "", admin=True))
    assert re.fullmatch(r"[A-Z2-7]{20}", made.access_key)
    assert re.fullmatch(r"[A-Za-z0-9]{40}", made.secret)
    assert (made.account, made.display_name, made.created_us, made.admin, made.suspended) == ("ann", "ann", clock.now_us(), True, False)
    assert re.fullmatch(r"[0-9a-f]{64}", made.user_id)
    assert await meta.accounts.key(made.access_key) == made
    second = await meta.accounts.create_key(KeyPair("", "ann", "phone", ""))
    assert second.user_id == made.user_id
    listed = await meta.accounts.keys()
    assert {pair.access_key for pair in listed} == {made.access_key, second.access_key}
    assert all(pair.secret == "" for pair in listed)


async def test_a_key_is_brought_along(meta: Meta) -> None:
    pair = KeyPair(
        "AKIAIOSFODNN7EXAMPLE", "bob", "old", "canonical", "Bob B.", "bob@example.org", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    )
    made = await meta.accounts.create_key(pair)
    assert (made.user_id, made.display_name, made.email, made.secret) == (pair.user_id, pair.display_name, pair.email, pair.secret)
    with pytest.raises(AlreadyExists):
        await meta.accounts.create_key(pair)


@pytest.mark.parametrize(
    ("access_key", "secret", "account"),
    [
        ("AB", "long enough?", "a"),
        ("ABC", "", "a"),
        ("", "12345678", "a"),
        ("A/C", "12345678", "a"),
        ("ABC", "1234567", "a"),
        ("ABC", "1234 5678", "a"),
        ("ABC", "12345678\n", "a"),
        ("", "", ""),
    ],
)
async def test_a_key_that_can_not_be_used_is_refused(meta: Meta, access_key: str, secret: str, account: str) -> None:
    with pytest.raises(InvalidArgument):
        await meta.accounts.create_key(KeyPair(access_key, account, "", "", secret=secret))


async def test_a_revoked_key_stops_at_once(meta: Meta) -> None:
    made = await meta.accounts.create_key(KeyPair("", "ann", "laptop", ""))
    await meta.accounts.key(made.access_key)
    await meta.accounts.revoke_key(made.access_key)
    with pytest.raises(KeyPairNotFound):
        await meta.accounts.key(made.access_key)
    with pytest.raises(KeyPairNotFound):
        await meta.accounts.revoke_key(made.access_key)


async def test_buckets_of_an_account_are_listed(meta: Meta) -> None:
    for bucket, account in (("a1", "ann"), ("a2", "ann"), ("b1", "bob"), ("a3", "ann")):
        await meta.accounts.add_bucket(BucketEntry(bucket, account, 1))
        await meta.accounts.add_bucket(BucketEntry(bucket, account, 1))
    assert [entry.bucket for entry in await meta.accounts.buckets("ann")] == ["a1", "a2", "a3"]
    assert [entry.bucket for entry in await meta.accounts.buckets("")] == ["a1", "a2", "a3", "b1"]
    assert [entry.bucket for entry in await meta.accounts.buckets("ann", after="a1", limit=1)] == ["a2"]
    assert [entry.bucket for entry in await meta.accounts.buckets("", prefix="b")] == ["b1"]
    await meta.accounts.remove_bucket("ann", "a2")
    assert [entry.bucket for entry in await meta.accounts.buckets("ann")] == ["a1", "a3"]


async def test_a_name_belongs_to_one_account(meta: Meta) -> None:
    entry = BucketEntry("name", "ann", 7, "here")
    assert await meta.registry.claim(entry) == entry
    assert await meta.registry.claim(BucketEntry("name", "ann", 8)) == entry
    with pytest.raises(BucketTaken):
        await meta.registry.claim(BucketEntry("name", "bob", 7))
    await meta.registry.release("name", "bob")
    assert await meta.registry.locate("name") == entry
    await meta.registry.release("name", "ann")
    with pytest.raises(BucketNotFound):
        await meta.registry.locate("name")


async def test_another_process_sees_a_revocation_at_its_next_look(scratch: Path, clock: FakeClock) -> None:
    async with open_meta(scratch / "meta", key=KEY, clock=clock) as writing:
        made = await writing.accounts.create_key(KeyPair("", "ann", "laptop", ""))
        async with open_meta(scratch / "meta", key=KEY, clock=clock, read_only=True) as reading:
            assert await reading.accounts.key(made.access_key) == made
            await writing.accounts.revoke_key(made.access_key)
            with pytest.raises(KeyPairNotFound):
                await reading.accounts.key(made.access_key)


async def test_secrets_are_nowhere_in_the_files_and_open_with_one_key_only(scratch: Path, clock: FakeClock) -> None:
    async with open_meta(scratch / "meta", key=KEY, clock=clock) as meta:
        made = await meta.accounts.create_key(KeyPair("", "ann", "laptop", ""))
        files = [path for path in (scratch / "meta").rglob("*") if path.is_file()]
        assert files
        assert not any(made.secret.encode() in path.read_bytes() for path in files)
    async with open_meta(scratch / "meta", key=NamespaceKey(bytes(32)), clock=clock) as meta:
        with pytest.raises(RecordCorrupt):
            await meta.accounts.key(made.access_key)
