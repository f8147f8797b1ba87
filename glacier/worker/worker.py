"""A worker: one bus of a board, from its ledger's opening to its end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from glacier.protocol import BusReport
from glacier.worker.core import Core, Options
from glacier.worker.engine import Dial, Engine
from glacier.worker.ledger import Ledger
from glacier.worker.protocol import ColdDoor
from node.clock import Clock, SystemClock
from node.errors import ConfigError, FrazilError
from node.log import get_logger
from rawx.volume import Volume

log = get_logger("glacier.worker")


@asynccontextmanager
async def open_worker(
    path: Path, volumes: Mapping[str, Volume], dial: Dial, options: Options | None = None, *, clock: Clock | None = None
) -> AsyncIterator[Worker]:
    """path: of the ledger. volumes: by id, whose chunks it looks after; whoever gives them keeps them open.

    The first time it waits for the freezer, to learn what there is. Raises: ConfigError when the ledger is another bus's.
    """
    ledger = Ledger(path)
    try:
        options = options or Options()
        known = await ledger.bus()
        if known is None:
            known = await _ask(dial, options.retry_s)
            await ledger.set_bus(known)
        core = Core(ledger, volumes, known, options, clock or SystemClock())
        yield Worker(core, dial)
    finally:
        with trio.CancelScope(shield=True):
            await ledger.aclose()


async def _ask(dial: Dial, retry_s: float) -> BusReport:
    while True:
        try:
            async with dial() as freezer:
                return freezer.bus
        except ConfigError:
            raise
        except FrazilError as error:
            log.warning("waiting for the freezer, to learn what disks there are", extra={"error": str(error)})
        await trio.sleep(retry_s)


class Worker:
    """door: what it is asked through."""

    def __init__(self, core: Core, dial: Dial) -> None:
        self._engine = Engine(core, dial)
        self.core = core
        self.door: ColdDoor = self._engine.desk

    def __repr__(self) -> str:
        return f"<Worker {self._engine!r}>"

    @property
    def connected(self) -> bool:
        """Whether its freezer answers."""
        return self._engine.connected

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """For ever."""
        await self._engine.run(task_status=task_status)
