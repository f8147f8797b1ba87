"""Every kind of long work there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from node.errors import InvalidArgument
from store.context import Context
from store.fleet import Fleet
from store.jobs.rebalance import Rebalance
from store.jobs.scrub import ScrubChunks, ScrubMetadata
from store.jobs.task import Task
from store.jobs.volume import Decommission, RebuildVolume
from store.scrub import Tally

MakeTask = Callable[[Context, Tally, dict[str, str]], Task]
KINDS: dict[str, MakeTask] = {
    "scrub-meta": ScrubMetadata,
    "scrub-chunks": ScrubChunks,
    "rebuild-volume": RebuildVolume,
    "decommission": Decommission,
    "rebalance": Rebalance,
}


def check(kind: str, arguments: dict[str, str], fleet: Fleet, kinds: Mapping[str, MakeTask] = KINDS) -> None:
    """Raises: InvalidArgument for a job that can't be."""
    if kind not in kinds:
        raise InvalidArgument(f"there is no work {kind!r}; there is {', '.join(kinds)}")
    volume = arguments.get("volume")
    if kind in ("rebuild-volume", "decommission") and not volume:
        raise InvalidArgument(f"{kind} needs a volume")
    if volume and volume not in fleet.volumes:
        raise InvalidArgument(f"there is no volume {volume}; there are {', '.join(sorted(fleet.volumes))}")
