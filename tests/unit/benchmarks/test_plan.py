"""Names of the figures."""

from __future__ import annotations

from benchmarks import cluster, fs, plan
from benchmarks.figure import TARGETS


def test_every_target_has_a_figure_and_no_name_is_twice() -> None:
    names = [
        one.name
        for layout, suffix in (("x1", ""), ("6+3", "-6+3"))
        for one in (*plan.objects(layout), *plan.memory(suffix), plan.rest(suffix))
    ]
    names += [one.name for one in (*plan.requests(), *plan.degraded("6+3"))]
    names += [f"mount-{kind}" for kind in fs.FIGURES]
    names += cluster.FIGURES
    assert set(TARGETS) <= set(names)
    assert len(names) == len(set(names))
    assert {"get-4k-16-x1", "put-64m-4-6+3", "get-64m-1-6+3-degraded", "list-1000", "rss-loaded"} <= set(names)
