"""The policy of a POST form: what its maker allows to whoever holds it. Pure.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import msgspec

from s3.errors import S3Error

CONDITIONS_MAX = 200
_EXPIRATION = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_NUMBER = re.compile(r"[0-9]{1,18}")
_NOT_COVERED = frozenset({"x-amz-signature", "signature", "awsaccesskeyid", "policy", "file"})
"""Fields that need no condition: they are the proof itself."""
_IGNORED_PREFIX = "x-ignore-"
BUCKET = "bucket"
"""The bucket that the form is sent to, under a condition as if it were a field."""


class Operator(Enum):
    EQUAL = "eq"
    STARTS_WITH = "starts-with"


class Condition(msgspec.Struct, frozen=True):
    """field: in lower case; text: the condition as it stands in the document."""

    operator: Operator
    field: str
    value: str
    text: str

    def holds(self, value: str) -> bool:
        if self.operator is Operator.EQUAL:
            return value == self.value
        if self.field == "content-type" and "," in value:  # a list, of which each must do
            return all(part.strip().startswith(self.value) for part in value.split(","))
        return value.startswith(self.value)


class Policy(msgspec.Struct, frozen=True):
    """bytes_min, bytes_max: of the file; None when the document does not say."""

    expires_s: float
    conditions: tuple[Condition, ...]
    bytes_min: int = 0
    bytes_max: int | None = None


def parse(document: str) -> Policy:
    """document: base64, as the form's field. Raises: InvalidPolicyDocument."""
    try:
        text = base64.b64decode(document.encode(), validate=True).decode()
        content = json.loads(_ESCAPE.sub(_escape, text))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise _invalid("Invalid JSON or base64.") from error
    if not isinstance(content, dict):
        raise _invalid("The document must be an object.")
    for name in content:
        if name not in ("expiration", "conditions"):
            raise _invalid(f"Unexpected: '{name}'.")
    if not isinstance(content.get("conditions"), list):
        raise _invalid("Policy missing conditions.")
    if len(content["conditions"]) > CONDITIONS_MAX:
        raise _invalid(f"More than {CONDITIONS_MAX} conditions.")
    return _read_conditions(_expiration(content.get("expiration")), content["conditions"])


def _invalid(why: str) -> S3Error:
    return S3Error("InvalidPolicyDocument", f"Invalid Policy: {why}")


def _escape(match: re.Match[str]) -> str:
    """AWS's documents may escape the dollar sign, which JSON does not know."""
    return "$" if match[1] == "$" else match[0]


def _expiration(value: object) -> float:
    if not isinstance(value, str):
        raise _invalid("Policy missing expiration.")
    if not _EXPIRATION.fullmatch(value):
        raise _invalid(f"Invalid 'expiration' value: '{value}'")
    try:
        return datetime.strptime(value[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC).timestamp()
    except ValueError as error:
        raise _invalid(f"Invalid 'expiration' value: '{value}'") from error


def _read_conditions(expires_s: float, found: list[Any]) -> Policy:
    conditions: list[Condition] = []
    bytes_min, bytes_max = 0, None
    for entry in found:
        if isinstance(entry, list) and len(entry) == 3 and str(entry[0]).lower() == "content-length-range":
            low, high = (_length(number) for number in entry[1:])
            if low > high:
                raise _invalid("Invalid content-length-range.")
            bytes_min = max(bytes_min, low)
            bytes_max = high if bytes_max is None else min(bytes_max, high)
        else:
            conditions.append(_condition(entry))
    return Policy(expires_s, tuple(conditions), bytes_min, bytes_max)


def _length(value: object) -> int:
    text = str(value)
    if isinstance(value, bool) or not isinstance(value, (int, str)) or not _NUMBER.fullmatch(text) or not text.isascii():
        raise _invalid("Invalid content-length-range.")
    return int(text)


def _condition(entry: object) -> Condition:
    text = json.dumps(entry, ensure_ascii=False)
    if isinstance(entry, dict):
        if len(entry) != 1:
            raise _invalid("Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.")
        ((field, value),) = entry.items()
        return Condition(Operator.EQUAL, field.lower(), _text(value), text)
    if not isinstance(entry, list) or len(entry) != 3 or not isinstance(entry[1], str) or not entry[1].startswith("$"):
        raise _invalid(f"Invalid condition: {text}")
    operators = {operator.value: operator for operator in Operator}
    operator = operators.get(str(entry[0]).lower())
    if operator is None:
        raise _invalid(f"Unknown operation '{entry[0]}'.")
    return Condition(operator, entry[1][1:].lower(), _text(entry[2]), text)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise _invalid("A condition's value must be a string.")


def check(policy: Policy, fields: Mapping[str, str], bucket: str, now_s: float) -> None:
    """fields: by lower-case name, ${filename} already replaced: what is checked is what is acted on.

    Raises: AccessDenied when the form is not what the policy allows.
    """
    if now_s > policy.expires_s:
        raise _refused("Policy expired.")
    values = {**fields, BUCKET: bucket}
    for condition in policy.conditions:
        if not condition.holds(values.get(condition.field, "")):
            raise _refused(f"Policy Condition failed: {condition.text}")
    covered = {condition.field for condition in policy.conditions}
    extra = sorted(name for name in values if name not in covered and name not in _NOT_COVERED and not name.startswith(_IGNORED_PREFIX))
    if extra:
        raise _refused(f"Extra input fields: {', '.join(extra)}")


def _refused(why: str) -> S3Error:
    return S3Error("AccessDenied", f"Invalid according to Policy: {why}")
