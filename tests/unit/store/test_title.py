"""What a job is called."""

from __future__ import annotations

import pytest

from meta.protocol.jobs import Job
from store.jobs.title import title


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (Job("freeze", {"standing": "1"}), "freeze, by itself"),
        (Job("scrub-chunks", {"deep": "1", "standing": "1"}), "scrub-chunks deep, by itself"),
        (Job("rebuild-volume", {"volume": "0123456789abcdef", "dry": "1"}), "rebuild-volume dry volume=0123456789abcdef"),
        (Job("rebuild-volume", {"volume": "0123456789abcdef,fedcba9876543210", "host": "host1"}), "rebuild-volume host=host1"),
    ],
)
def test_a_job_is_named_by_its_kind_and_what_it_was_given(job: Job, words: str) -> None:
    assert title(job) == words
