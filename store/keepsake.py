"""What no chunk of an object tells, kept in objects of its own: the settings of buckets, the accounts and their keys, encryption keys.

    .frazil/accounts          Accounts.dump; secrets sealed in it
    .frazil/encryption        list of EncryptionKey as JSON; no key's bytes
    .frazil/buckets/<name>    BucketSettings as JSON

They are objects as any other in a bucket that S3 doesn't show: copied, checked, repaired and rebuilt like those, the newest wins. They
follow the metadata: a bucket's through its container's queue of stale records, the others by comparing now and then.
"""

from __future__ import annotations

import hashlib

import msgspec
import trio

from meta.protocol.bucket import SYSTEM_BUCKET, BucketSettings
from meta.protocol.encryption import EncryptionKey
from meta.protocol.object import Attributes, DeleteRequest
from node.errors import BucketNotFound, BucketOwned, ObjectNotFound
from store.context import Context
from store.put import put_object
from store.source import BytesSource
from store.worker import State

ACCOUNTS_KEY = "accounts"
ENCRYPTION_KEY = "encryption"
BUCKETS_PREFIX = "buckets/"
KEEP_PERIOD_S = 10.0
"""How often accounts and encryption keys are compared with what is kept of them."""
_JSON = Attributes(type="application/json")


async def keep_settings(context: Context, bucket: str, settings: BucketSettings | None) -> None:
    """Writes what the bucket's settings are now; of a removed bucket (None) nothing stays. Raises: as put_object."""
    if bucket == SYSTEM_BUCKET:
        return
    if settings is None:
        await _forget(context, BUCKETS_PREFIX + bucket)
    else:
        await _keep(context, BUCKETS_PREFIX + bucket, msgspec.json.encode(settings))


def settings_of(data: bytes) -> BucketSettings:
    """The way back. Raises: msgspec.DecodeError."""
    return msgspec.json.decode(data, type=BucketSettings)


def encryption_keys_of(data: bytes) -> list[EncryptionKey]:
    """The way back. Raises: msgspec.DecodeError."""
    return msgspec.json.decode(data, type=list[EncryptionKey])


async def _keep(context: Context, key: str, data: bytes) -> None:
    etag = await _kept_etag(context, key)
    if etag is None and key == ACCOUNTS_KEY and not await context.meta.accounts.keys():
        return  # no key was ever made
    if etag != hashlib.md5(data, usedforsecurity=False).hexdigest():
        await put_object(context, SYSTEM_BUCKET, key, BytesSource(data), attributes=_JSON, owner=SYSTEM_BUCKET)


async def _kept_etag(context: Context, key: str) -> str | None:
    """Of what is kept now, None when there is none; the bucket is made where it is missing."""
    try:
        return (await context.container(SYSTEM_BUCKET).get(key)).etag
    except ObjectNotFound:
        return None
    except BucketNotFound:
        await _make_bucket(context)
        return None


async def _forget(context: Context, key: str) -> None:
    try:
        result = await context.container(SYSTEM_BUCKET).delete(DeleteRequest(key))
    except BucketNotFound:  # nothing was ever kept
        return
    context.afterwork.drop(SYSTEM_BUCKET, result.dropped)


async def _make_bucket(context: Context) -> None:
    try:
        await context.meta.create_bucket(BucketSettings(SYSTEM_BUCKET, SYSTEM_BUCKET, SYSTEM_BUCKET, 0))
    except BucketOwned:  # the other of two that were first
        pass


class Keeper:
    """Follows the accounts and the encryption keys."""

    name = "keepsakes"

    def __init__(self, context: Context) -> None:
        self._context = context

    def status(self) -> str:
        return f"accounts and encryption keys are looked at every {KEEP_PERIOD_S:g} s"

    async def work(self) -> State:
        meta = self._context.meta
        await _keep(self._context, ACCOUNTS_KEY, await meta.accounts.dump())
        keys = await meta.encryption.encryption_keys()
        if keys:  # none is ever removed
            await _keep(self._context, ENCRYPTION_KEY, msgspec.json.encode(keys))
        return State.IDLE

    async def wait(self) -> None:
        await trio.sleep(KEEP_PERIOD_S)
