"""Repairs what reads and scrubs of this process have met: the background half of "a bad unit is reported for repair"."""

from __future__ import annotations

from collections import Counter

import trio

from node.errors import FrazilError, NotFound
from node.log import get_logger
from store.context import Context
from store.fleet import OF_A_PART, ChunkFinding
from store.repair import current
from store.scrub import UNREPAIRABLE, Scrub
from store.tally import Tally
from store.worker import State

DELAY_S = 5.0
"""What is found gathers for a moment: many units of one chunk are one repair, and a volume that flickered is back."""
AT_ONCE_MAX = 100
TRIES_MAX = 20
"""Of one repair, a delay apart; then it waits for the scrub."""
log = get_logger("store.repairer")


class Repairer:
    name = "repair"

    def __init__(self, context: Context) -> None:
        self._context = context
        self.tally = Tally()
        self._tries: Counter[ChunkFinding] = Counter()

    def status(self) -> str:
        return f"{len(self._context.fleet.findings)} findings wait; {'; '.join(self.tally.sentences()) or 'nothing was damaged'}"

    async def work(self) -> State:
        findings = self._context.fleet.findings
        batch = [findings.popleft() for _ in range(min(len(findings), AT_ONCE_MAX))]
        wanted = {(each.bucket, each.key, each.version, each.metachunk): each for each in batch if _is_repairable(each)}
        left = [finding for finding in wanted.values() if not await self._try(finding)]
        findings.extend(left)
        if not findings:
            self._tries.clear()
        self.tally.damages.clear()
        return State.BUSY if findings and not left else State.IDLE

    async def _try(self, finding: ChunkFinding) -> bool:
        """Whether that's done with: a failure is tried again, but not for ever."""
        try:
            await self._repair(finding)
        except FrazilError as error:
            self._tries[finding] += 1
            if self._tries[finding] < TRIES_MAX:
                return False
            told = {"bucket": finding.bucket, "chunk": finding.chunk, "error": str(error)}
            log.warning("a repair failed again and again: it is left to the scrub", extra=told)
        self._tries.pop(finding, None)
        return True

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


def _is_repairable(finding: ChunkFinding) -> bool:
    return bool(finding.bucket) and finding.version != OF_A_PART and finding.problem not in UNREPAIRABLE
