"""How far a job is, in words."""

from __future__ import annotations

import pytest

from cli.estimate import counted, left_s, progress, share_of
from meta.protocol.jobs import Job


def job(**counts: int) -> Job:
    return Job("scrub-meta", state="running", progress=counts)


def test_what_is_left_follows_from_what_was_done() -> None:
    assert left_s(job(share_ppm=250_000, spent_ms=10_000)) == pytest.approx(30.0)
    assert left_s(job(share_ppm=1_000_000, spent_ms=10_000)) == 0.0


def test_nothing_is_foretold_from_nothing() -> None:
    assert left_s(job()) is None
    assert left_s(job(share_ppm=0, spent_ms=60_000)) is None
    assert left_s(job(share_ppm=500_000, spent_ms=100)) is None
    assert share_of(job()) is None


def test_what_runs_tells_how_far_and_what_is_over_does_not() -> None:
    running = job(chunks=5, bytes=2048, share_ppm=500_000, spent_ms=60_000, found=2)
    assert progress(running) == "5 chunks, 2.0 KiB; 2 found; 50% of this pass, about 1 min left"
    assert counted(running) == "5 chunks, 2.0 KiB; 2 found"
    assert progress(Job("scrub-meta", state="done", progress=running.progress)) == counted(running)
