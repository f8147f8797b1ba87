"""What a job is called on the dashboard."""

from __future__ import annotations

import pytest

from meta.protocol.jobs import Job
from tui.usage import title


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (Job("freeze", {"standing": "1"}), "freeze, by itself"),
        (Job("scrub-chunks", {"deep": "1", "standing": "1"}), "scrub-chunks deep, by itself"),
        (Job("rebuild-volume", {"volume": "/mnt/1", "dry": "1"}), "rebuild-volume dry volume=/mnt/1"),
    ],
)
def test_a_job_is_named_by_its_kind_and_what_it_was_given(job: Job, words: str) -> None:
    assert title(job) == words
