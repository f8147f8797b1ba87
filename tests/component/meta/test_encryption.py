"""How encryption keys stand, in every form of the metadata."""

from __future__ import annotations

import pytest

from meta.protocol.door import Meta
from meta.protocol.encryption import EncryptionKey
from node.errors import AlreadyExists, EncryptionKeyNotFound, InvalidArgument


async def test_keys_are_made_listed_and_switched(meta: Meta) -> None:
    keys = meta.encryption
    made = await keys.create_encryption_key("tax-2026", "of the tax office")
    random = await keys.create_encryption_key()
    assert (
        made
        == await keys.encryption_key("tax-2026")
        == EncryptionKey("tax-2026", "of the tax office", made.created_us, True, 1, made.rotated_us)
    )
    assert len(random.id) == 36
    assert {key.id for key in await keys.encryption_keys()} == {"tax-2026", random.id}
    with pytest.raises(AlreadyExists):
        await keys.create_encryption_key("tax-2026")
    assert not (await keys.enable_encryption_key("tax-2026", enabled=False)).enabled
    assert not (await keys.encryption_key("tax-2026")).enabled
    assert (await keys.enable_encryption_key("tax-2026", enabled=True)).enabled


async def test_versions_grow_and_implied_keys_begin_with_the_first(meta: Meta) -> None:
    keys = meta.encryption
    await keys.create_encryption_key("a")
    assert [(await keys.rotate_encryption_key("a")).version for _ in range(3)] == [2, 3, 4]
    assert (await keys.encryption_key("b", implied=True)).version == 1
    assert (await keys.rotate_encryption_key("b", implied=True)).version == 2
    assert (await keys.rotate_encryption_key("b", implied=True)).version == 3
    assert (await keys.encryption_key("b")).version == 3
    with pytest.raises(InvalidArgument):
        await keys.enable_encryption_key("b", enabled=False)


@pytest.mark.parametrize("key", ["a b", "sse:s3", "a/b", "ü", "x" * 129])
async def test_ids_that_are_refused(meta: Meta, key: str) -> None:
    with pytest.raises(InvalidArgument):
        await meta.encryption.create_encryption_key(key)


async def test_keys_that_are_not_there(meta: Meta) -> None:
    for call in (
        lambda: meta.encryption.encryption_key("x"),
        lambda: meta.encryption.rotate_encryption_key("x"),
        lambda: meta.encryption.enable_encryption_key("x", enabled=True),
    ):
        with pytest.raises(EncryptionKeyNotFound):
            await call()


async def test_what_is_told_can_be_restored(meta: Meta) -> None:
    keys = meta.encryption
    await keys.create_encryption_key("a", "x")
    await keys.enable_encryption_key("a", enabled=False)
    await keys.rotate_encryption_key("b", implied=True)
    told = await keys.encryption_keys()
    await keys.rotate_encryption_key("a")
    await keys.restore_encryption_keys(told)
    assert await keys.encryption_keys() == told
