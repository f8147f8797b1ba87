"""Object lock, the pure part: every state of a protection against every wish."""

from __future__ import annotations

from datetime import UTC, datetime

import apsw
import pytest

from meta.lock import check_change, check_default, check_removal, with_default
from meta.protocol.bucket import DefaultRetention
from meta.protocol.object import Attributes
from meta.row import Stored, check_lock
from meta.transaction import ContainerTransaction
from node.errors import InvalidArgument, Locked

NOW = 1_000
OPEN = Attributes()
HELD = Attributes(legal_hold=True)
RELEASED = Attributes(legal_hold=False)
EXPIRED = Attributes(retain_mode="COMPLIANCE", retain_until_us=NOW)
GOVERNED = Attributes(retain_mode="GOVERNANCE", retain_until_us=NOW + 1)
COMPLIANT = Attributes(retain_mode="COMPLIANCE", retain_until_us=NOW + 1)
UNKNOWN = Attributes(retain_mode="SOMETHING", retain_until_us=NOW + 1)
NAMELESS = Attributes(retain_until_us=NOW + 1)
BOTH = Attributes(retain_mode="GOVERNANCE", retain_until_us=NOW + 1, legal_hold=True)


def locked(attributes: Attributes, *, bypass: bool) -> bool:
    try:
        check_removal(attributes, NOW, bypass_governance=bypass)
    except Locked:
        return True
    return False


@pytest.mark.parametrize(
    ("attributes", "without", "with_bypass"),
    [
        (OPEN, False, False),
        (RELEASED, False, False),
        (EXPIRED, False, False),
        (HELD, True, True),
        (GOVERNED, True, False),
        (COMPLIANT, True, True),
        (UNKNOWN, True, True),
        (NAMELESS, True, True),
        (BOTH, True, True),
    ],
)
def test_what_may_be_removed(attributes: Attributes, without: bool, with_bypass: bool) -> None:
    assert locked(attributes, bypass=False) is without
    assert locked(attributes, bypass=True) is with_bypass


@pytest.mark.parametrize("old", [GOVERNED, COMPLIANT, UNKNOWN, NAMELESS])
@pytest.mark.parametrize("bypass", [False, True])
@pytest.mark.parametrize("mode", ["", "GOVERNANCE", "COMPLIANCE", "SOMETHING"])
@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_retention_in_force_may_only_be_prolonged(old: Attributes, bypass: bool, mode: str, shift: int) -> None:
    new = Attributes(retain_mode=mode, retain_until_us=old.retain_until_us + shift)
    allowed = (mode == old.retain_mode and shift >= 0) or (old.retain_mode == "GOVERNANCE" and bypass)
    try:
        check_change(old, new, NOW, bypass_governance=bypass)
    except Locked:
        assert not allowed
    else:
        assert allowed


def test_retention_that_is_over_is_no_obstacle() -> None:
    check_change(EXPIRED, OPEN, NOW, bypass_governance=False)


@pytest.mark.parametrize("attributes", [b"\xc1", b"", b"\x81\xabretain_mode\x05"])
def test_a_protection_that_can_not_be_read_holds(attributes: bytes) -> None:
    stored = Stored("k", -1, 0, 0, 1, "e", 1, "STANDARD", "SINGLE", "o", "c", b"l", 1, attributes, 1, 0, "")
    transaction = ContainerTransaction(apsw.Connection(":memory:"))
    transaction.begin(NOW, afresh=True)
    with pytest.raises(Locked):
        check_lock(transaction, stored, bypass_governance=True)


def us(*date: int) -> int:
    return int(datetime(*date, tzinfo=UTC).timestamp()) * 1_000_000  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("default", "end"),
    [
        (DefaultRetention("GOVERNANCE", days=1), us(2024, 3, 1)),
        (DefaultRetention("COMPLIANCE", years=1), us(2025, 3, 1)),
        (DefaultRetention("COMPLIANCE", years=4), us(2028, 2, 29)),
    ],
)
def test_a_default_s_period_is_the_calendar_s(default: DefaultRetention, end: int) -> None:
    got = with_default(OPEN, default, us(2024, 2, 29))
    assert (got.retain_mode, got.retain_until_us) == (default.mode, end)


def test_what_brings_its_own_retention_keeps_it() -> None:
    assert with_default(GOVERNED, DefaultRetention("COMPLIANCE", days=1), NOW) is GOVERNED
    assert with_default(HELD, None, NOW) is HELD
    assert with_default(HELD, DefaultRetention("COMPLIANCE", days=1), NOW).legal_hold


@pytest.mark.parametrize(
    "default",
    [
        DefaultRetention("", days=1),
        DefaultRetention("GOVERNANCE"),
        DefaultRetention("GOVERNANCE", days=1, years=1),
        DefaultRetention("GOVERNANCE", days=-1),
        DefaultRetention("GOVERNANCE", years=-1),
        DefaultRetention("GOVERNANCE", days=36_501),
        DefaultRetention("COMPLIANCE", years=101),
    ],
)
def test_impossible_defaults_are_refused(default: DefaultRetention) -> None:
    with pytest.raises(InvalidArgument):
        check_default(default)
