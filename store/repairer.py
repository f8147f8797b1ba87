"""Repairs what reads and scrubs of this process have met: the background half of "a bad unit is reported for repair"."""

from __future__ import annotations

import trio

from node.errors import NotFound
from store.context import Context
from store.fleet import ChunkFinding
from store.repair import current
from store.scrub import UNREPAIRABLE, Scrub, Tally
from store.worker import State

DELAY_S = 5.0
"""What is found gathers for a moment: many units of one chunk are one repair, and a volume that flickered is back."""
AT_ONCE_MAX = 100


class Repairer:
    name = "repair"

    def __init__(self, context: Context) -> None:
        self._context = context
        self.tally = Tally()

    def status(self) -> str:
        return f"{len(self._context.fleet.findings)} findings wait; {'; '.join(self.tally.sentences()) or 'nothing was damaged'}"

    async def work(self) -> State:
        findings = self._context.fleet.findings
        batch = [findings.popleft() for _ in range(min(len(findings), AT_ONCE_MAX))]
        wanted = {(each.bucket, each.key, each.version, each.metachunk): each for each in batch if each.problem not in UNREPAIRABLE}
        for finding in wanted.values():
            if finding.bucket:
                await self._repair(finding)
        self.tally.damages.clear()
        return State.BUSY if findings else State.IDLE

    async def _repair(self, finding: ChunkFinding) -> None:
        """The metachunk as it is now: what is well again, gone or moved needs nothing. Raises: FrazilError."""
        container = self._context.container(finding.bucket)
        try:
            row = await container.get(finding.key, finding.version)
            holder = await current(self._context, finding.bucket, row)
        except NotFound:
            return
        await Scrub(self._context, self.tally, deep=True).check(finding.bucket, [holder], only=finding.metachunk)

    async def wait(self) -> None:
        await trio.sleep(DELAY_S)
