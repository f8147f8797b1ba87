"""What works in the background: one unit at a time, driven until the process ends."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from node.errors import FrazilError
from node.log import get_logger

log = get_logger("store.workers")


class State(Enum):
    """What `Worker.work` answers: more to do now; nothing now; nothing ever again."""

    BUSY = "busy"
    IDLE = "idle"
    DONE = "done"


class Worker(Protocol):
    name: str

    def status(self) -> str:
        """One line for people."""

    async def work(self) -> State:
        """One unit. Raises: FrazilError when the world is in the way; it is tried again later."""

    async def wait(self) -> None:
        """Until there may be something to do."""


async def drive(worker: Worker) -> None:
    """Runs a worker for ever, until it is done."""
    while True:
        state = State.IDLE
        try:
            state = await worker.work()
        except FrazilError as error:
            log.warning("a background job could not go on now", extra={"worker": worker.name, "error": str(error)})
        if state is State.DONE:
            return
        if state is State.IDLE:
            await worker.wait()
