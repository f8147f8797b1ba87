"""A volume of this host: chunks as files below one folder. Implements rawx.protocol.Rawx in process."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar

import trio
import xxhash

from node.errors import RecordCorrupt, Unavailable, VolumeNotFound
from node.lane import Job, Lane
from node.threads import run_blocking, was_held_up
from rawx import attributes, housekeeping, quarantine, system
from rawx.attributes import Stored, check_units
from rawx.chunk import UNIT_BYTES_MAX, UNIT_DIGEST_BYTES, Buffer, ChunkRecord, check_chunk_id, chunk_checksum
from rawx.commit import Arrival, Change, Committer, Removal, Request, Result
from rawx.device import Addressed, Devices
from rawx.examine import EXAMINED_MAX, LOOK_S, LOOKS_S, examine_blocking
from rawx.folders import Folders, path_of
from rawx.gate import Gate
from rawx.geometry import Geometry, UnitsCache
from rawx.health import Health, translate
from rawx.identity import Identity, claim
from rawx.journal import Journal
from rawx.link import Linked, link_blocking
from rawx.mark import explain, marked, read_mark
from rawx.probe import volume_stat
from rawx.protocol import ChunkIds, ChunkStat, Examined, ExaminedChunks, ListPage, QuarantinedChunks, VolumeStat
from rawx.reader import LocalReader, Told
from rawx.upload import LocalUpload

T = TypeVar("T")

WAIT_S = 30.0
"""A disk that holds a call longer is sick."""
DELETE_BATCH_MAX = 1000
Forget = Callable[[str, Sequence[str]], Awaitable[None]]
"""Tells whoever keeps the bytes of a volume's cold chunks elsewhere that they are about to be deleted: (volume id, chunks). Durable at
return. Raises: Unavailable; then they are not deleted now."""


class Volume:
    """One open volume. Several processes of a host may have the same one open."""

    def __init__(
        self,
        path: Path,
        root: int,
        identity: Identity,
        *,
        wait_s: float = WAIT_S,
        devices: Devices | None = None,
        forget: Forget | None = None,
    ) -> None:
        """Takes the open root over. Raises: OSError."""
        self._forget = forget
        self.path = path
        self.volume_id = identity.id
        self.identity = identity
        self.health = Health()
        self.root = root
        self.wait_s = wait_s
        self.folders = Folders(root)
        self.journal = Journal(root)
        housekeeping.make_quarantine(root)
        self._gate = Gate(root, self.journal)
        self._committer = Committer(self.folders, self.journal, self.health, self._gate)
        self._devices = devices or Devices()
        self._device = self._devices.enter(root)
        self._given_up: set[str] = set()
        self._scratch = memoryview(bytearray(UNIT_BYTES_MAX + 1))
        self._units = UnitsCache()

    def __repr__(self) -> str:
        return f"<Volume {self.volume_id} at {self.path} {self.health!r}>"

    def close(self) -> None:
        """Ends the use of the volume; calls under way must be over."""
        if self.root >= 0:
            self._devices.leave(self._device)
            self.journal.close()
            os.close(self.root)
            self.root = self.folders.root = -1

    async def bounded(self, doing: str, function: Callable[..., T], *args: Any) -> T:
        """Runs function in a thread. Raises: DeadlineExceeded after wait_s, and the volume is sick then; Busy; what function raises."""
        with trio.move_on_after(self.wait_s) as bound:
            return await run_blocking(function, *args, abandon=True)
        raise self.health.hung(doing, self.wait_s, held_up=was_held_up(bound))

    async def _writing(self, function: Callable[..., Any], *args: Any) -> Any:
        return await self.bounded("writing", function, *args)

    async def _reading(self, function: Callable[..., Any], *args: Any) -> Any:
        return await self.bounded("reading", function, *args)

    async def _submit(self, request: Request, lane: Lane[Addressed, Result] | None = None) -> list[str]:
        """One change, together with all that wait. A cancelled caller leaves; its change may still happen, before its next one."""
        try:
            with trio.move_on_after(self.wait_s) as bound:
                result = await (lane or self._device.commits).submit((self._committer, request), abandon=True)
                assert isinstance(result, list)  # errors are raised by the lane
                return result
        except trio.Cancelled:
            self.give_up(request)
            raise
        self.give_up(request)
        raise self.health.hung("writing", self.wait_s, held_up=was_held_up(bound))

    def give_up(self, request: Request) -> None:
        """Nobody waits for it any more: it is not begun if it can still be helped."""
        request.abandoned = True
        if isinstance(request, Arrival):  # may be under way: see delete
            self._given_up.add(request.chunk)

    async def put(self, chunk: str, data: Buffer, record: ChunkRecord, units: bytes) -> None:
        await self._submit(self._arrival(chunk, data, record, units))

    def put_job(self, chunk: str, data: Buffer, record: ChunkRecord, units: bytes) -> Job:
        """`put` for a relay: see rawx/fanout.py. Raises: what can be told at once."""
        return Job(self._device.commits, (self._committer, self._arrival(chunk, data, record, units)))

    def _arrival(self, chunk: str, data: Buffer, record: ChunkRecord, units: bytes) -> Arrival:
        self.health.admit_write()
        check_chunk_id(chunk)
        check_units(record, len(data), units)
        return Arrival(chunk, record, units, data)

    async def create(self, chunk: str, size_hint: int) -> LocalUpload:
        self.health.admit_write()
        check_chunk_id(chunk)
        return LocalUpload(
            chunk, size_hint, folders=self.folders, gate=self._gate, health=self.health, run=self._writing, submit=self._submit
        )

    def get_now(self, chunk: str, size: int, checksum: bytes) -> bytes | None:
        if self.health.sick:
            self.health.admit_read()
        if size > UNIT_BYTES_MAX:
            return None
        try:
            descriptor = system.open_cached(self.root, path_of(check_chunk_id(chunk)))
            if descriptor is None:
                return None
            try:
                view = self._scratch[: size + 1]
                if os.preadv(descriptor, [view], 0, os.RWF_NOWAIT) != size:
                    return None  # cached in part, or damaged: `get` tells which
                return _verified(view[:size], checksum)
            finally:
                os.close(descriptor)
        except BlockingIOError:  # the disk is needed
            return None
        except OSError as error:
            if error.errno == system.NOT_SUPPORTED:
                return None
            raise self.health.read_failed(error, f"reading chunk {chunk}") from error

    async def get(self, chunk: str, size: int, checksum: bytes) -> bytes:
        data = self.get_now(chunk, size, checksum)
        if data is not None:
            return data
        return await self.bounded("reading", self._get_blocking, chunk, path_of(chunk), size, checksum)

    def _get_blocking(self, chunk: str, path: str, size: int, checksum: bytes) -> bytes:
        try:
            descriptor = system.open_plain(self.root, path)
            try:
                for _ in range(2):  # a cold chunk may be filled between its bytes and its mark
                    data = os.pread(descriptor, size + 1, 0)
                    if len(data) == size and (whole := _verified(data, checksum)) is not None:
                        return whole
                    cold = explain(descriptor, chunk)
                    if cold is not None:
                        raise cold
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self.health.read_failed(error, f"reading chunk {chunk}") from error
        raise self.health.corrupt(f"chunk {chunk}: wrong checksum" if len(data) == size else f"chunk {chunk} does not have {size} bytes")

    async def open(self, chunk: str, checksum: bytes) -> LocalReader:
        reader = self.open_now(chunk, checksum)
        if reader is not None:
            return reader
        return await self.bounded("opening a chunk", self.open_blocking, chunk, checksum)

    def open_now(self, chunk: str, checksum: bytes) -> LocalReader | None:
        """What `open` returns, if it can be had without waiting. Raises: as open."""
        self.health.admit_read()
        path = path_of(check_chunk_id(chunk))
        known = self._units.get(chunk, checksum)
        if known is None:
            return None
        try:
            descriptor = system.open_cached(self.root, path)
        except OSError as error:
            raise self.health.read_failed(error, f"opening chunk {chunk}") from error
        return None if descriptor is None else self._reader(chunk, descriptor, known)

    def open_blocking(self, chunk: str, checksum: bytes) -> LocalReader:
        """The same in a thread."""
        return self._open_checked(chunk, checksum)[0]

    def open_told_blocking(self, chunk: str, checksum: bytes) -> Told:
        """The same, with what the chunk says of itself."""
        reader, record = self._open_checked(chunk, checksum)
        try:
            return Told(reader, record, read_mark(reader.descriptor) is not None)
        except OSError as error:
            reader.close()
            raise self.health.read_failed(error, f"reading the mark of chunk {chunk}") from error
        except RecordCorrupt:
            reader.close()
            raise

    def _open_checked(self, chunk: str, checksum: bytes) -> tuple[LocalReader, ChunkRecord]:
        descriptor, stored = self.open_stored(chunk, path_of(check_chunk_id(chunk)))
        if chunk_checksum(stored.units) != checksum:
            os.close(descriptor)
            raise self.health.corrupt(f"chunk {chunk}: its unit checksums are not those that belong to it")
        geometry = Geometry(stored.record.size, stored.unit_bytes, stored.units)
        reader = self._reader(chunk, descriptor, geometry)
        self._units.put(chunk, checksum, geometry)
        return reader, stored.record

    def open_stored(self, chunk: str, path: str) -> tuple[int, Stored]:
        """An open chunk and what it says of itself; blocking. Raises: ChunkNotFound, RecordCorrupt, ChunkCorrupt, VolumeSick."""
        try:
            descriptor = system.open_plain(self.root, path)
        except OSError as error:
            raise self.health.read_failed(error, f"opening chunk {chunk}") from error
        try:
            return descriptor, attributes.read(descriptor, self.root, path)
        except OSError as error:
            os.close(descriptor)
            raise self.health.read_failed(error, f"reading the record of chunk {chunk}") from error
        except RecordCorrupt as error:
            os.close(descriptor)
            self.health.errors["RecordCorrupt"] += 1
            raise RecordCorrupt(f"chunk {chunk}: {error}") from error

    def _reader(self, chunk: str, descriptor: int, geometry: Geometry) -> LocalReader:
        """Takes the descriptor over. Raises: ChunkCorrupt when file, record and checksums are not about as many bytes."""
        reader = LocalReader(chunk, descriptor, geometry.size, geometry.unit_bytes, geometry.units, health=self.health, run=self._reading)
        size = os.fstat(descriptor).st_size
        if size != geometry.size and (cold := explain(descriptor, chunk)) is not None:
            reader.close()
            raise cold
        if size != geometry.size or -(-size // geometry.unit_bytes) * UNIT_DIGEST_BYTES != len(geometry.units):
            reader.close()
            raise self.health.corrupt(f"chunk {chunk} has {size} bytes; its record says {geometry.size} in units of {geometry.unit_bytes}")
        return reader

    async def head(self, chunk: str, *, deep: bool) -> ChunkStat:
        self.health.admit_read()
        stat, reader = await self.bounded("reading a record", self._head_blocking, chunk)
        try:
            if deep:
                await housekeeping.verify(reader)
        finally:
            reader.close()
        return stat

    def open_whole(self, chunk: str) -> tuple[LocalReader, Stored]:
        """A chunk whose checksum the caller doesn't know, or has yet to compare, and what it says of itself; blocking. Raises: as head."""
        descriptor, stored = self.open_stored(chunk, path_of(check_chunk_id(chunk)))
        return self._reader(chunk, descriptor, Geometry(stored.record.size, stored.unit_bytes, stored.units)), stored

    def _head_blocking(self, chunk: str) -> tuple[ChunkStat, LocalReader]:
        reader, stored = self.open_whole(chunk)
        mtime_us = os.fstat(reader.descriptor).st_mtime_ns // 1000
        return ChunkStat(stored.record, reader.size, stored.units, mtime_us), reader

    async def update(self, chunk: str, record: ChunkRecord) -> None:
        self.health.admit_write()
        check_chunk_id(chunk)
        await self._submit(Change(chunk, record))

    async def delete(self, chunks: Sequence[str]) -> list[str]:
        """Also while the volume is full.

        Deletions have a lane of their own, so that no put waits for them: a put that has returned can't come after them. A chunk whose
        put was given up waits in the lane of the puts instead, behind that put; else it might appear after it was deleted.
        """
        self.health.admit_delete()
        failed: list[str] = []
        for chunk in chunks:
            check_chunk_id(chunk)
        given_up = self._given_up.intersection(chunks) if self._given_up else set()
        if given_up:
            failed += await self._submit(Removal(sorted(given_up)))
            self._given_up -= given_up
            chunks = [chunk for chunk in chunks if chunk not in given_up]
        if self._forget is not None:
            kept = await self._forget_cold(self._forget, chunks)
            failed += kept
            chunks = [chunk for chunk in chunks if chunk not in kept]
        for at in range(0, len(chunks), DELETE_BATCH_MAX):
            failed += await self._submit(Removal(chunks[at : at + DELETE_BATCH_MAX]), self._device.removals)
        return failed

    async def _forget_cold(self, forget: Forget, chunks: Sequence[str]) -> list[str]:
        """Those whose bytes elsewhere can't be given up now."""
        cold = await self.bounded("reading marks", marked, self.root, self.health, chunks)
        if cold:
            try:
                await forget(self.volume_id, cold)
            except Unavailable:
                return cold
        return []

    async def copy(self, source: str, target: str, record: ChunkRecord) -> None:
        self.health.admit_write()
        check_chunk_id(target)
        _, reader = await self.bounded("reading a record", self._head_blocking, source)
        arrival = await self.bounded("copying", self._copy_blocking, reader, target, record)
        await self._submit(arrival)

    def _copy_blocking(self, reader: LocalReader, target: str, record: ChunkRecord) -> Arrival:
        self._told(self._gate.enter, target)
        try:
            return housekeeping.copy_blocking(self.folders, self.health, reader, target, record)
        except BaseException:
            self._told(self._gate.leave, target)
            raise

    async def link(self, source: str, target: str, record: ChunkRecord) -> None:
        """A second chunk with the same bytes, which are not copied, and a record of its own; durable at return. Twice the same: no error.

        Raises: ChunkNotFound, AlreadyExists, RecordCorrupt, InvalidArgument.
        """
        self.health.admit_write()
        check_chunk_id(target)
        await self.bounded("linking a chunk", self._link_blocking, source, target, record)

    def _link_blocking(self, source: str, target: str, record: ChunkRecord) -> None:
        descriptor, stored = self.open_stored(source, path_of(check_chunk_id(source)))
        try:
            link_blocking(self.folders, Linked(source, descriptor, stored), target, record)
        except OSError as error:
            raise self.health.write_failed(error, f"linking chunk {target}") from error
        finally:
            os.close(descriptor)

    async def list(self, after: str, limit: int) -> ListPage:
        self.health.admit_read()
        return await self.bounded("listing", housekeeping.list_blocking, self.root, self.health, after, limit)

    async def examine(self, chunks: Sequence[str], *, deep: bool) -> ExaminedChunks:
        self.health.admit_read()
        for chunk in chunks:
            check_chunk_id(chunk)
        found: list[Examined] = []
        while len(found) < len(chunks):
            some = chunks[len(found) : len(found) + EXAMINED_MAX]
            async with nullcontext() if deep else self._devices.looks.turn(LOOKS_S + LOOK_S * len(some)):
                found += await self.bounded("examining chunks", examine_blocking, self, some, deep)
        return found

    async def noted(self) -> ChunkIds:
        self.health.admit_read()
        return sorted(await self.bounded("reading the journal", self._told, self.journal.noted))

    async def recent(self) -> Sequence[str]:
        self.health.admit_read()
        return await self.bounded("reading the journal", self._told, self.journal.recent)

    async def settle(self, chunks: Sequence[str]) -> None:
        self.health.admit_delete()
        await self.bounded("writing the journal", self._told, self.journal.settle, chunks)

    async def retire(self, retired: bool) -> ChunkIds:
        self.health.admit_delete()
        return await self.bounded("marking the volume", self._told, self._gate.retire, retired)

    def _told(self, function: Callable[..., T], *args: Any) -> T:
        try:
            return function(*args)
        except OSError as error:
            raise self.health.write_failed(error, "using the journal") from error

    async def quarantine(self, chunk: str, reason: str) -> None:
        self.health.admit_delete()
        await self.bounded("quarantining a chunk", housekeeping.quarantine_blocking, self.root, self.health, check_chunk_id(chunk), reason)

    async def quarantined(self, after: str, limit: int) -> QuarantinedChunks:
        self.health.admit_read()
        return await self.bounded("listing the quarantine", quarantine.listed_blocking, self.root, self.health, after, limit)

    async def purge(self, names: Sequence[str]) -> None:
        self.health.admit_delete()
        await self.bounded("purging the quarantine", quarantine.purge_blocking, self.root, self.health, list(names))

    async def stat(self) -> VolumeStat:
        """Answers for a sick volume too, without touching its disk."""
        if self.health.sick:
            return VolumeStat(self.volume_id, 0, 0, 0, sick=self.health.sick, read_only=self.health.read_only)
        return await self.bounded("asking for space", volume_stat, self.root, self.volume_id, self.health, self._gate)

    async def sweep(self) -> int:
        """Removes what a crash left: see housekeeping.sweep. For the process that owns the volume, once at start."""
        return await housekeeping.sweep(self.root, self.health, self.journal.began_ns, self.bounded)


