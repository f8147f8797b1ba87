"""A disk that fails now and then is trusted less for a while."""

from __future__ import annotations

from collections import Counter

from meta.conscience.score import DEFAULTS, scores
from rawx.health import FORGIVEN_S, Trust


def test_errors_cost_trust_that_comes_back_by_halves() -> None:
    trust, errors = Trust(), Counter[str]()
    assert trust.sample(errors, 1.0) == 100.0
    errors["Busy"] += 50
    assert trust.sample(errors, 2.0) == 100.0
    errors["ChunkCorrupt"] += 8
    errors["VolumeSick"] += 1
    assert trust.sample(errors, 2.0) == 10.0
    assert trust.sample(errors, 2.0) == 10.0, "each error counts once"
    assert 18.0 < trust.sample(errors, 2.0 + FORGIVEN_S) < 19.0
    assert trust.sample(errors, 2.0 + 20 * FORGIVEN_S) > 99.9


def test_what_is_little_trusted_has_low_scores_but_is_not_avoided() -> None:
    idle = {"cpu": 100.0, "io": 100.0, "space": 100.0}
    well, hurt = (scores(DEFAULTS["rawx"], {**idle, **more}, None) for more in ({}, {"trust": 10.0}))
    assert (well.place, well.read) == (100, 100)
    assert (hurt.place, hurt.read) == (10, 10)
    assert scores(DEFAULTS["rawx"], {**idle, "trust": 0.1}, None).place == 1
