"""Random operations on one file, with maps, beside the bytes it must have."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.fs.conftest import Place
from tests.support.fsx import Fsx

OPERATIONS = 100
"""For each of FRAZIL_TEST_ROUNDS; a million are 10,000 rounds."""


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("size_max", [40_000, 300_000, 4 << 20])
def test_a_file_is_what_was_written_to_it(place: Place, ground: Path, seed: str, rounds: int, size_max: int) -> None:
    with Fsx(ground / "f", seed, size_max) as fsx:
        fsx.run(OPERATIONS * rounds)
        written = bytes(fsx.bytes)
    relative = (ground / "f").relative_to(place.top)
    if place.store is not None:
        with place.store.client() as client:
            assert client.get(place.bucket, str(relative)).body == written
    place.remount()
    assert (ground / "f").read_bytes() == written
