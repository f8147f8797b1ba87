"""An object to a local file or a stream: ranges in parallel, each taken up again where it broke off, the whole checked at the end."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import trio

from cli.address import Remote
from cli.body import encode_checksum, file_checksum
from cli.client import S3Client
from cli.connection import ATTEMPTS_MAX, Download, backoff_s
from cli.meter import Meter
from node import errors

MEBIBYTE = 1 << 20
RANGE_BYTES = 16 * MEBIBYTE
SINGLE_BYTES_MAX = 32 * MEBIBYTE
"""Up to here one GET."""
STREAM_AHEAD = 4
"""Ranges of a stream that are fetched ahead of the one being written: bounds its memory at (STREAM_AHEAD + 1) * RANGE_BYTES."""
FILE_MODE = 0o666
NAME_BYTES_SHOWN = 100
"""Of its name in that of its temporary file: with what mkstemp adds, both stay below the 255 bytes that file systems take."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Downloader:
    """Downloads through one client; `limiter` bounds the requests in flight of all its downloads together."""

    def __init__(self, client: S3Client, limiter: trio.Semaphore, meter: Meter) -> None:
        self._client = client
        self._limiter = limiter
        self._meter = meter

    async def file(self, source: Remote, path: str, *, size: int, etag: str, modified: datetime | None) -> None:
        """Into a temporary file beside `path`, which takes the name when all is there and right; `modified` becomes its time.

        Raises: PreconditionFailed when the object changes meanwhile, ChecksumMismatch, OSError, FrazilError. Nothing is left behind then.
        """
        folder, name = os.path.split(path)
        short = os.fsencode(name)[:NAME_BYTES_SHOWN].decode(errors="ignore")
        descriptor, temporary = tempfile.mkstemp(prefix=f".{short}.", suffix=".frazil", dir=folder or ".")
        try:
            checksum = await self._fill(source, descriptor, size, etag)
            if checksum and encode_checksum(file_checksum(descriptor, 0, size, path)) != checksum:
                raise errors.ChecksumMismatch(f"{source} arrived with other bytes than were stored")
            os.fchmod(descriptor, FILE_MODE & ~_umask())
            if modified is not None:
                os.utime(descriptor, ns=(time_ns(modified), time_ns(modified)))
            os.replace(temporary, path)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
        finally:
            os.close(descriptor)

    async def stream(self, source: Remote, write: Callable[[bytes], None]) -> int:
        """In order to `write`, which may block; the object's size."""
        async with self._limiter, self._client.get(source.bucket, source.key, stop=RANGE_BYTES) as first:
            size = total_size(first)
            etag = first.etag
            await self._pass_on(first, source, 0, min(RANGE_BYTES, size), etag, write)
        if size <= RANGE_BYTES:
            return size
        sender, receiver = trio.open_memory_channel[trio.MemoryReceiveChannel[bytearray]](STREAM_AHEAD - 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._fetch_ahead, nursery, source, size, etag, sender)
            async for slot in receiver:
                piece = await slot.receive()
                write(bytes(piece))
        return size

    async def _fetch_ahead(
        self,
        nursery: trio.Nursery,
        source: Remote,
        size: int,
        etag: str,
        sender: trio.MemorySendChannel[trio.MemoryReceiveChannel[bytearray]],
    ) -> None:
        async def fetch(start: int, stop: int, done: trio.MemorySendChannel[bytearray]) -> None:
            data = bytearray()
            async with self._limiter:
                await self._range(source, start, stop, etag, lambda _at, piece: data.extend(piece))
            await done.send(data)

        async with sender:
            for start in range(RANGE_BYTES, size, RANGE_BYTES):
                done, slot = trio.open_memory_channel[bytearray](1)
                await sender.send(slot)
                nursery.start_soon(fetch, start, min(start + RANGE_BYTES, size), done)

    async def _fill(self, source: Remote, descriptor: int, size: int, etag: str) -> str:
        """All bytes to their places in the file; the stored whole checksum or ""."""
        step = size if size <= SINGLE_BYTES_MAX else RANGE_BYTES
        checksum = ""

        def put(at: int, piece: bytes) -> None:
            _write_all(descriptor, piece, at)

        async def part(start: int, stop: int) -> None:
            nonlocal checksum
            try:
                found = await self._range(source, start, stop, etag, put)
                checksum = checksum or found
            finally:
                self._limiter.release()

        async with trio.open_nursery() as nursery:
            for start in range(0, size, step) if size else [0]:
                await self._limiter.acquire()
                nursery.start_soon(part, start, min(start + step, size))
        return checksum

    async def _range(self, source: Remote, start: int, stop: int, etag: str, put: Callable[[int, bytes], object]) -> str:
        """Bytes [start, stop), as often as it takes; an attempt that brought something doesn't count. The whole object's checksum or ""."""
        at, attempt = start, 0
        while True:
            began = at
            try:
                ranged = {"start": at, "stop": stop} if stop > at else {}
                async with self._client.get(source.bucket, source.key, etag=etag, **ranged) as download:
                    async for piece in download.pieces:
                        put(at, piece)
                        at += len(piece)
                        self._meter.advance(len(piece))
                if at < stop:
                    raise errors.BodyIncomplete(f"{source} ended after {at} of {stop} bytes")
                return download.whole_checksum
            except (errors.Unavailable, errors.BodyIncomplete):
                attempt = 0 if at > began else attempt + 1
                if attempt == ATTEMPTS_MAX:
                    raise
            await trio.sleep(backoff_s(attempt))

    async def _pass_on(self, first: Download, source: Remote, start: int, stop: int, etag: str, write: Callable[[bytes], None]) -> None:
        at = start
        try:
            async for piece in first.pieces:
                write(piece)
                at += len(piece)
                self._meter.advance(len(piece))
        except errors.Unavailable:
            if at == stop:
                return
        if at < stop:
            await self._range(source, at, stop, etag, lambda _at, piece: write(piece))


def total_size(download: Download) -> int:
    """Size of the whole object by the answer to a range request (RFC 9110, 14.4)."""
    total = download.headers.get("content-range", "").rpartition("/")[2]
    return int(total) if total.isdigit() else max(0, download.size)


def time_ns(moment: datetime) -> int:
    """Nanoseconds since 1970, without a float's rounding."""
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def _write_all(descriptor: int, piece: bytes, at: int) -> None:
    view = memoryview(piece)
    while view:
        count = os.pwrite(descriptor, view, at)
        view, at = view[count:], at + count


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
