"""Object lock's times and documents."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meta.protocol.bucket import DefaultRetention
from s3.errors import S3Error
from s3.lock import moment, parse_configuration, parse_moment, parse_retention
from s3.xml import XmlRefused, parse

zones = st.integers(-1_439, 1_439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(timezones=st.one_of(zones, st.just(UTC))))
def test_a_time_comes_back_as_the_millisecond_that_it_does_not_pass(time: datetime) -> None:
    try:
        parsed = parse_moment(time.isoformat())
    except ValueError:
        assert time > datetime(9999, 12, 30, tzinfo=UTC)
        return
    assert parsed % 1_000 == 0
    assert timedelta() <= timedelta(microseconds=parsed) - (time - datetime(1970, 1, 1, tzinfo=UTC)) < timedelta(milliseconds=1)
    if parsed >= 0:
        assert parse_moment(moment(parsed)) == parsed


@pytest.mark.parametrize(
    "text", ["9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-01:00", "", "tomorrow", "2030-13-01", "2030-01-01T25:00"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_moment(text)


def test_a_time_without_zone_is_utcs() -> None:
    assert moment(parse_moment("2030-01-02T03:04:05")) == moment(parse_moment("2030-01-02T04:04:05+01:00")) == "2030-01-02T03:04:05.000Z"


def document(root: str, inner: str) -> Any:
    return parse(f"<{root}>{inner}</{root}>".encode(), root)


RULE = "<ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>{}</DefaultRetention></Rule>"


def test_configurations_are_read() -> None:
    read = lambda inner: parse_configuration(document("ObjectLockConfiguration", inner))  # noqa: E731
    assert read("<ObjectLockEnabled>Enabled</ObjectLockEnabled>") is None
    assert read(RULE.format("<Mode>GOVERNANCE</Mode><Days>3</Days>")) == DefaultRetention("GOVERNANCE", days=3)
    assert read(RULE.format("<Mode>COMPLIANCE</Mode><Years> 2 </Years>")) == DefaultRetention("COMPLIANCE", years=2)


@pytest.mark.parametrize(
    "inner",
    [
        "",
        "<ObjectLockEnabled>enabled</ObjectLockEnabled>",
        "<ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule/>",
        RULE.format(""),
        RULE.format("<Mode>GOVERNANCE</Mode><Days>x</Days>"),
        RULE.format("<Mode>GOVERNANCE</Mode><Days>1.5</Days>"),
        RULE.format("<Mode>GOVERNANCE</Mode><Days>٣</Days>"),
        RULE.format("<Mode>GOVERNANCE</Mode><Days/>"),
        RULE.format("<Mode>GOVERNANCE</Mode><Mode>GOVERNANCE</Mode><Days>1</Days>"),
        RULE.format("<Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention><DefaultRetention>"),
    ],
)
def test_what_is_no_configuration_is_refused(inner: str) -> None:
    with pytest.raises(XmlRefused):
        parse_configuration(document("ObjectLockConfiguration", inner))


@pytest.mark.parametrize("days", ["0", "-1", "9" * 10, "9" * 5_000])
def test_impossible_periods_are_refused(days: str) -> None:
    with pytest.raises(S3Error) as caught:
        parse_configuration(document("ObjectLockConfiguration", RULE.format(f"<Mode>GOVERNANCE</Mode><Days>{days}</Days>")))
    assert caught.value.code == "InvalidArgument"


def test_retentions_are_read() -> None:
    assert parse_retention(document("Retention", "")) == ("", "")
    assert parse_retention(document("Retention", "<Mode>GOVERNANCE</Mode><RetainUntilDate>x</RetainUntilDate>")) == ("GOVERNANCE", "x")
    for inner in ("<Mode>GOVERNANCE</Mode>", "<RetainUntilDate>x</RetainUntilDate>", "<Mode>X</Mode><RetainUntilDate>x</RetainUntilDate>"):
        with pytest.raises(XmlRefused):
            parse_retention(document("Retention", inner))
