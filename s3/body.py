"""Documents in a request's body that a policy's conditions ask about: read before the decision, and kept for the handler."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from s3.call import Call
from s3.conditionkey import REQUEST_TAG
from s3.context import Context
from s3.policy import Policy, parse_policy
from s3.source import read_document
from s3.statement import PolicyRefused
from s3.xml import Element, XmlRefused, elements_of, text_of

Values = Mapping[str, Sequence[str]]


def _tags(document: Element) -> Values:
    tags = {text_of(tag, "Key"): text_of(tag, "Value", "") for each in elements_of(document, "TagSet") for tag in elements_of(each, "Tag")}
    return {f"{REQUEST_TAG}{key}": (value,) for key, value in tags.items()} | {"s3:requestobjecttagkeys": tuple(tags)}


def _location(document: Element) -> Values:
    location = text_of(document, "LocationConstraint", "")
    return {"s3:locationconstraint": (location,)} if location else {}


def _retention(document: Element) -> Values:
    shown = {
        "s3:object-lock-mode": text_of(document, "Mode", ""),
        "s3:object-lock-retain-until-date": text_of(document, "RetainUntilDate", ""),
    }
    return {key: (value,) for key, value in shown.items() if value}


def _legal_hold(document: Element) -> Values:
    return {"s3:object-lock-legal-hold": (text_of(document, "Status"),)}


class _Body(msgspec.Struct, frozen=True):
    """keys: beginnings of the condition keys that the document has values for; the rest as read_document has it."""

    root: str
    keys: tuple[str, ...]
    values: Callable[[Element], Values]
    checksum_required: bool = False
    empty: bool = False


BODIES: Mapping[str, _Body] = {
    "PutObjectTagging": _Body("Tagging", (REQUEST_TAG, "s3:requestobjecttagkeys"), _tags),
    "CreateBucket": _Body("CreateBucketConfiguration", ("s3:locationconstraint",), _location, empty=True),
    "PutObjectRetention": _Body("Retention", ("s3:object-lock-",), _retention, checksum_required=True),
    "PutObjectLegalHold": _Body("LegalHold", ("s3:object-lock-legal-hold",), _legal_hold, checksum_required=True),
}


async def read_creation(call: Call) -> Element:
    """What a CreateBucket says of its bucket. Raises: S3Error."""
    call.document = await read_document(call, BODIES["CreateBucket"].root, empty=True)
    return call.document


async def read_for_conditions(call: Call, policy: Policy | None, context: Context) -> None:
    """Only where a policy asks: a body that is read is no longer refused unread. Raises: S3Error when the document can't be read."""
    body = BODIES[call.route.operation]
    try:
        policies = [parse_policy(text) for group in call.identity.boundaries for text in group]
    except PolicyRefused:  # then nothing is allowed, whatever the document says
        return
    if policy is not None:
        policies.append(policy)
    if any(key.startswith(body.keys) for each in policies for key in each.keys):
        document = await read_document(call, body.root, checksum_required=body.checksum_required, empty=body.empty)
        call.document = document
        try:
            context.body = body.values(document)
        except XmlRefused:  # the handler refuses it in the right words; for the decision it says nothing
            context.body = {}
