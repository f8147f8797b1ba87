"""Every kind of long work there is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from node.errors import InvalidArgument, VolumeNotFound
from store.context import Context
from store.fleet import Fleet
from store.jobs.improve import Improve
from store.jobs.rebalance import Rebalance
from store.jobs.recoder import ChangePolicy
from store.jobs.scrub import ScrubChunks, ScrubMetadata
from store.jobs.task import Task, volumes_of
from store.jobs.volume import Decommission, RebuildVolume
from store.policy import POLICIES
from store.tally import Tally

VOLUME_ID = re.compile("[0-9a-f]{16}")
MakeTask = Callable[[Context, Tally, dict[str, str]], Task]
KINDS: dict[str, MakeTask] = {
    "scrub-meta": ScrubMetadata,
    "scrub-chunks": ScrubChunks,
    "rebuild-volume": RebuildVolume,
    "decommission": Decommission,
    "rebalance": Rebalance,
    "improve": Improve,
    "change-policy": ChangePolicy,
}


def check(kind: str, arguments: dict[str, str], fleet: Fleet, kinds: Mapping[str, MakeTask] = KINDS) -> None:
    """Raises: InvalidArgument for a job that can't be; VolumeNotFound."""
    if kind not in kinds:
        raise InvalidArgument(f"there is no work {kind!r}; there is {', '.join(kinds)}")
    volumes = volumes_of(arguments)
    if kind in ("rebuild-volume", "decommission") and not volumes:
        raise InvalidArgument(f"{kind} needs a volume")
    forgotten = kind == "rebuild-volume" and fleet.topology is not None  # layouts name it although no host does any more
    for volume in volumes:
        if volume not in fleet.volumes and not (forgotten and VOLUME_ID.fullmatch(volume)):
            raise VolumeNotFound(f"there is no volume {volume}; there are {', '.join(sorted(fleet.volumes))}")
    if kind == "change-policy":
        if not arguments.get("bucket"):
            raise InvalidArgument("change-policy needs a bucket")
        policy = arguments.get("policy")
        if policy:
            check_policy(policy, len(fleet.volumes))


def check_policy(name: str, volumes: int) -> None:
    """Raises: InvalidArgument when so many volumes can't keep the policy, or there is none of that name."""
    policy = POLICIES.get(name)
    if policy is None:
        raise InvalidArgument(f"there is no storage policy {name!r}; there are {', '.join(POLICIES)}")
    if policy.chunks > volumes:
        raise InvalidArgument(f"policy {name} needs {policy.chunks} volumes, the store has {volumes}")
