"""The logging configuration. Logs go to a bucket of the same owner only."""

from __future__ import annotations

from meta.protocol.bucket import BucketSettings
from node.errors import BucketNotFound
from s3.accesslog import LOGGING
from s3.call import Call
from s3.errors import S3Error
from s3.handlers.configuration import getter, keep, received
from s3.target import is_bucket_name

get_logging = getter(LOGGING)


async def put_logging(call: Call) -> None:
    """An empty document turns logging off. Raises: InvalidTargetBucketForLogging."""
    status = await received(call, LOGGING)
    if status.enabled is not None:
        check_target(call.settings, await _settings(call, status.enabled.target_bucket))
    await keep(call, LOGGING, status if status.enabled is not None else None)
    await call.answer(200)


async def _settings(call: Call, bucket: str) -> BucketSettings | None:
    try:
        return await call.store.meta.container(bucket).settings() if is_bucket_name(bucket) else None
    except BucketNotFound:
        return None


def check_target(source: BucketSettings, target: BucketSettings | None) -> None:
    """Raises: InvalidTargetBucketForLogging."""
    if target is None:
        raise S3Error("InvalidTargetBucketForLogging", "The target bucket for logging does not exist")
    if (target.account, target.owner) != (source.account, source.owner):
        words = "The owner for the bucket to be logged and the target bucket must be the same."
        raise S3Error("InvalidTargetBucketForLogging", words, TargetBucket=target.bucket)
    if target.default_retention is not None:
        raise S3Error("InvalidTargetBucketForLogging", "The target bucket must not have a default retention.", TargetBucket=target.bucket)
