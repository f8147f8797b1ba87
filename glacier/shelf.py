"""A mounted cold disk is a rawx volume like any other: files with records in their attributes, for people to read and to rebuild from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from glacier.board import Faults, Usage
from glacier.protocol import ChunkHead, ChunkIds
from node.errors import FrazilError
from node.log import get_logger
from node.threads import run_blocking
from rawx import system
from rawx.chunk import ChunkRecord, check_chunk_id, chunk_checksum
from rawx.protocol import Reader, Upload
from rawx.reader import LocalReader
from rawx.volume import Volume, open_volume

_WRITE_ERRORS = frozenset({"VolumeSick", "VolumeReadOnly", "DeadlineExceeded"})
_log = get_logger("freezer")


class VolumeShelf:
    """A shelf (protocol: glacier.board.Shelf) on a mounted file system."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self.volume = volume.volume_id

    def __repr__(self) -> str:
        return f"<VolumeShelf {self._volume!r}>"

    @classmethod
    async def at(cls, path: Path, namespace: str, volume: str) -> VolumeShelf:
        """volume: which it must be; "" when it was never seen: then an empty file system becomes one.

        Raises: VolumeForeign, VolumeNotFound, VolumeSick, VolumeFull, VolumeReadOnly, ConfigError.
        """

        def opened() -> Volume:
            return open_volume(path, namespace=namespace, volume_id=volume or None, create=not volume)

        return cls(await run_blocking(opened))

    def faults(self) -> Faults:
        health = self._volume.health
        checksum = health.errors["ChunkCorrupt"] + health.errors["RecordCorrupt"]
        write = sum(health.errors[name] for name in _WRITE_ERRORS)
        return Faults(health.errors.total() - checksum - write, write, checksum, health.sick)

    async def usage(self) -> Usage:
        stat = await self._volume.stat()
        return Usage(stat.bytes_total, stat.bytes_free)

    async def create(self, head: ChunkHead) -> Upload:
        return await self._volume.create(head.chunk, head.size)

    async def open(self, chunk: str, checksum: bytes, *, from_disk: bool) -> tuple[ChunkHead, Reader]:
        return await self._volume.bounded("opening a chunk", self._open_blocking, chunk, checksum, from_disk)

    def _open_blocking(self, chunk: str, checksum: bytes, from_disk: bool) -> tuple[ChunkHead, LocalReader]:
        self._volume.health.admit_read()
        reader, stored = self._volume.open_whole(check_chunk_id(chunk))
        stored_checksum = chunk_checksum(stored.units)
        if checksum not in (b"", stored_checksum):
            reader.close()
            raise self._volume.health.corrupt(f"chunk {chunk}: its unit checksums are not those that belong to it")
        if from_disk:
            os.posix_fadvise(reader.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        return ChunkHead(chunk, reader.size, reader.unit_bytes, stored_checksum, stored.record.encode(), stored.units), reader

    async def delete(self, chunks: Sequence[str]) -> ChunkIds:
        """Durable, unlike a hot volume's: what came back here would be found after months, or never."""
        failed = await self._volume.delete(chunks)
        await self._volume.bounded("writing out deletions", system.syncfs, self._volume.root)
        return failed

    async def put_aside(self, chunk: str, reason: str) -> None:
        await self._volume.quarantine(chunk, reason)

    async def list(self, after: str, limit: int) -> ChunkIds:
        return (await self._volume.list(after, limit)).chunks

    async def link(self, source: str, target: str, record: ChunkRecord) -> None:
        await self._volume.link(source, target, record)

    async def close(self) -> None:
        volume = self._volume
        try:
            await volume.settle(await volume.recent())  # its journal is for the hot tier's question after a crash; nobody asks a cold disk
        except FrazilError as error:
            _log.warning("the journal of a cold disk could not be emptied", extra={"volume": self.volume, "error": str(error)})
        volume.close()
