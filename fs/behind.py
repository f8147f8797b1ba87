"""What need not be waited for: saves of small files that were closed, and removals. In order, bounded, and soon.

What comes within a moment goes together, unless somebody waits for it: saves run side by side, so that many share a sync of chunks, a
message and a transaction; removals of a bucket are one request. A removal that waits
hides its object from this mount; whatever needs the object gone settles first. Only the object that was seen is removed: what another
client puts in its place meanwhile stays. Whoever fills a queue waits for room in it.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Protocol

import trio

from fs.connection import Connection
from fs.inode import Inode
from fs.patience import may_help
from meta.protocol.object import DELETE_MANY_MAX
from node.errors import FrazilError
from node.log import get_logger
from store.together import TOGETHER_MAX

SAVES_AT_ONCE = 64
"""Of those that don't go together."""
BATCHES_AT_ONCE = 2
"""Of up to TOGETHER_MAX saves: one writes chunks while the other waits for the store's process."""
SAVES_WAITING_MAX = 512
REMOVALS_MAX = 10_000
GATHER_S = 0.05
"""For which what waits is joined by what comes next."""
AGAIN_S = 1.0
"""Between two tries while the store is away."""
log = get_logger("fs.behind")
Place = tuple[str, str]
"""Bucket and key."""
Owe = Callable[[bool], None]
"""Whether anything waits."""


class Files(Protocol):
    """What is done with open files."""

    async def save_together(self, inodes: Sequence[Inode]) -> None:
        """Makes those durable for which that costs less so."""

    async def save_late(self, inode: Inode) -> None:
        """Makes one durable. Raises: what the store raises."""

    def is_saved(self, inode: Inode) -> bool: ...

    async def release(self, inode: Inode) -> None:
        """Lets go of it."""


