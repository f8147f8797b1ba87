from __future__ import annotations

from pathlib import Path

import pytest

from meta.protocol.accounts import KeyPair
from meta.protocol.bucket import SYSTEM_BUCKET, BucketSettings
from node.errors import BucketNotFound, ObjectNotFound
from store import keepsake, workers
from store.keepsake import settings_of
from store.store import Store
from tests.component.store.support import BUCKET, opened, until_none


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "SYNC_PERIOD_S", 0.01)
    monkeypatch.setattr(keepsake, "KEEP_PERIOD_S", 0.01)


async def kept(store: Store, key: str) -> bytes:
    try:
        return await store.read_whole(await store.get_row(SYSTEM_BUCKET, key))
    except (ObjectNotFound, BucketNotFound):
        return b""


async def test_settings_are_repeated_in_chunks_until_the_bucket_is_removed(tmp_path: Path) -> None:
    async with opened(tmp_path, 3, workers=True) as store:
        for number in range(3):
            await store.meta.container(BUCKET).change_settings(versioning="Enabled", documents={"cors": str(number)})
        await until_none(store.meta.dirty_containers)
        assert settings_of(await kept(store, f"buckets/{BUCKET}")) == await store.meta.container(BUCKET).settings()
        await store.meta.remove_bucket(BUCKET)
        await until_none(store.meta.dirty_containers)
        assert await kept(store, f"buckets/{BUCKET}") == b""
        await store.meta.create_bucket(BucketSettings(BUCKET, "another", "owner", 2))
        await until_none(store.meta.dirty_containers)
        assert settings_of(await kept(store, f"buckets/{BUCKET}")).account == "another"


async def test_accounts_are_repeated_in_chunks_without_their_secrets(tmp_path: Path) -> None:
    async with opened(tmp_path, 3, workers=True) as store:
        made = await store.meta.accounts.create_key(KeyPair(access_key="", account="ann", name="ann", user_id=""))

        async def behind() -> list[bool]:
            return [] if await kept(store, "accounts") == await store.meta.accounts.dump() else [True]

        await until_none(behind)
        assert made.secret.encode() not in await kept(store, "accounts")
        await store.meta.accounts.revoke_key(made.access_key)
        await until_none(behind)
        assert made.access_key.encode() not in await kept(store, "accounts")


async def test_keepsakes_are_in_no_list_of_buckets(tmp_path: Path) -> None:
    async with opened(tmp_path, 3, workers=True) as store:
        await until_none(store.meta.dirty_containers)
        assert [entry.bucket for entry in await store.meta.accounts.buckets("")] == [BUCKET]
