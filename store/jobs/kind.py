"""Every kind of long work there is."""

from __future__ import annotations

from collections.abc import Callable

from node.errors import InvalidArgument
from store.context import Context
from store.fleet import Fleet
from store.jobs.rebalance import Rebalance
from store.jobs.scrub import ScrubChunks, ScrubMetadata
from store.jobs.task import Task
from store.jobs.volume import Decommission, RebuildVolume
from store.scrub import Tally

KINDS: dict[str, Callable[[Context, Tally, dict[str, str]], Task]] = {
    "scrub-meta": ScrubMetadata,
    "scrub-chunks": ScrubChunks,
    "rebuild-volume": RebuildVolume,
    "decommission": Decommission,
    "rebalance": Rebalance,
}


def check(kind: str, arguments: dict[str, str], fleet: Fleet) -> None:
    """Raises: InvalidArgument for a job that can't be."""
    if kind not in KINDS:
        raise InvalidArgument(f"there is no work {kind!r}; there is {', '.join(KINDS)}")
    volume = arguments.get("volume")
    if kind in ("rebuild-volume", "decommission") and not volume:
        raise InvalidArgument(f"{kind} needs a volume")
    if volume and volume not in fleet.volumes:
        raise InvalidArgument(f"there is no volume {volume}; there are {', '.join(sorted(fleet.volumes))}")
