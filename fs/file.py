"""An open file: the version that is stored, what was written over it since, and how that becomes the next version.

Theory of operation. All handles of an inode share one File. Written bytes lie in its spool; `_written` says which. Of the stored
version the first `_kept` bytes count (a truncation lowers that); what is neither written nor kept is zeros. `save` makes the file's
state durable and visible as one object, and what was written is the stored version then. While it saves, writes wait: the object is the
file at one moment. Nothing is kept of a file whose name is gone. Where the spool is full and the file was written from its start on, its
begin is staged (fs/stage.py), and counts as the stored version to everything here. What is written in order from the file's start on goes
to the store meanwhile (fs/along.py), which nothing here depends upon.
"""

from __future__ import annotations

import errno
import os
import stat as modes
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import lru_cache, partial
from itertools import zip_longest
from mimetypes import guess_type
from os.path import splitext

import msgspec
import trio
from msgspec.structs import replace

from fs.along import ALONG_MAX, BEGIN_BYTES, Along
from fs.attribute import Stat, with_stat
from fs.connection import ABSENT
from fs.extent import Extents
from fs.gate import Latch
from fs.inode import Inode
from fs.readahead import ReadAhead
from fs.shared import Shared
from fs.source import FileSource
from fs.spool import FILE_BYTES_MAX, Note, Spool
from fs.stage import Stage, Uploads, part_bytes
from meta.protocol.object import Attributes, ObjectRow
from node.errors import Conflict, FrazilError, Locked, NotFound, QuotaExceeded
from node.log import get_logger
from store.overlay import Patch
from store.together import TOGETHER_BYTES_MAX, Small

GROW_BYTES_MAX = 256 << 30
"""By which a file grows at once without being written: its zeros take no disk, but are hashed and checked as all bytes are."""
WHOLE_BYTES_MAX = 1 << 20
"""Files up to here are stored whole: that costs hardly more."""
PATCHES_MAX = 500
"""Of one save; where more ranges were written, those between them are written again as well."""
TYPE_DEFAULT = "application/octet-stream"
SUFFIXES_MAX = 512
"""Whose types are remembered: to find one takes as long as to hash 4 KiB."""
log = get_logger("fs.file")


