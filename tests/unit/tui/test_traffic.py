"""Rates from Prometheus' text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.traffic import Reading, between, parse, quantile

TEXT = """\
# TYPE frazil_s3_sent_bytes counter
frazil_s3_sent_bytes_total{operation="GetObject",code="200"} 1000.0
# TYPE frazil_s3_request_seconds histogram
frazil_s3_request_seconds_bucket{operation="GetObject",code="200",le="0.001"} 3.0
frazil_s3_request_seconds_bucket{operation="GetObject",code="200",le="+Inf"} 4.0
frazil_s3_request_seconds_count{operation="GetObject",code="200"} 4.0
frazil_s3_request_seconds_sum{operation="GetObject",code="200"} 0.1
frazil_s3_request_seconds_bucket{operation="GetObject",code="503",le="0.001"} 0.0
frazil_s3_request_seconds_bucket{operation="GetObject",code="503",le="+Inf"} 2.0
frazil_s3_request_seconds_count{operation="GetObject",code="503"} 2.0
frazil_s3_request_seconds_sum{operation="GetObject",code="503"} 0.1
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 5.0e+07
# TYPE process_cpu_seconds counter
process_cpu_seconds_total 12.5
"""


def test_processes_add_up() -> None:
    reading = parse(10.0, [TEXT, TEXT])
    assert reading.requests == {"GetObject": 12.0}
    assert reading.errors == 4.0
    assert reading.sent_bytes == 2000.0
    assert reading.up_to == {0.001: 6.0, float("inf"): 12.0}
    assert (reading.memory_bytes, reading.processor_s) == (1e8, 25.0)


def test_what_the_store_itself_shows_is_understood() -> None:
    from node.metrics import Requests, exposition

    requests = Requests("s3")
    requests.count("PutObject", 200, 0.003, 17)
    reading = parse(0.0, [exposition().decode()])
    assert reading.requests["PutObject"] >= 1
    assert reading.sent_bytes >= 17
    assert reading.memory_bytes > 0


def test_rates_are_per_second_of_the_interval() -> None:
    before = Reading(10.0, {"GetObject": 10.0}, 1.0, 1000.0, {0.001: 8.0, float("inf"): 10.0}, 1.0, 2.0)
    after = Reading(12.0, {"GetObject": 30.0, "PutObject": 4.0}, 2.0, 5000.0, {0.001: 8.0, 0.1: 20.0, float("inf"): 34.0}, 2.0, 3.0)
    found = between(before, after)
    assert found.requests == {"GetObject": 10.0, "PutObject": 2.0}
    assert (found.errors, found.sent_bytes, found.memory_bytes, found.processors) == (0.5, 2000.0, 2, 0.5)


def test_a_restarted_process_is_quiet_not_negative() -> None:
    found = between(
        Reading(1.0, {"GetObject": 100.0}, 5.0, 9.0, {1.0: 100.0}, 1.0, 50.0), Reading(2.0, {"GetObject": 1.0}, processor_s=1.0)
    )
    assert found.requests == {"GetObject": 0.0}
    assert (found.errors, found.sent_bytes, found.processors) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(("share", "seconds"), [(0.25, 0.5), (0.5, 1.0), (0.75, 1.5), (1.0, 2.0)])
def test_quantiles_lie_on_a_line_between_bounds(share: float, seconds: float) -> None:
    assert quantile({1.0: 10.0, 2.0: 20.0, float("inf"): 20.0}, share) == pytest.approx(seconds)


def test_beyond_the_last_bound_the_last_bound_is_all_that_is_known() -> None:
    assert quantile({1.0: 1.0, float("inf"): 10.0}, 0.99) == 1.0
    assert quantile({}, 0.5) == 0.0
    assert quantile({1.0: 0.0, float("inf"): 0.0}, 0.5) == 0.0


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.floats(0.01, 1.0))
def test_quantiles_grow_with_the_share(counts: list[int], share: float) -> None:
    total, up_to = 0.0, {}
    for index, count in enumerate(counts):
        total += count
        up_to[float(index + 1)] = total
    up_to[float("inf")] = total
    assert 0.0 <= quantile(up_to, share / 2) <= quantile(up_to, share) <= len(counts)
