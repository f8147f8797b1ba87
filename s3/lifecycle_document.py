"""The lifecycle document: what S3 refuses in it, in AWS's words and codes. Pure.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketLifecycleConfiguration.html and
https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-transition-general-considerations.html
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Literal, get_args

import msgspec

from glacier.lifecycle.calendar import DAY_US
from glacier.lifecycle.plan import Rules
from glacier.lifecycle.rule import And, Expiration, Filter, Lifecycle, Rule, StorageClass, Tag, Transition, parse_date
from meta.protocol.bucket import BucketSettings
from node.errors import RecordCorrupt
from s3.configuration import Configuration
from s3.errors import S3Error
from s3.moment import iso_date
from s3.shape import write
from s3.tags import check_tag
from s3.xml import XmlRefused

ID_MAX = 255
PREFIX_BYTES_MAX = 1_024
NEWER_VERSIONS_MAX = 100
INFREQUENT_DAYS_MIN = 30
"""How long an object stays before it may become STANDARD_IA or ONEZONE_IA, and how long it stays that."""
MINIMUM_SIZE = "lifecycle-minimum-size"
"""Document that holds the wish of MinimumSize, beside the rules."""
MinimumSize = Literal["all_storage_classes_128K", "varies_by_storage_class"]
MINIMUM_SIZES = get_args(MinimumSize)
VARIES = MINIMUM_SIZES[1]

_INFREQUENT = ("STANDARD_IA", "ONEZONE_IA")
_ORDER = {name: rank for rank, name in enumerate(get_args(StorageClass))}
_DATE = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII)


def checked(lifecycle: Lifecycle) -> Lifecycle:
    """With ids for the rules that have none. Raises: MalformedXML, InvalidArgument, InvalidRequest, InvalidTag."""
    rules = tuple(_checked_rule(rule, place) for place, rule in enumerate(lifecycle.rules))
    if len({rule.id for rule in rules}) != len(rules):
        raise _argument("Rule ID must be unique. Found same ID for more than one rule")
    return Lifecycle(rules)


LIFECYCLE = Configuration(
    "lifecycle", "LifecycleConfiguration", Lifecycle, absent="NoSuchLifecycleConfiguration", checked=checked, checksum=True
)


def rules_of(settings: BucketSettings) -> Rules | None:
    """For the engine, which reads no XML. Raises: RecordCorrupt, also of what a newer Frazil wrote."""
    try:
        lifecycle = LIFECYCLE.of(settings)
    except XmlRefused as error:
        raise RecordCorrupt(f"its lifecycle rules are not readable: {error}") from error
    return None if lifecycle is None else Rules(lifecycle, settings.documents.get(MINIMUM_SIZE) == VARIES)


def _argument(words: str) -> S3Error:
    return S3Error("InvalidArgument", words)


def _request(words: str) -> S3Error:
    return S3Error("InvalidRequest", words)


def _positive(number: int, name: str, action: str) -> None:
    if number < 1:
        raise _argument(f"'{name}' for {action} action must be a positive integer")


def _checked_rule(rule: Rule, place: int) -> Rule:
    if len(rule.id) > ID_MAX:
        raise _argument(f"ID length should not exceed allowed limit of {ID_MAX}")
    if (rule.filter is None) == (rule.prefix is None):
        raise S3Error("MalformedXML")
    if rule.filter is not None:
        _check_filter(rule.filter)
    scope = rule.scope
    if len(scope.prefix.encode()) > PREFIX_BYTES_MAX:
        raise _request(f"The maximum size of a prefix is {PREFIX_BYTES_MAX}.")
    _check_sizes(scope.larger_than, scope.smaller_than)
    if not (rule.expiration or rule.transitions or rule.noncurrent_expiration or rule.noncurrent_transitions or rule.abort_upload):
        raise _request("At least one action needs to be specified in a rule.")
    expiration = None if rule.expiration is None else _checked_expiration(rule.expiration, bool(scope.tags))
    transitions = tuple(_checked_transition(each) for each in rule.transitions)
    _check_course(transitions, expiration, scope.prefix)
    _check_noncurrent(rule)
    if rule.abort_upload is not None:
        _positive(rule.abort_upload.days_after_initiation, "DaysAfterInitiation", "AbortIncompleteMultipartUpload")
        if scope.tags or scope.larger_than is not None or scope.smaller_than is not None:
            what = "Tags" if scope.tags else "Object Size"
            raise _request(f"AbortIncompleteMultipartUpload cannot be specified with {what}.")
    whole = msgspec.structs.replace(rule, expiration=expiration, transitions=transitions)
    return whole if rule.id else msgspec.structs.replace(whole, id=_id_for(whole, place))


def _id_for(rule: Rule, place: int) -> str:
    """The same each time the same document comes."""
    digest = hashlib.blake2b(f"{place} {write(rule, 'Rule')}".encode(), digest_size=27).digest()
    return base64.urlsafe_b64encode(digest).decode("ascii")


# What a rule is about


def _check_filter(wanted: Filter) -> None:
    parts = (wanted.prefix, wanted.tag, wanted.object_size_greater_than, wanted.object_size_less_than, wanted.all)
    if sum(part is not None for part in parts) > 1:
        raise S3Error("MalformedXML")
    if wanted.all is not None:
        _check_and(wanted.all)
    elif wanted.tag is not None:
        _check_tags((wanted.tag,))


def _check_and(both: And) -> None:
    parts = (both.prefix, both.object_size_greater_than, both.object_size_less_than)
    if sum(part is not None for part in parts) + len(both.tags) < 2:
        raise S3Error("MalformedXML")
    _check_tags(both.tags)


def _check_tags(tags: Iterable[Tag]) -> None:
    seen = set()
    for tag in tags:
        check_tag(tag.key, tag.value)
        if tag.key in seen:
            raise _request("Duplicate Tag Keys are not allowed.")
        seen.add(tag.key)


def _check_sizes(larger_than: int | None, smaller_than: int | None) -> None:
    if larger_than is not None and larger_than < 0:
        raise _request("'ObjectSizeGreaterThan' should be a non-negative integer")
    if smaller_than is not None and smaller_than < 1:
        raise _request("'ObjectSizeLessThan' should be a positive integer")
    if larger_than is not None and smaller_than is not None and larger_than + 1 >= smaller_than:
        raise _request("'ObjectSizeGreaterThan' should be less than 'ObjectSizeLessThan', with sizes between them")


# What is done when


def _midnight(date: str) -> str:
    """The date as S3 writes it. Raises: MalformedXML, InvalidArgument."""
    text = date.strip()
    try:
        if not _DATE.fullmatch(text):
            raise ValueError(text)
        at_us = parse_date(text)
    except (ValueError, OverflowError) as error:
        raise S3Error("MalformedXML") from error
    if at_us % DAY_US:
        raise _argument("'Date' must be at midnight GMT")
    return iso_date(at_us)


def _checked_expiration(expiration: Expiration, tags: bool) -> Expiration:
    parts = (expiration.date, expiration.days, expiration.expired_object_delete_marker)
    if sum(part is not None for part in parts) != 1:
        raise S3Error("MalformedXML")
    if expiration.days is not None:
        _positive(expiration.days, "Days", "Expiration")
    if expiration.expired_object_delete_marker is not None and tags:
        raise _request("ExpiredObjectDeleteMarker cannot be specified with Tag Filter")
    return expiration if expiration.date is None else Expiration(date=_midnight(expiration.date))


def _checked_transition(transition: Transition) -> Transition:
    if (transition.date is None) == (transition.days is None):
        raise S3Error("MalformedXML")
    if transition.days is not None:
        _check_days(transition.days, transition.storage_class, "Days", "Transition")
        return transition
    assert transition.date is not None
    return msgspec.structs.replace(transition, date=_midnight(transition.date))


def _check_days(days: int, storage_class: str, name: str, action: str) -> None:
    if days < 0:
        raise _argument(f"'{name}' for {action} action must be a non-negative integer")
    if storage_class in _INFREQUENT and days < INFREQUENT_DAYS_MIN:
        raise _argument(
            f"'{name}' in {action} action must be greater than or equal to {INFREQUENT_DAYS_MIN} for storageClass '{storage_class}'"
        )


def _check_course(transitions: tuple[Transition, ...], expiration: Expiration | None, prefix: str) -> None:
    """Transitions go down the classes as time goes on, and the expiration comes after them."""
    last = expiration if expiration is not None and expiration.expired_object_delete_marker is None else None
    dated = {each.date is not None for each in (*transitions, last) if each is not None}
    if len(dated) > 1:
        raise _request(f"Found mixed 'Date' and 'Days' based Expiration and Transition actions in lifecycle rule for prefix '{prefix}'")
    name = "Date" if True in dated else "Days"
    _check_steps([(each.storage_class, _number(each)) for each in transitions], prefix, name)
    if last is not None and transitions and _number(last) <= max(map(_number, transitions)):
        raise _argument(f"'{name}' in the Expiration action for prefix '{prefix}' must be greater than '{name}' in the Transition action")


def _number(action: Transition | Expiration) -> int:
    """When, in days: after the object's creation, or of a date."""
    return parse_date(action.date) // DAY_US if action.date is not None else action.days or 0