class File:
    """The state that all handles of one inode share. row: None while nothing is stored of it."""

    def __init__(self, shared: Shared, inode: Inode, row: ObjectRow | None, stat: Stat) -> None:
        self.row = row
        self.stat = stat
        self.attributes = row.attributes if row is not None else Attributes()
        self.lock = Latch()
        self._shared, self._inode = shared, inode
        self._stack: AsyncExitStack | None = None  # what reading the stored version holds
        self._ahead: ReadAhead | None = None
        self._opening = Latch()
        self._spool = Spool(shared.spools)
        self._written = Extents()
        self._kept = row.size if row is not None else 0
        self._restated = False
        self._swaps = 0
        self._stage: Stage | None = None
        self._along: Along | None = None
        self._may_go_along = True

    def __repr__(self) -> str:
        return f"<File {self._inode!r} size={self.stat.size} written={len(self._written)}>"

    @property
    def rewritten(self) -> bool:
        """Whether its bytes are others than the stored version's."""
        if self.row is None or self._stage is not None:
            return True
        return len(self._written) > 0 or self._kept != self.row.size or self.stat.size != self.row.size

    @property
    def unsaved(self) -> bool:
        return self.rewritten or self._restated

    # Reading

    async def read(self, start: int, size: int) -> memoryview:
        """Up to `size` bytes; fewer only at the end. Raises: ContentLost, ContentAway, SealBroken, Busy, OSError."""
        swaps = self._swaps
        try:
            found = await self._read(start, size)
        except Exception:
            if swaps == self._swaps:
                raise
        else:
            if swaps == self._swaps:
                return found
        async with self.lock:  # it was saved or cut under the read: what that began on is not there any more
            return await self._read(start, size)

    async def _read(self, start: int, size: int) -> memoryview:
        stop = min(start + size, self.stat.size)
        if start >= stop:
            return memoryview(b"")
        if not self._written and stop <= self._kept:
            return await self._read_stored(start, stop)
        into = memoryview(bytearray(stop - start))
        await self.fill(start, into)
        return into

    async def fill(self, start: int, into: memoryview) -> None:
        """The file's bytes from `start` on, as it is now. Raises: as read."""
        stop = start + len(into)
        zeros, written = list(self._written.gaps(max(start, self._kept), stop)), list(self._written.within(start, stop))
        stored = list(self._written.gaps(start, min(stop, self._kept)))
        for begin, end in zeros:
            into[begin - start : end - start] = bytes(end - begin)
        for begin, end in written:
            await self._spool.read(begin, into[begin - start : end - start])
        for begin, end in stored:
            into[begin - start : end - start] = await self._read_stored(begin, end)

    async def hold(self) -> None:
        """Keeps the stored bytes readable though the object go, if they can be read. Raises: ContentLost, ContentAway, Busy."""
        if self.row is not None and self._kept and self._stage is None and self._shared.cold.is_readable(self.row):
            await self._open()
            await self._window.hold()

    async def thaw(self) -> None:
        """Waits until what a save will read can be read, if it is cold. Raises: OSError."""
        if (
            self.row is not None
            and self._stage is None
            and self.rewritten
            and not self._shared.cold.is_readable(self.row)
            and any(self._written.gaps(0, self._kept))
        ):
            await self._open()

    async def _read_stored(self, start: int, stop: int) -> memoryview:
        ahead = self._ahead or await self._open()
        return await ahead.read(start, stop)

    async def _open(self) -> ReadAhead:
        async with self._opening:
            if self._ahead is None and self._stage is not None:
                self._ahead = ReadAhead(self._stage.read, self._stage.stop, self._shared.budget, self._shared.nursery)
            elif self._ahead is None:
                assert self.row is not None
                bucket = self._inode.place[0]
                self.row = await self._shared.cold.readable(bucket, self.row)
                self._stack = self._stack or AsyncExitStack()
                self._window = await self._stack.enter_async_context(await self._shared.connection.window(bucket, self.row))
                self._ahead = ReadAhead(self._window.read, self.row.size, self._shared.budget, self._shared.nursery)
        return self._ahead

    async def _close_stored(self) -> None:
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None
        if self._stack is not None:
            await self._stack.aclose()

    # Writing

    async def write(self, start: int, data: bytes, *, trusted: bool = False) -> int:
        """trusted: by root, who leaves the set-user-id bits as they are. Raises: OSError (EFBIG, ENOSPC, EIO)."""
        stop = start + len(data)
        self._check_size(stop, start)
        async with self.lock:
            try:
                await self._spool.write(start, data, self._note)
            except OSError as error:
                await self._part_from(start)  # some of it may be written
                if error.errno != errno.ENOSPC or not await self._stage_more():
                    raise
                await self._spool.write(start, data, self._note)
            self._written.add(start, stop)
            now = time.time_ns()
            mode = self.stat.mode if trusted else without_privileges(self.stat.mode)
            self.stat = replace(self.stat, size=max(self.stat.size, stop), mtime_ns=now, ctime_ns=now, mode=mode)
            await self._part_from(start)
            self._go_along()
        return len(data)

    async def truncate(self, size: int, *, trusted: bool = False) -> None:
        """Shorter or longer. Raises: OSError (EFBIG)."""
        self._check_size(size, size)
        async with self.lock:
            await self._part_from(size)
            if size < self.stat.size:
                self._swaps += 1
                self._written.remove(size, self.stat.size)
                self._kept = min(self._kept, size)
            self._spool.cut(size)
            now = time.time_ns()
            mode = self.stat.mode if trusted else without_privileges(self.stat.mode)
            self.stat = replace(self.stat, size=size, mtime_ns=now, ctime_ns=now, mode=mode)
            if self._along is not None:
                self._along.written(self._written.reach(0))

    def _check_size(self, stop: int, start: int) -> None:
        """Of a file that gets bytes from `start` on and ends at `stop`. Raises: OSError (EFBIG)."""
        if stop > FILE_BYTES_MAX or start - self.stat.size > GROW_BYTES_MAX:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))

    def _go_along(self) -> None:
        """What is written in order goes to the store meanwhile."""
        stop, shared = self._written.reach(0), self._shared
        if self._along is not None:
            self._along.written(stop)
        elif stop >= BEGIN_BYTES and self._can_go_along() and shared.alongs < ALONG_MAX:
            bucket, key = self._inode.place
            self._along = Along(key, self.fill)
            self._along.written(stop)
            put = partial(shared.connection.put, bucket, key, attributes=self._wanted(self.attributes), describe=self._wanted)
            shared.go_along(self._along, put)

    def _can_go_along(self) -> bool:
        return self._may_go_along and not self._kept and self._stage is None and not self._inode.gone

    async def _part_from(self, start: int) -> None:
        """The bytes from there on change: a put that has taken some of them is none of this file, nor is any of one that is gone."""
        if self._along is not None and (start < self._along.taken or self._inode.gone):
            await self._end_along().aclose()

    def _end_along(self) -> Along:
        along, self._along, self._may_go_along = self._along, None, False
        assert along is not None
        return along

    async def _stage_more(self) -> bool:
        """Makes room in the spool by storing the next part of a file that is written in order; whether it could."""
        uploads, begin = self._shared.uploads, self._stage.stop if self._stage is not None else 0
        if uploads is None or not self._spool.on_disk or self._kept != begin:
            return False
        if self._along is not None:
            await self._end_along().aclose()
        stop = begin + (self._stage.next_bytes if self._stage is not None else part_bytes(1))
        if next(self._written.within(begin, stop), None) != (begin, stop):
            return False
        stage = self._stage or await self._new_stage(uploads)
        await stage.add(partial(FileSource, self.fill, begin, stop))
        await self._adopt(stage)
        self._written.remove(begin, stop)
        await self._spool.release(begin, stop, self._note())
        return True

    async def _new_stage(self, uploads: Uploads) -> Stage:
        bucket, key = self._inode.place
        return Stage(uploads, bucket, await uploads.begin(bucket, key, self._wanted(self.attributes)))

    async def _adopt(self, stage: Stage) -> None:
        """What is staged counts as stored from here on."""
        self._swaps += 1
        await self._close_stored()
        self._stage, self._kept = stage, stage.stop

    async def resume(self, stage: Stage) -> None:
        """Of a new File: goes on with what another process had staged of it."""
        await self._adopt(stage)
        self.stat = replace(self.stat, size=stage.stop)

    async def restate(self, change: Callable[[Stat], Stat], rename: Callable[[dict[str, str]], dict[str, str]]) -> bool:
        """Other attributes and other metadata, to be stored with the next `save`; whether that was to come anyway."""
        async with self.lock:
            expected = self.unsaved
            metadata = rename(self.attributes.metadata)
            self.stat = change(self.stat)
            self.attributes = msgspec.structs.replace(self.attributes, metadata=metadata)
            self._restated = True
        return expected

    def forgo(self) -> None:
        """Its attributes are stored with no object: it was replaced."""
        self._restated = False

    def moved(self) -> None:
        """Its inode, or a folder above, got another name: what is stored of it has another key now, and so has what a crash leaves."""
        if self.row is not None:
            self.row = msgspec.structs.replace(self.row, key=self._inode.place[1])
        try:
            self._spool.note(self._note())
        except OSError as error:  # the name is as it is by now
            log.warning("a crash would leave what was written to %s under the name it had before: %s", "/".join(self._inode.place), error)

    # Saving

    async def save(self) -> None:
        """The file as it is, durable and visible. Raises: what the store raises; OSError."""
        async with self.lock:
            if self._inode.gone:
                return
            if self.rewritten:
                await self._save_bytes()
            elif self._restated:
                await self._save_attributes()

    def small(self) -> Small | None:
        """What a save would store, if that is little, was written here altogether, and needs no waiting. Not while it is locked."""
        if self._inode.gone or not self.rewritten or self._stage is not None or self._along is not None:
            return None
        if self.stat.size > TOGETHER_BYTES_MAX or (data := self._spool.whole(self.stat.size)) is None:
            return None
        return Small(self._inode.place[1], data, self._wanted(self.attributes))

    async def claim(self) -> None:
        """Stores the new, empty file if there is no object of its name. Raises: PreconditionFailed; as save."""
        async with self.lock:
            bucket, key = self._inode.place
            source = partial(FileSource, self.fill, 0, 0)
            await self.stored(await self._shared.connection.put(bucket, key, source, self._wanted(self.attributes), condition=ABSENT))

    async def _save_bytes(self) -> None:
        """In part, where something of the stored version stays; whole otherwise, and when another object has taken its place by now."""
        bucket, key = self._inode.place
        size, connection = self.stat.size, self._shared.connection
        row = await self._put_along(key)
        if row is not None:
            await self.stored(row)
            return
        if self._stage is not None and size > WHOLE_BYTES_MAX:
            await self._complete(self._stage)
            return
        if self.row is not None and size > WHOLE_BYTES_MAX and self._written.bytes < size:
            try:
                await self.stored(await connection.rewrite(bucket, self.row, self._patches, size, self._wanted))
                return
            except (Conflict, NotFound) as error:
                if isinstance(error, QuotaExceeded | Locked):
                    raise
        row = await connection.put(bucket, key, lambda: FileSource(self.fill, 0, size), self._wanted(self.attributes))
        await self.stored(row)

    async def _put_along(self, key: str) -> ObjectRow | None:
        """The object, if it was put while it was written, under the name that it still has."""
        if self._along is None:
            return None
        along = self._end_along()
        if along.key == key:
            return await along.finish(self.stat.size)
        await along.aclose()
        return None

    async def _complete(self, stage: Stage) -> None:
        """The staged parts and what came since become the object."""
        here = stage
        if stage.upload.key != self._inode.place[1]:  # a folder above it was renamed: under the other key all is written once more
            assert self._shared.uploads is not None
            here = await self._new_stage(self._shared.uploads)
        try:
            row = await here.complete(self.stat.size, self._is_staged, lambda *place: partial(FileSource, self.fill, *place), self._wanted)
        except BaseException:
            if here is not stage:
                with trio.CancelScope(shield=True):
                    await _take_back(here)
            raise
        if here is stage:
            self._stage = None
        await stage.aclose()
        await self.stored(row)

    def _is_staged(self, start: int, stop: int) -> bool:
        """Whether the file still has the bytes that were staged there."""
        return stop <= self._kept and next(self._written.within(start, stop), None) is None

    def _patches(self) -> list[Patch]:
        """What differs from the stored version: what was written, and zeros where it was cut off and grew again."""
        assert self.row is not None
        changed = Extents()
        for start, stop in (*self._written, (self._kept, min(self.row.size, self.stat.size))):
            changed.add(start, stop)
        ranges = list(changed)
        while len(ranges) > PATCHES_MAX:
            ranges = [(first[0], second[1]) for first, second in zip_longest(ranges[::2], ranges[1::2], fillvalue=ranges[-1])]
        return [Patch(start, FileSource(self.fill, start, stop)) for start, stop in ranges]

    async def _save_attributes(self) -> None:
        assert self.row is not None
        bucket, _ = self._inode.place
        row = await self._shared.connection.change(bucket, self.row, self._wanted)
        await self.stored(row)

    async def stored(self, row: ObjectRow) -> None:
        """With the lock held: the file as it is now is that object."""
        self._swaps += 1
        await self._close_stored()
        await self._unstage()
        self._drop()
        self.row, self._kept = row, row.size
        self.attributes = row.attributes
        self._inode.content, self._inode.seq, self._inode.covers = row.content, row.seq, ""

    async def _unstage(self) -> None:
        """Nobody wants what was staged."""
        stage, self._stage = self._stage, None
        if stage is not None:
            await _take_back(stage)

    def _drop(self) -> None:
        self._written.clear()
        self._spool.clear()
        self._restated = False
        self._may_go_along = True

    def _wanted(self, attributes: Attributes) -> Attributes:
        kind = attributes.type or type_of(self._inode.part)
        return msgspec.structs.replace(attributes, type=kind, metadata=with_stat(self.attributes.metadata, self.stat))

    def _note(self) -> Note:
        bucket, key = self._inode.place
        content = self.row.content if self.row is not None else self._inode.covers
        metadata = with_stat(self.attributes.metadata, self.stat)
        note = Note(bucket, key, content, self._kept, self.stat.size, metadata)
        if self._stage is None:
            return note
        upload = self._stage.upload
        return msgspec.structs.replace(note, upload=upload.upload, upload_key=upload.key, staged=self._stage.stop)

    async def aclose(self) -> None:
        """What is not saved by now, because that failed, is left on disk if it is there."""
        await self._close_stored()
        if self._along is not None:
            await self._end_along().aclose()
        if self.unsaved and not self._inode.gone:
            if self._stage is not None:
                await self._stage.aclose()
            self._spool.leave()
        else:
            await self._unstage()
            self._spool.clear()


async def _take_back(stage: Stage) -> None:
    """What can't be taken back now the bucket goes on listing as an unfinished upload."""
    await stage.aclose()
    try:
        await stage.abort()
    except FrazilError as error:
        log.warning("the upload %s of %s/%s was not taken back: %s", stage.upload.upload, stage.bucket, stage.upload.key, error)


def type_of(name: str) -> str:
    """Content-Type by the last two suffixes: more none looks at, and files of one folder have few."""
    base, suffix = splitext(name)
    return _type_of_suffix(splitext(base)[1] + suffix) if suffix else TYPE_DEFAULT


@lru_cache(SUFFIXES_MAX)
def _type_of_suffix(suffix: str) -> str:
    return guess_type("name" + suffix)[0] or TYPE_DEFAULT


def without_privileges(mode: int) -> int:
    """Who changes a file's bytes takes its set-user-id bit off, and its set-group-id bit where a group may execute it."""
    if mode & modes.S_ISUID:
        mode &= ~modes.S_ISUID
    if mode & modes.S_ISGID and mode & modes.S_IXGRP:
        mode &= ~modes.S_ISGID
    return mode
