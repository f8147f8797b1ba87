"""RestoreObject: what a request asks for, and what becomes of the object's restore. Pure.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_RestoreObject.html and
https://docs.aws.amazon.com/AmazonS3/latest/userguide/restoring-objects.html
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from glacier.lifecycle.calendar import Calendar
from meta.protocol.object import ObjectRow
from meta.protocol.restore import COLD_CLASSES, Restore, restore_of
from s3.errors import S3Error, not_implemented
from s3.shape import Shape, read
from s3.storageclass import current_restore
from s3.xml import Element, XmlRefused

Tier = Literal["Expedited", "Standard", "Bulk"]
TIERS: tuple[Tier, ...] = ("Expedited", "Standard", "Bulk")
"""Fastest first."""
DAYS_MAX = 36_500
"""A hundred years: so the copy's end is a date that every header can say."""
_OF_SELECT = ("Type", "SelectParameters", "OutputLocation")


class JobParameters(Shape, frozen=True):
    tier: Tier


class RestoreRequest(Shape, frozen=True):
    days: Annotated[int, msgspec.Meta(le=2**31 - 1)] | None = None
    glacier_job_parameters: JobParameters | None = None
    tier: Tier | None = None
    description: str | None = None


class Wish(msgspec.Struct, frozen=True):
    days: int
    tier: Tier


def parse_wish(document: Element) -> Wish:
    """Raises: MalformedXML, InvalidArgument, NotImplemented."""
    if any(name in document for name in _OF_SELECT):
        raise not_implemented("Restoring the result of a query")
    try:
        request = read(document, RestoreRequest)
    except XmlRefused as error:
        raise S3Error("MalformedXML") from error
    parameters = request.glacier_job_parameters
    if request.days is None or (parameters is not None and request.tier is not None):
        raise S3Error("MalformedXML")
    if not 1 <= request.days <= DAYS_MAX:
        raise S3Error("InvalidArgument", f"Days must be between 1 and {DAYS_MAX}", ArgumentName="Days", ArgumentValue=str(request.days))
    return Wish(request.days, parameters.tier if parameters is not None else request.tier or "Standard")


def restored(row: ObjectRow, wish: Wish, now_us: int, calendar: Calendar) -> tuple[Restore, int]:
    """The object's restore from now on, and the answer's status: 202 when bytes are still to be brought, 200 when the copy is there.

    A copy that is there stays so many days from now. A restore under way can only be made more urgent.

    Raises: InvalidObjectState, RestoreAlreadyInProgress, InvalidArgument.
    """
    if row.storage_class not in COLD_CLASSES:
        raise S3Error("InvalidObjectState", "Restore is not allowed for the object's current storage class", StorageClass=row.storage_class)
    if row.storage_class == "DEEP_ARCHIVE" and wish.tier == "Expedited":
        raise S3Error("InvalidArgument", "Retrieval option is not supported by this storage class", ArgumentName="Tier")
    old = current_restore(restore_of(row.attributes), now_us)
    if old is None:
        return Restore(wish.days, wish.tier, now_us), 202
    if not old.ongoing:
        return msgspec.structs.replace(old, days=wish.days, until_us=calendar.after(now_us, wish.days)), 200
    if TIERS.index(wish.tier) >= [*TIERS].index(old.tier):  # type: ignore[arg-type]  # its own request was checked
        raise S3Error("RestoreAlreadyInProgress")
    return msgspec.structs.replace(old, tier=wish.tier), 202
