"""What need not be waited for: saves of small files that were closed, and removals. In order, bounded, and soon.

Saves run side by side, so that the store commits many in one transaction; removals of a bucket go together. A removal that waits
hides its object from this mount; whatever needs the object gone settles first. Only the object that was seen is removed: what another
client puts in its place meanwhile stays. Whoever fills a queue waits for room in it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import islice

import trio

from fs.connection import Connection
from fs.inode import Inode
from meta.protocol.object import DELETE_MANY_MAX
from node.errors import FrazilError
from node.log import get_logger

SAVES_AT_ONCE = 16
SAVES_WAITING_MAX = 256
REMOVALS_MAX = 10_000
log = get_logger("fs.behind")
Place = tuple[str, str]
"""Bucket and key."""


class Behind:
    """Of one mount. save: makes an open file durable and lets go of it."""

    def __init__(self, connection: Connection, save: Callable[[Inode], Awaitable[None]]) -> None:
        self.removing: dict[Place, str] = {}
        self.failures = 0
        self._connection, self._save = connection, save
        self._saves, self._to_save = trio.open_memory_channel[tuple[int, Inode]](SAVES_WAITING_MAX)
        self._waiting: set[int] = set()  # numbers of saves
        self._last = 0
        self._saved = trio.Event()
        self._bell = trio.Event()
        self._settled = trio.Event()

    def __repr__(self) -> str:
        return f"<Behind saves={len(self._waiting)} removals={len(self.removing)} failures={self.failures}>"

    @property
    def pending(self) -> int:
        return len(self._waiting) + len(self.removing)

    def hides(self, bucket: str, key: str, content: str) -> bool:
        """Whether the object with that content is on its way out."""
        return bool(self.removing) and self.removing.get((bucket, key)) == content

    async def save_later(self, inode: Inode) -> None:
        """The inode is held open until it is saved."""
        self._last = number = self._last + 1
        self._waiting.add(number)
        try:
            await self._saves.send((number, inode))
        except BaseException:
            self._done(number)
            raise

    async def remove_later(self, bucket: str, key: str, content: str) -> None:
        if len(self.removing) >= REMOVALS_MAX:
            await self.settle()
        self.removing[bucket, key] = content
        self._bell.set()

    async def settle(self) -> None:
        """Waits until what was to be removed by now is gone."""
        wanted = dict(self.removing)
        while wanted:
            self._bell.set()
            await self._settled.wait()
            wanted = {place: content for place, content in wanted.items() if self.removing.get(place) == content}

    async def drain(self) -> None:
        """Waits until everything that waits by now is stored."""
        wanted = set(self._waiting)
        while wanted & self._waiting:
            await self._saved.wait()
        await self.settle()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """For ever."""
        async with trio.open_nursery() as nursery:
            for _ in range(SAVES_AT_ONCE):
                nursery.start_soon(self._run_saves)
            nursery.start_soon(self._run_removals)
            task_status.started()

    async def _run_saves(self) -> None:
        async for number, inode in self._to_save:
            try:
                await self._save(inode)
            except (FrazilError, OSError) as error:
                self.failures += 1
                log.error("%s could not be stored after it was closed: %s", "/".join(inode.place), error)
            finally:
                self._done(number)

    def _done(self, number: int) -> None:
        self._waiting.discard(number)
        saved, self._saved = self._saved, trio.Event()
        saved.set()

    async def _run_removals(self) -> None:
        while True:
            await self._bell.wait()
            self._bell = trio.Event()
            while self.removing:
                bucket = next(iter(self.removing))[0]
                wanted = dict(islice((each for each in self.removing.items() if each[0][0] == bucket), DELETE_MANY_MAX))
                await self._remove(bucket, wanted)
                settled, self._settled = self._settled, trio.Event()
                settled.set()

    async def _remove(self, bucket: str, wanted: dict[Place, str]) -> None:
        try:
            refused = await self._connection.remove_many(bucket, {key: content for (_, key), content in wanted.items()})
        except (FrazilError, OSError) as error:
            refused = {key: str(error) for _, key in wanted}
        for place, content in wanted.items():
            if self.removing[place] == content:  # else what came in its place is to go by now, too
                del self.removing[place]
        self.failures += len(refused)
        for key, reason in list(refused.items())[:10]:
            log.error("%s/%s could not be removed: %s", bucket, key, reason)
