"""Every conformance case on the mount; the list of deviations is true in both directions."""

from __future__ import annotations

import pytest

from tests.cluster.fs.conftest import Place
from tests.posix.case import Case
from tests.posix.table import CASES, attempt

ONE_NAME = "an object has one key, and a file one name"
DEVIATIONS: dict[str, str] = {
    "link: two names are one file": ONE_NAME,
    "link: a name less leaves the other": ONE_NAME,
    "link: what is written through one open name is read through the other": ONE_NAME,
    "link: a link is linked itself": ONE_NAME,
}
"""Cases in which the mount differs, each with its reason; fs/README.md tells them."""


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_is_as_posix_says_or_on_the_list(place: Place, case: Case) -> None:
    problem = attempt(case, place.top)
    if place.mount is None or str(case) not in DEVIATIONS:
        assert not problem, problem
    else:
        assert problem, f"{case} is right by now: take it off the list"
