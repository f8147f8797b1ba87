"""A short run of hostile requests of all kinds; `make fuzz` is the long one."""

from __future__ import annotations

import os
from pathlib import Path

from tests.cluster.conftest import StoreMaker
from tests.fuzz.campaign import Campaign

CASES = 600
SILENT_MAX = 0.01


def test_hostile_requests_of_all_kinds_do_no_harm(make_store: StoreMaker, seed: str, scale: float, scratch: Path) -> None:
    """In CI always the same ones."""
    store = make_store(volumes=3)
    campaign = Campaign(store, "ci" if os.environ.get("CI") == "true" else seed)
    campaign.prepare()
    tally = campaign.run(cases=int(CASES * scale))
    assert tally.statuses[200] > tally.cases * 0.05, "too few requests got as far as a handler"
    # A head that never ends gets no answer, and one sent before all of the body was read may be lost with the connection.
    assert tally.silent.total() <= tally.cases * SILENT_MAX
