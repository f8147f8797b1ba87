"""Moving chunks of what could not be placed as was wished, now that it can."""

from __future__ import annotations

from collections.abc import AsyncIterator

from meta.protocol.holding import Holding
from store.jobs.mover import Mover
from store.layout import Layout
from store.placement import misplaced
from store.repair import Need


class Improve(Mover):
    """Looks at every metachunk whose placement was noted as worse than wished; on one host there are none."""

    passed_over = "kept"

    async def needs(self, bucket: str, holder: Holding) -> AsyncIterator[Need]:
        fleet = self._context.fleet
        if fleet.topology is None:
            return
        layout, members = Layout.parse(holder.layout), fleet.topology.members
        for index, metachunk in enumerate(layout.metachunks):
            if not metachunk.quality:
                continue
            self._tally.counts["found"] += 1
            volumes = {chunk.position: layout.volumes[chunk.volume] for chunk in metachunk.chunks}
            places = {position: members[volume] for position, volume in volumes.items() if volume in members}
            pool = fleet.topology.pool_of(self._context.draws(holder.row, layout.policies[metachunk.policy].name))
            usable = {each.volume for each in await fleet.candidates()} - set(volumes.values())
            for position, avoid in misplaced(places, members.values(), pool):
                if usable - avoid:
                    yield Need(bucket, holder, index, frozenset({position}), "", avoid, keep=True)
