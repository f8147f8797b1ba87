"""Condition operators of policies: what each compares and how. Pure.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from enum import Enum

import msgspec

from s3.wildcard import Lookup, compile_pattern, normal_key

Test = Callable[[str, Lookup], bool]
"""Whether a value of the request fits one operand of the policy."""
MakeTest = Callable[[str, bool], Test]
"""(operand, whether it may hold variables) to its test. Raises: ValueError when the operand is not of the operator's type."""

ARN_PARTS = 6


class Quantifier(Enum):
    """How a condition treats a key with several values."""

    NONE = ""
    ALL = "ForAllValues"
    ANY = "ForAnyValue"


def _equals(operand: str, variables: bool) -> Test:
    return compile_pattern(operand, wild=False, variables=variables).matches


def _like(operand: str, variables: bool) -> Test:
    return compile_pattern(operand, variables=variables).matches


def _equals_ignoring_case(operand: str, variables: bool) -> Test:
    return compile_pattern(operand, wild=False, variables=variables, ignore_case=True).matches


def _arn(operand: str, variables: bool) -> Test:
    """Each of the six parts for itself, so that a star never reaches over a colon but in the last."""
    parts = [compile_pattern(part, variables=variables) for part in _arn_parts(operand)]

    def fits(value: str, lookup: Lookup) -> bool:
        found = _arn_parts(value) if value.count(":") >= ARN_PARTS - 1 else []
        return len(found) == len(parts) and all(part.matches(each, lookup) for part, each in zip(parts, found, strict=True))

    return fits


_VARIABLE_OR_TEXT = re.compile(r"\$\{[^{}]*\}|:|[^:$]+|\$")


def _arn_parts(text: str) -> list[str]:
    """The parts between the first five colons; colons inside a variable are none. Raises: ValueError when there are fewer."""
    parts = [""]
    for piece in _VARIABLE_OR_TEXT.findall(text):
        if piece == ":" and len(parts) < ARN_PARTS:
            parts.append("")
        else:
            parts[-1] += piece
    if len(parts) != ARN_PARTS or parts[0] not in ("arn", "*"):
        raise ValueError(f"{text} is no ARN")
    return parts


def _compared(parse: Callable[[str], Decimal], compare: Callable[[Decimal, Decimal], bool]) -> MakeTest:
    """compare(the request's value, the policy's)."""

    def make(operand: str, _variables: bool) -> Test:
        wanted = parse(operand)

        def fits(value: str, _lookup: Lookup) -> bool:
            try:
                return compare(parse(value), wanted)
            except ValueError:
                return False

        return fits

    return make


def _number(text: str) -> Decimal:
    try:
        number = Decimal(text.strip())
    except InvalidOperation as error:
        raise ValueError(f"{text} is no number") from error
    if not number.is_finite():
        raise ValueError(f"{text} is no number")
    return number