class Behind:
    """Of one mount.

    owe             told before something waits, and when nothing does any more
    trouble         why the store did not take the last that it was given: what waits is tried again, and nobody should add to it
    """

    def __init__(self, connection: Connection, files: Files, owe: Owe) -> None:
        self.removing: dict[Place, str] = {}
        self.failures = 0
        self._connection, self._files, self._owe = connection, files, owe
        self.trouble: FrazilError | None = None
        self._saves, self._to_save = trio.open_memory_channel[tuple[int, Inode]](SAVES_WAITING_MAX)
        self._waiting: dict[int, Inode] = {}
        self._untold: str = ""
        self._last = 0
        self._saved = trio.Event()
        self._bell = trio.Event()
        self._settled = trio.Event()
        self._due = trio.Event()
        self._batches, self._slots = trio.Semaphore(BATCHES_AT_ONCE), trio.Semaphore(SAVES_AT_ONCE)
        self._waited_for = 0

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
        self._owe(True)
        self._waiting[number] = inode
        try:
            try:
                self._saves.send_nowait((number, inode))
            except trio.WouldBlock:
                await self._saves.send((number, inode))
            if self._to_save.statistics().current_buffer_used >= SAVES_AT_ONCE // 2:
                self._due.set()
        except BaseException:
            self._done([number])
            raise

    async def remove_later(self, bucket: str, key: str, content: str) -> None:
        if len(self.removing) >= REMOVALS_MAX:
            await self.settle()
        self._owe(True)
        self.removing[bucket, key] = content
        self._bell.set()

    async def settle(self) -> None:
        """Waits until what was to be removed by now is gone. Raises: OSError (EIO) when the store doesn't take it: it is tried again."""
        wanted = dict(self.removing)
        with self._hurried():
            while wanted:
                self._bell.set()
                await self._settled.wait()
                self._check_trouble()
                wanted = {place: content for place, content in wanted.items() if self.removing.get(place) == content}

    async def drain(self) -> None:
        """Waits until everything that waits by now is stored. Raises: as settle."""
        wanted = set(self._waiting)
        with self._hurried():
            while not wanted.isdisjoint(self._waiting):
                await self._saved.wait()
                self._check_trouble()
        await self.settle()

    async def pay(self, bucket: str, key: str) -> None:
        """The same, if anything of that key waits; "" means all."""
        place = bucket, key
        if not key or place in self.removing or any(inode.place == place for inode in self._waiting.values()):
            with suppress(OSError):  # the store is away: then it is not seen yet
                await self.drain()

    def check(self) -> None:
        """Tells once that something failed since the last time. Raises: OSError (EIO)."""
        untold, self._untold = self._untold, ""
        if untold:
            raise OSError(errno.EIO, f"what was closed or removed before could not be stored, {untold}")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """For ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run_saves, nursery)
            nursery.start_soon(self._run_removals)
            task_status.started()

    @contextmanager
    def _hurried(self) -> Iterator[None]:
        """While somebody waits, nothing is waited for that may come next."""
        self._waited_for += 1
        self._go()
        try:
            yield
        finally:
            self._waited_for -= 1

    async def _gather(self) -> None:
        """Until what came by now is to be done."""
        if self._waited_for:
            return
        with trio.move_on_after(GATHER_S):
            await self._due.wait()
        self._go()

    def _go(self) -> None:
        self._due, due = trio.Event(), self._due
        due.set()

    async def _run_saves(self, nursery: trio.Nursery) -> None:
        while True:
            batch = [await self._to_save.receive()]
            await self._gather()
            await self._batches.acquire()
            with suppress(trio.WouldBlock):
                while len(batch) < TOGETHER_MAX:
                    batch.append(self._to_save.receive_nowait())
            nursery.start_soon(self._save_batch, nursery, batch)

    async def _save_batch(self, nursery: trio.Nursery, batch: Sequence[tuple[int, Inode]]) -> None:
        try:
            await self._files.save_together([inode for _, inode in batch])
        except Exception:  # a bug, as below: each is tried by itself
            log.exception("storing what was closed stopped by an internal error")
        finally:
            self._batches.release()
        saved = [(number, inode) for number, inode in batch if self._files.is_saved(inode)]
        for _, inode in saved:
            await self._files.release(inode)
        if saved:
            self.trouble = None
            self._done([number for number, _ in saved])
        for number, inode in batch:
            if number in self._waiting:
                await self._slots.acquire()
                nursery.start_soon(self._run_save, number, inode)

    async def _run_save(self, number: int, inode: Inode) -> None:
        try:
            while not await self._try(inode):  # noqa: ASYNC110 - the store's doing
                await trio.sleep(AGAIN_S)
        finally:
            self._slots.release()
            await self._files.release(inode)
            self._done([number])

    async def _try(self, inode: Inode) -> bool:
        """False when it is to be tried again."""
        try:
            await self._files.save_late(inode)
        except (FrazilError, OSError) as error:
            if self._is_trouble(error):
                return False
            self._failed(f"{'/'.join(inode.place)}: {error}", 1)
            log.error("%s could not be stored after it was closed: %s", "/".join(inode.place), error)
        except Exception as error:  # a bug: the mount must go on, as after one in a handler
            self._failed(f"{'/'.join(inode.place)}: {error!r}", 1)
            log.exception("storing %s after it was closed stopped by an internal error", "/".join(inode.place))
        else:
            self.trouble = None
        return True

    def _is_trouble(self, error: FrazilError | OSError) -> bool:
        """Whether trying again can help; who waits is told that this is so."""
        if not isinstance(error, FrazilError) or not may_help(error):
            return False
        self.trouble = error
        self._tell()
        return True

    def _check_trouble(self) -> None:
        if self.trouble is not None:
            raise OSError(errno.EIO, f"what was closed or removed before is not stored yet: {self.trouble}")

    def _tell(self) -> None:
        """Who waits for something looks again."""
        self._saved, saved = trio.Event(), self._saved
        self._settled, settled = trio.Event(), self._settled
        saved.set()
        settled.set()

    def _failed(self, what: str, count: int) -> None:
        self.failures += count
        self._untold = self._untold or what

    def _done(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self._waiting.pop(number, None)
        if not self.pending:
            self._owe(False)
        self._tell()

    async def _run_removals(self) -> None:
        while True:
            await self._bell.wait()
            await self._gather()
            self._bell = trio.Event()
            while self.removing:
                bucket = next(iter(self.removing))[0]
                wanted = dict(islice((each for each in self.removing.items() if each[0][0] == bucket), DELETE_MANY_MAX))
                while not await self._remove(bucket, wanted):  # noqa: ASYNC110 - as above
                    await trio.sleep(AGAIN_S)
                if not self.pending:
                    self._owe(False)
                self._tell()

    async def _remove(self, bucket: str, wanted: dict[Place, str]) -> bool:
        """False when it is to be tried again."""
        try:
            refused = await self._connection.remove_many(bucket, {key: content for (_, key), content in wanted.items()})
        except (FrazilError, OSError) as error:
            if self._is_trouble(error):
                return False
            refused = {key: str(error) for _, key in wanted}
        except Exception as error:  # a bug, as above
            refused = {key: repr(error) for _, key in wanted}
            log.exception("removing from %s stopped by an internal error", bucket)
        for place, content in wanted.items():
            if self.removing[place] == content:  # else what came in its place is to go by now, too
                del self.removing[place]
        if refused:
            self._failed(f"{bucket}/{next(iter(refused))}: {next(iter(refused.values()))}", len(refused))
        for key, reason in list(refused.items())[:10]:
            log.error("%s/%s could not be removed: %s", bucket, key, reason)
        self.trouble = None
        return True
