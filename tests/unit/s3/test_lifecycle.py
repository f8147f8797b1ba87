"""Lifecycle rules: what they are about and when something is due, against a model that is written another way; and the document."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glacier.lifecycle.calendar import REAL
from glacier.lifecycle.rule import AbortUpload, Expiration, Filter, Lifecycle, Rule, abortion_of, expiration_of
from s3.errors import S3Error
from s3.lifecycle_document import checked
from s3.moment import http_date, iso_date
from s3.shape import read, write
from s3.xml import parse

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MIDNIGHTS = st.integers(0, 30_000).map(lambda days: (_EPOCH + timedelta(days=days)).strftime("%Y-%m-%dT00:00:00.000Z"))
_TAGS = st.dictionaries(st.sampled_from("xyz"), st.sampled_from("01"), max_size=3)
_PREFIX = st.text("a/", max_size=2)

Conditions = dict[str, Any]


def _document(conditions: Conditions, expiration: str, rule_id: str, status: str) -> str:
    """A rule as a client may write it: a lone condition by itself, several under And, none as an empty filter."""
    parts = [f"<Prefix>{conditions['prefix']}</Prefix>"] if "prefix" in conditions else []
    parts += [f"<Tag><Key>{key}</Key><Value>{value}</Value></Tag>" for key, value in conditions.get("tags", {}).items()]
    parts += [f"<ObjectSizeGreaterThan>{conditions['above']}</ObjectSizeGreaterThan>"] if "above" in conditions else []
    parts += [f"<ObjectSizeLessThan>{conditions['below']}</ObjectSizeLessThan>"] if "below" in conditions else []
    body = "".join(parts)
    wanted = f"<And>{body}</And>" if len(parts) > 1 else body
    return f"<Rule><ID>{rule_id}</ID><Filter>{wanted}</Filter><Status>{status}</Status><Expiration>{expiration}</Expiration></Rule>"


_conditions = st.fixed_dictionaries({}, optional={"prefix": _PREFIX, "tags": _TAGS, "above": st.integers(0, 4), "below": st.integers(6, 9)})
_expiration = st.one_of(
    st.integers(1, 4000).map(lambda days: (f"<Days>{days}</Days>", days)),
    _MIDNIGHTS.map(lambda date: (f"<Date>{date}</Date>", datetime.fromisoformat(date))),
    st.just(("<ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker>", None)),
)
_rules = st.lists(st.tuples(_conditions, _expiration, st.sampled_from(["Enabled", "Enabled", "Disabled"])), min_size=1, max_size=5)


def _lifecycle(rules: list[tuple[Conditions, tuple[str, Any], str]]) -> Lifecycle:
    body = "".join(_document(conditions, text, f"r{at}", status) for at, (conditions, (text, _), status) in enumerate(rules))
    return read(parse(f"<L>{body}</L>".encode(), "L"), Lifecycle)


@given(_rules, st.text("a/b", max_size=3), _TAGS, st.integers(0, 12), st.datetimes(datetime(1990, 1, 1), datetime(2040, 1, 1)))
def test_expiration_is_that_of_the_model(rules: Any, key: str, tags: dict[str, str], size: int, moment: datetime) -> None:
    mtime = moment.replace(tzinfo=UTC)
    dates = []
    for at, (conditions, (_, when), status) in enumerate(rules):
        about = [
            key[: len(conditions.get("prefix", ""))] == conditions.get("prefix", ""),
            set(conditions.get("tags", {}).items()) <= set(tags.items()),
            conditions.get("above", -1) < size < conditions.get("below", 10**9),
        ]
        if status == "Disabled" or when is None or not all(about):
            continue
        if isinstance(when, int):
            midnight = mtime.replace(hour=0, minute=0, second=0, microsecond=0)
            when = midnight + timedelta(days=when + 1)
        dates.append((when, at))
    due = expiration_of(_lifecycle(rules), key, tags, size, round((mtime - _EPOCH) / timedelta(microseconds=1)))
    if not dates:
        assert due is None
    else:
        when, at = min(dates)
        assert due is not None
        assert (_EPOCH + timedelta(microseconds=due.at_us), due.rule) == (when, f"r{at}")


@given(_rules)
def test_a_document_that_is_accepted_is_stored_as_it_means(rules: Any) -> None:
    try:
        accepted = checked(_lifecycle(rules))
    except S3Error as error:
        assert error.code == "InvalidRequest"  # a marker's expiration with tags
        return
    again = read(parse(write(accepted, "LifecycleConfiguration").encode(), "LifecycleConfiguration"), Lifecycle)
    assert again == accepted == checked(again)


def test_days_end_at_the_midnight_after_them() -> None:
    begin = datetime(2014, 1, 15, 10, 30, tzinfo=UTC)
    due = REAL.after(int(begin.timestamp() * 1e6), 3)
    assert datetime.fromtimestamp(due / 1e6, UTC) == datetime(2014, 1, 19, tzinfo=UTC)  # AWS's own example


def test_rules_without_ids_get_the_same_ones_each_time() -> None:
    rule = Rule(filter=Filter(), status="Enabled", expiration=Expiration(days=1))
    first = checked(Lifecycle((rule, rule)))
    assert first == checked(Lifecycle((rule, rule)))
    assert len({each.id for each in first.rules}) == 2
    assert all(each.id for each in first.rules)


def test_uploads_are_given_up_by_prefix() -> None:
    rules = Lifecycle((Rule(id="r", filter=Filter(prefix="a/"), status="Enabled", abort_upload=AbortUpload(7)),))
    due = abortion_of(rules, "a/b", 0)
    assert due is not None
    assert (due.at_us, due.rule) == (8 * 86_400_000_000, "r")
    assert abortion_of(rules, "b", 0) is None
    assert expiration_of(rules, "a/b", {}, 0, 0) is None


@pytest.mark.parametrize("date", ["2030-01-01", "2030-01-01T00:00:00Z", "2030-01-01T00:00:00.000Z", "2030-01-01T02:00:00+02:00"])
def test_dates_are_kept_as_s3_writes_them(date: str) -> None:
    rule = Rule(filter=Filter(), status="Enabled", expiration=Expiration(date=date))
    kept = checked(Lifecycle((rule,))).rules[0].expiration
    assert kept == Expiration(date="2030-01-01T00:00:00.000Z")


@pytest.mark.parametrize("date", ["", "20300101", "2030-13-01", "2030-W01-1", "tomorrow", "0000-01-01", "2030-01-01T25:00:00Z"])
def test_what_is_no_date_is_refused(date: str) -> None:
    with pytest.raises(S3Error) as caught:
        checked(Lifecycle((Rule(filter=Filter(), status="Enabled", expiration=Expiration(date=date)),)))
    assert caught.value.code == "MalformedXML"


@pytest.mark.parametrize("date", ["0001-01-01T00:00:00Z", "0999-12-31", "1969-12-31T00:00:00Z", "9999-12-31T00:00:00.000Z"])
def test_the_oddest_dates_come_back_as_they_were_and_can_be_reckoned_with(date: str) -> None:
    lifecycle = checked(_lifecycle([({}, (f"<Date>{date}</Date>", None), "Enabled")]))
    again = checked(read(parse(write(lifecycle, "L").encode(), "L"), Lifecycle))
    due = expiration_of(again, "k", {}, 1, 0)
    assert due is not None
    assert iso_date(due.at_us) == f"{date[:10]}T00:00:00.000Z"
    assert date[:4].encode() in http_date(due.at_us)


def test_a_year_that_was_stored_without_its_zeros_is_understood() -> None:
    rule = Rule(status="Enabled", filter=Filter(), expiration=Expiration(date="1-01-01T00:00:00.000Z"))
    due = expiration_of(Lifecycle((rule,)), "k", {}, 1, 0)
    assert due is not None
    assert iso_date(due.at_us) == "0001-01-01T00:00:00.000Z"


@pytest.mark.parametrize("days", [2_932_000, 2**31 - 1])
def test_what_is_due_later_than_a_date_can_say_is_due_on_the_last(days: int) -> None:
    rule = Rule(status="Enabled", filter=Filter(), expiration=Expiration(days=days), abort_upload=AbortUpload(days))
    lifecycle, now_us = Lifecycle((rule,)), 1_800_000_000_000_000
    for due in (expiration_of(lifecycle, "k", {}, 1, now_us), abortion_of(lifecycle, "k", now_us)):
        assert due is not None
        assert http_date(due.at_us) == b"Fri, 31 Dec 9999 00:00:00 GMT"