def _moment(text: str) -> Decimal:
    """Seconds since 1970 of an ISO 8601 date, or of a number of seconds."""
    try:
        return _number(text)
    except ValueError:
        moment = datetime.fromisoformat(text.strip())
    return Decimal((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _bool(operand: str, _variables: bool) -> Test:
    wanted = operand.strip().lower()
    if wanted not in ("true", "false"):
        raise ValueError(f"{operand} is neither true nor false")
    return lambda value, _lookup: value.lower() == wanted


def _binary(operand: str, _variables: bool) -> Test:
    try:
        wanted = base64.b64decode(operand, validate=True)
    except binascii.Error as error:
        raise ValueError(f"{operand} is not base64") from error
    return lambda value, _lookup: value.encode("utf-8", "surrogatepass") == wanted


def _address(operand: str, _variables: bool) -> Test:
    network = ipaddress.ip_network(operand.strip(), strict=False)

    def fits(value: str, _lookup: Lookup) -> bool:
        address = parse_address(value)
        return address is not None and address.version == network.version and address in network

    return fits


def parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An IPv4 address that comes in IPv6's clothes (::ffff:1.2.3.4) is that IPv4 address."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


class Operator(msgspec.Struct, frozen=True):
    make: MakeTest
    negated: bool = False


OPERATORS: dict[str, Operator] = {
    "StringEquals": Operator(_equals),
    "StringNotEquals": Operator(_equals, negated=True),
    "StringEqualsIgnoreCase": Operator(_equals_ignoring_case),
    "StringNotEqualsIgnoreCase": Operator(_equals_ignoring_case, negated=True),
    "StringLike": Operator(_like),
    "StringNotLike": Operator(_like, negated=True),
    "NumericEquals": Operator(_compared(_number, Decimal.__eq__)),
    "NumericNotEquals": Operator(_compared(_number, Decimal.__eq__), negated=True),
    "NumericLessThan": Operator(_compared(_number, Decimal.__lt__)),
    "NumericLessThanEquals": Operator(_compared(_number, Decimal.__le__)),
    "NumericGreaterThan": Operator(_compared(_number, Decimal.__gt__)),
    "NumericGreaterThanEquals": Operator(_compared(_number, Decimal.__ge__)),
    "DateEquals": Operator(_compared(_moment, Decimal.__eq__)),
    "DateNotEquals": Operator(_compared(_moment, Decimal.__eq__), negated=True),
    "DateLessThan": Operator(_compared(_moment, Decimal.__lt__)),
    "DateLessThanEquals": Operator(_compared(_moment, Decimal.__le__)),
    "DateGreaterThan": Operator(_compared(_moment, Decimal.__gt__)),
    "DateGreaterThanEquals": Operator(_compared(_moment, Decimal.__ge__)),
    "Bool": Operator(_bool),
    "BinaryEquals": Operator(_binary),
    "IpAddress": Operator(_address),
    "NotIpAddress": Operator(_address, negated=True),
    "ArnEquals": Operator(_arn),
    "ArnLike": Operator(_arn),
    "ArnNotEquals": Operator(_arn, negated=True),
    "ArnNotLike": Operator(_arn, negated=True),
}
NULL = "Null"
_IF_EXISTS = "IfExists"


class Condition(msgspec.Struct, frozen=True):
    """One operator on one key.

    operands    as written, for whoever asks how narrow the condition is
    every       all values of the key must fit, not just one of them
    if_absent   whether it holds when the request hasn't the key
    """

    operator: str
    key: str
    operands: tuple[str, ...]
    tests: tuple[Test, ...]
    negated: bool = False
    every: bool = False
    if_absent: bool = False

    def holds(self, lookup: Lookup) -> bool:
        values = lookup(self.key)
        if self.operator == NULL:
            return self._fits("false" if values else "true", lookup)
        if not values:
            return self.if_absent
        if len(values) == 1:
            return self._fits(values[0], lookup)
        fits = (self._fits(value, lookup) for value in values)
        return all(fits) if self.every else any(fits)

    def _fits(self, value: str, lookup: Lookup) -> bool:
        for test in self.tests:
            if test(value, lookup):
                return not self.negated
        return self.negated


def parse_condition(name: str, key: str, operands: tuple[str, ...], *, variables: bool) -> Condition:
    """name: the operator with its quantifier and IfExists, as in "ForAnyValue:StringLikeIfExists".

    Raises: KeyError when there is no such operator, ValueError when an operand is not of its type.
    """
    before, colon, plain = name.rpartition(":")
    quantifier = Quantifier(before) if colon and before in ("ForAllValues", "ForAnyValue") else Quantifier.NONE
    if colon and quantifier is Quantifier.NONE:
        raise KeyError(name)
    if plain == NULL:
        return Condition(NULL, normal_key(key), operands, tuple(_bool(operand, False) for operand in operands))
    if_exists = plain.endswith(_IF_EXISTS)
    operator = OPERATORS[plain.removesuffix(_IF_EXISTS)]
    tests = tuple(operator.make(operand, variables) for operand in operands)
    every = quantifier is Quantifier.ALL or (operator.negated and quantifier is Quantifier.NONE)
    if_absent = if_exists or quantifier is Quantifier.ALL or (operator.negated and quantifier is not Quantifier.ANY)
    return Condition(plain.removesuffix(_IF_EXISTS), normal_key(key), operands, tests, operator.negated, every, if_absent)