def _verified(data: Buffer, checksum: bytes) -> bytes | None:
    """The bytes of a chunk of one unit, if they are those that the checksum binds."""
    digest = xxhash.xxh3_64_digest(data) if len(data) else b""
    return bytes(data) if xxhash.xxh3_128_digest(digest) == checksum else None


def open_volume(
    path: str | Path,
    *,
    namespace: str,
    volume_id: str | None = None,
    create: bool = False,
    wait_s: float = WAIT_S,
    devices: Devices | None = None,
    forget: Forget | None = None,
) -> Volume:
    """Opens the volume at `path`, checked to be the namespace's and (if given) this one. `create` makes folder and identity where
    there are none. devices: shared with the other volumes of this process. forget: of a volume whose chunks may be cold.

    Blocking. Raises: VolumeForeign, VolumeNotFound, VolumeReadOnly, VolumeFull, VolumeSick, ConfigError.
    """
    path = Path(path)
    try:
        if create:
            make_durable_folder(path)
        root = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            identity = claim(root, str(path), namespace, volume_id, create=create)
            return Volume(path, root, identity, wait_s=wait_s, devices=devices, forget=forget)
        except BaseException:
            os.close(root)
            raise
    except FileNotFoundError as error:
        raise VolumeNotFound(f"there is no folder {path}") from error
    except OSError as error:
        raise translate(error, f"opening volume {path}") from error


def make_durable_folder(path: Path) -> None:
    """Makes a folder and those above it, each synced into its parent. Raises: OSError."""
    if path.is_dir():
        return
    make_durable_folder(path.parent)
    path.mkdir(mode=0o750, exist_ok=True)
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
