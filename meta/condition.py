"""Does a request's condition hold? Pure."""

from __future__ import annotations

from meta.protocol import Condition
from node.errors import ObjectNotFound, PreconditionFailed

SECOND_US = 1_000_000


def check(condition: Condition, etag: str | None, size: int, mtime_us: int) -> None:
    """etag None: there is no object (a delete marker is none). Times are compared in whole seconds: headers and listings show no more.

    Raises: ObjectNotFound when the condition wants an object and there is none; PreconditionFailed.
    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
    """
    if etag is None:
        if condition.if_match or condition.size is not None or condition.mtime_us is not None:
            raise ObjectNotFound("the condition asks for an object, and there is none")
        return
    if condition.if_match and "*" not in condition.if_match and etag not in condition.if_match:
        raise PreconditionFailed("If-Match: the object has another ETag")
    if condition.if_none_match and ("*" in condition.if_none_match or etag in condition.if_none_match):
        raise PreconditionFailed("If-None-Match: there is such an object")
    if condition.size is not None and condition.size != size:
        raise PreconditionFailed("the object has another size")
    if condition.mtime_us is not None and condition.mtime_us // SECOND_US != mtime_us // SECOND_US:
        raise PreconditionFailed("the object was modified at another time")
