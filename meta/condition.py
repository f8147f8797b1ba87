"""Does a request's condition hold? Pure."""

from __future__ import annotations

from meta.protocol.object import Condition
from node.errors import ObjectNotFound, PreconditionFailed

SECOND_US = 1_000_000


def check(condition: Condition, etag: str | None, size: int, mtime_us: int) -> None:
    """etag None: there is no object (a delete marker is none). Times are compared in whole seconds: headers and listings show no more.

    Raises: ObjectNotFound when the condition wants an object and there is none; PreconditionFailed.
    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
    """
    if etag is None:
        wanted = (condition.size, condition.mtime_us, condition.modified_since_us)
        if condition.if_match or any(each is not None for each in wanted):
            raise ObjectNotFound("the condition asks for an object, and there is none")
        return
    if condition.if_match and "*" not in condition.if_match and etag not in condition.if_match:
        raise PreconditionFailed("If-Match: the object has another ETag")
    if condition.if_none_match and ("*" in condition.if_none_match or etag in condition.if_none_match):
        raise PreconditionFailed("If-None-Match: there is such an object")
    mtime_s = mtime_us // SECOND_US
    before, after = condition.unmodified_since_us, condition.modified_since_us
    if before is not None and not condition.if_match and mtime_s > before // SECOND_US:
        raise PreconditionFailed("If-Unmodified-Since: the object was modified later")
    if after is not None and not condition.if_none_match and mtime_s <= after // SECOND_US:
        raise PreconditionFailed("If-Modified-Since: the object was not modified later")
    if condition.size is not None and condition.size != size:
        raise PreconditionFailed("the object has another size")
    if condition.mtime_us is not None and condition.mtime_us // SECOND_US != mtime_s:
        raise PreconditionFailed("the object was modified at another time")
