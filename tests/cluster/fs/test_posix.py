"""Every conformance case on the mount; the list of deviations is true in both directions."""

from __future__ import annotations

import pytest

from tests.cluster.fs.conftest import Place
from tests.posix.case import Case
from tests.posix.table import CASES, attempt

DEVIATIONS: dict[str, str] = {}
"""Cases in which the mount differs, each with its reason; fs/README.md tells them."""


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_is_as_posix_says_or_on_the_list(place: Place, case: Case) -> None:
    problem = attempt(case, place.top)
    if place.mount is None or str(case) not in DEVIATIONS:
        assert not problem, problem
    else:
        assert problem, f"{case} is right by now: take it off the list"