def _check_steps(steps: Sequence[tuple[str, int]], prefix: str, name: str, action: str = "Transition") -> None:
    ordered = sorted(steps, key=lambda step: _ORDER[step[0]])
    for (earlier, first), (later, second) in pairwise(ordered):
        if earlier == later:
            raise _request(f"'StorageClass' must be different for '{action}' actions in same 'Rule' with prefix '{prefix}'")
        least = INFREQUENT_DAYS_MIN if earlier in _INFREQUENT and later not in _INFREQUENT else 1
        if second < first + least:
            raise _argument(
                f"'{name}' in the '{action}' action for StorageClass '{later}' for prefix '{prefix}' must be {least} days more than "
                f"'{name}' in the '{action}' action for StorageClass '{earlier}'"
            )


def _check_noncurrent(rule: Rule) -> None:
    action = "NoncurrentVersionTransition"
    for each in rule.noncurrent_transitions:
        _check_days(each.noncurrent_days, each.storage_class, "NoncurrentDays", action)
        _check_newer(each.newer_noncurrent_versions, rule, action)
    prefix = rule.scope.prefix
    steps = [(each.storage_class, each.noncurrent_days) for each in rule.noncurrent_transitions]
    _check_steps(steps, prefix, "NoncurrentDays", action)
    last = rule.noncurrent_expiration
    if last is None:
        return
    _positive(last.noncurrent_days, "NoncurrentDays", "NoncurrentVersionExpiration")
    _check_newer(last.newer_noncurrent_versions, rule, "NoncurrentVersionExpiration")
    if steps and last.noncurrent_days <= max(days for _, days in steps):
        raise _argument(
            f"'NoncurrentDays' in the NoncurrentVersionExpiration action for prefix '{prefix}' must be greater than "
            "'NoncurrentDays' in the NoncurrentVersionTransition action"
        )


def _check_newer(newer: int | None, rule: Rule, action: str) -> None:
    if newer is None:
        return
    if not 1 <= newer <= NEWER_VERSIONS_MAX:
        raise _argument(f"'NewerNoncurrentVersions' for {action} action must be between 1 and {NEWER_VERSIONS_MAX}")
    if rule.filter is None:
        raise _request("NewerNoncurrentVersions can only be specified in a rule with a Filter")
