"""Local bytes to an object: one PUT for small files, parts in parallel for large ones and for pipes of unknown length."""

from __future__ import annotations

import hashlib
import math
import mimetypes
import os
import stat
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import msgspec
import trio

from cli.address import Remote
from cli.answer import Part
from cli.body import Body, BytesBody, FileBody
from cli.client import S3Client
from cli.meter import Meter
from node import errors
from node.threads import run_blocking

MEBIBYTE = 1 << 20
PART_BYTES = 16 * MEBIBYTE
SINGLE_BYTES_MAX = 32 * MEBIBYTE
"""Up to here one PUT; above, parts, which go in parallel and can be resumed."""
PARTS_MAX = 10_000
STREAM_MEMORY_BYTES = 64 * MEBIBYTE
"""A pipe can't be read again, so its parts wait in memory for their acknowledgement: at most this much (but always one part)."""
STREAM_PARTS_PER_SIZE = 1_000
"""Parts of one size in a pipe's upload before they get twice as large: 10,000 parts hold 5 TiB and more."""
STREAM_PART_BYTES_MAX = 1024 * MEBIBYTE
ABORT_TIMEOUT_S = 5.0


class MeteredBody:
    """A body that tells a meter what went out, and takes it back when it has to go again."""

    def __init__(self, body: Body, meter: Meter) -> None:
        self._body = body
        self._meter = meter
        self._sent = 0
        self.size = body.size

    def checksum(self) -> str:
        return self._body.checksum()

    async def pieces(self) -> AsyncIterator[bytes]:
        self._meter.advance(-self._sent)
        self._sent = 0
        async for piece in self._body.pieces():
            yield piece
            self._sent += len(piece)
            self._meter.advance(len(piece))


class UploadState(msgspec.Struct, frozen=True):
    """An upload that a later run can go on with: its id, and which file it was of."""

    upload: str
    part_bytes: int
    size: int
    mtime_ns: int


def file_part_bytes(size: int) -> int:
    """Whole MiB, at least PART_BYTES, so that the file fits in PARTS_MAX parts."""
    return max(PART_BYTES, math.ceil(size / PARTS_MAX / MEBIBYTE) * MEBIBYTE)


def stream_part_bytes(number: int) -> int:
    """Size of a pipe's part `number` (from 1)."""
    return min(PART_BYTES << ((number - 1) // STREAM_PARTS_PER_SIZE), STREAM_PART_BYTES_MAX)


def guess_type(name: str) -> str:
    """Content-Type by the name's ending. A file whose bytes are packed is not the type it has unpacked."""
    kind, encoding = mimetypes.guess_type(name, strict=False)
    return kind if kind and not encoding else "application/octet-stream"


class Uploader:
    """Uploads through one client; `limiter` bounds the requests in flight of all its uploads together."""

    def __init__(self, client: S3Client, limiter: trio.Semaphore, meter: Meter, states: Path) -> None:
        self._client = client
        self._limiter = limiter
        self._meter = meter
        self._states = states

    async def file(self, path: str, target: Remote, headers: Mapping[str, str]) -> int:
        """Uploads a file; its size. A pipe or device goes as a stream. Raises: OSError, FrazilError."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            headers = {"content-type": guess_type(path), **headers}
            if not stat.S_ISREG(status.st_mode):
                return await self.stream(descriptor, target, headers)
            if status.st_size <= SINGLE_BYTES_MAX:
                await self._put(target, FileBody(descriptor, path, 0, status.st_size), headers)
            else:
                await self._parts(descriptor, path, status, target, headers)
            return status.st_size
        finally:
            os.close(descriptor)

    async def stream(self, descriptor: int, target: Remote, headers: Mapping[str, str]) -> int:
        """Uploads what comes out of a pipe until its end; how many bytes that were."""
        headers = {"content-type": guess_type(target.key), **headers}
        first = await _read_part(descriptor, stream_part_bytes(1))
        if len(first) < stream_part_bytes(1):
            await self._put(target, BytesBody(first), headers)
            return len(first)
        upload = await self._client.create_upload(target.bucket, target.key, headers)
        try:
            return await self._stream_parts(descriptor, first, target, upload)
        except BaseException:
            await abort_quietly(self._client, target, upload)
            raise

    async def _put(self, target: Remote, body: Body, headers: Mapping[str, str]) -> None:
        async with self._limiter:
            await self._client.put(target.bucket, target.key, MeteredBody(body, self._meter), headers)

    async def _stream_parts(self, descriptor: int, first: bytearray, target: Remote, upload: str) -> int:
        parts: list[Part] = []
        size = 0
        data, number = first, 1
        held = _Budget(STREAM_MEMORY_BYTES)

        async def send(number: int, data: bytearray) -> None:
            try:
                async with self._limiter:
                    body = MeteredBody(BytesBody(data), self._meter)
                    parts.append(await self._client.put_part(target.bucket, target.key, upload, number, body))
            finally:
                held.give(len(data))

        async with trio.open_nursery() as nursery:
            while data:
                if number > PARTS_MAX:
                    raise errors.BodyTooLarge(f"{target} would need more than {PARTS_MAX} parts")
                size += len(data)
                await held.take(len(data))
                nursery.start_soon(send, number, data)
                number += 1
                data = await _read_part(descriptor, stream_part_bytes(number))
        await self._client.complete_upload(target.bucket, target.key, upload, parts)
        return size

    async def _parts(self, descriptor: int, path: str, status: os.stat_result, target: Remote, headers: Mapping[str, str]) -> None:
        state_file = self._state_file(path, target)
        state = _load_state(state_file, status)
        there: dict[int, Part] = {}
        if state is not None:
            try:
                there = {part.number: part for part in await self._client.list_parts(target.bucket, target.key, state.upload)}
            except (errors.NotFound, errors.BadRequest):  # expired, or finished, or another store: begin anew
                state = None
        if state is None:
            upload = await self._client.create_upload(target.bucket, target.key, headers)
            state = UploadState(upload, file_part_bytes(status.st_size), status.st_size, status.st_mtime_ns)
            _save_state(state_file, state)
        try:
            await self._send_parts(descriptor, path, state, there, target)
        except* errors.FrazilError as group:
            if not any(getattr(error, "transient", False) for error in group.exceptions):
                await abort_quietly(self._client, target, state.upload)
                state_file.unlink(missing_ok=True)
            raise
        state_file.unlink(missing_ok=True)

    async def _send_parts(self, descriptor: int, path: str, state: UploadState, there: Mapping[int, Part], target: Remote) -> None:
        parts: list[Part] = []

        async def send(number: int, body: FileBody) -> None:
            try:
                parts.append(await self._client.put_part(target.bucket, target.key, state.upload, number, MeteredBody(body, self._meter)))
            finally:
                self._limiter.release()

        async with trio.open_nursery() as nursery:
            for number, offset in enumerate(range(0, state.size, state.part_bytes), 1):
                body = FileBody(descriptor, path, offset, min(state.part_bytes, state.size - offset))
                kept = there.get(number)
                if kept is not None and kept.size == body.size and kept.checksum and kept.checksum == body.checksum():
                    parts.append(kept)
                    self._meter.advance(body.size)
                    continue
                await self._limiter.acquire()
                nursery.start_soon(send, number, body)
        await self._client.complete_upload(target.bucket, target.key, state.upload, parts)

    def _state_file(self, path: str, target: Remote) -> Path:
        name = "\0".join((self._client.endpoint.url, target.bucket, target.key, os.path.abspath(path)))
        return self._states / hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:32]


async def abort_quietly(client: S3Client, target: Remote, upload: str) -> None:
    """Drops an upload in parts, in bounded time; when that fails too its parts stay until `frazil rm --uploads`."""
    with trio.CancelScope(shield=True, deadline=trio.current_time() + ABORT_TIMEOUT_S):
        try:
            await client.abort_upload(target.bucket, target.key, upload)
        except errors.FrazilError:
            return


class _Budget:
    """Bytes that may be held at once; one holder may exceed it alone."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._limit = limit
        self._changed = trio.Event()

    async def take(self, size: int) -> None:
        while self._free < size and self._free < self._limit:
            await self._changed.wait()
        self._free -= size

    def give(self, size: int) -> None:
        self._free += size
        self._changed.set()
        self._changed = trio.Event()


async def _read_part(descriptor: int, size: int) -> bytearray:
    """Fills a part from a pipe; shorter only at its end. In a thread, for a pipe blocks for as long as its writer thinks."""

    def read() -> bytearray:
        part = bytearray(size)
        filled = 0
        with memoryview(part) as view:
            while filled < size:
                count = os.readv(descriptor, [view[filled:]])
                if count == 0:
                    break
                filled += count
        del part[filled:]
        return part

    return await run_blocking(read, abandon=True)


def _load_state(path: Path, status: os.stat_result) -> UploadState | None:
    """The kept upload when it is of the file as it is now."""
    try:
        state = msgspec.json.decode(path.read_bytes(), type=UploadState)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return state if (state.size, state.mtime_ns) == (status.st_size, status.st_mtime_ns) else None


def _save_state(path: Path, state: UploadState) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_bytes(msgspec.json.encode(state))
