"""A volume on another host (or in another process): rawx.protocol.Rawx over HTTP. Every wait is bounded; bytes are verified here again."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import TypeVar
from urllib.parse import urlencode

import msgspec
import xxhash

from node.errors import (
    BodyIncomplete,
    ChunkCorrupt,
    InvalidArgument,
    PeerUnreachable,
)
from node.http.client import Client, Put
from rawx.attributes import check_units
from rawx.chunk import UNIT_DIGEST_BYTES, Buffer, ChunkRecord, check_chunk_id, chunk_checksum, unit_digests
from rawx.protocol import ChunkStat, Examined, ExaminedChunks, ListPage, QuarantinedChunk, VolumeStat
from rawx.reader import check_range
from rawx.service import (
    API,
    CHECKSUM_TRAILER,
    EXAMINED_AT_ONCE_MAX,
    RECORD_TRAILER,
    UNITS_TRAILER,
    WHOLE_BYTES_MAX,
    Deleted,
    Examine,
    Reason,
    to_base64,
)

T = TypeVar("T")

CALL_TIMEOUT_S = 40.0
"""A little more than the service itself waits for its disk: so its reason arrives, not just silence."""
DEEP_TIMEOUT_S = 600.0
"""A call that reads or copies a whole chunk on the other side."""
ANSWER_BYTES_MAX = 8 << 20
DELETE_BATCH_MAX = 1000


class RemoteRawx:
    """One volume behind a RawxService at `address` ("host:port" or "unix:/path")."""

    def __init__(self, client: Client, address: str, volume_id: str) -> None:
        self.volume_id = volume_id
        self._client = client
        self.address = address
        self._prefix = API.decode() + volume_id

    def __repr__(self) -> str:
        return f"<RemoteRawx {self.volume_id} at {self.address}>"

    def target(self, *parts: str, **query: object) -> str:
        return "/".join((self._prefix, *parts)) + (f"?{urlencode(query)}" if query else "")

    async def call(self, method: str, target: str, body: bytes = b"", *, timeout_s: float = CALL_TIMEOUT_S) -> bytes:
        """The answer's body. Raises: what the volume raised; PeerUnreachable, DeadlineExceeded."""
        try:
            async with await self._client.request(method, self.address, target, body=body, timeout_s=timeout_s) as response:
                await response.raise_for_error()
                return await response.read(ANSWER_BYTES_MAX)
        except BodyIncomplete as error:
            raise PeerUnreachable(f"{self.address} stopped in the middle of its answer") from error

    async def ask(self, target: str, kind: type[T], *, timeout_s: float = CALL_TIMEOUT_S) -> T:
        return _decode(await self.call("GET", target, timeout_s=timeout_s), kind)

    async def read_into(self, target: str, into: memoryview, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        """Fills `into` with the answer's body, which has just that size. Raises: as call."""
        try:
            async with await self._client.request("GET", self.address, target, headers=headers, timeout_s=CALL_TIMEOUT_S) as response:
                await response.raise_for_error()
                if response.content_length != len(into):
                    raise ChunkCorrupt(f"{self.address} answers {response.content_length} bytes, not {len(into)}")
                if await response.fill(into) != len(into):
                    raise PeerUnreachable(f"{self.address} stopped in the middle of its answer")
        except BodyIncomplete as error:
            raise PeerUnreachable(f"{self.address} stopped in the middle of its answer") from error

    async def put(self, chunk: str, data: Buffer, record: ChunkRecord, units: bytes) -> None:
        check_chunk_id(chunk)
        check_units(record, len(data), units)
        upload = RemoteUpload(self, chunk)
        try:
            await upload.write(data)
            await upload.commit(record, units)
        finally:
            await upload.abort()

    async def create(self, chunk: str, size_hint: int) -> RemoteUpload:
        return RemoteUpload(self, check_chunk_id(chunk))

    async def open_put(self, chunk: str) -> Put:
        return await self._client.open_put(self.address, self.target("chunk", chunk), length=None, timeout_s=CALL_TIMEOUT_S)

    async def get(self, chunk: str, size: int, checksum: bytes) -> bytes:
        data = bytearray(size)
        await self.read_into(self.target("chunk", check_chunk_id(chunk), size=size, checksum=checksum.hex()), memoryview(data))
        if chunk_checksum(unit_digests(data, max(size, 1))) != checksum:
            raise ChunkCorrupt(f"chunk {chunk}: wrong checksum after the way from {self.address}")
        return bytes(data)

    def get_now(self, chunk: str, size: int, checksum: bytes) -> bytes | None:
        return None

    async def open(self, chunk: str, checksum: bytes) -> RemoteReader:
        stat = await self.head(chunk, deep=False)
        if chunk_checksum(stat.units) != checksum:
            raise ChunkCorrupt(f"chunk {chunk}: its unit checksums are not those that belong to it")
        return RemoteReader(self, chunk, checksum, stat)

    async def head(self, chunk: str, *, deep: bool) -> ChunkStat:
        timeout_s = DEEP_TIMEOUT_S if deep else CALL_TIMEOUT_S
        return await self.ask(self.target("record", check_chunk_id(chunk), deep=int(deep)), ChunkStat, timeout_s=timeout_s)

    async def update(self, chunk: str, record: ChunkRecord) -> None:
        await self.call("POST", self.target("record", check_chunk_id(chunk)), record.encode())

    async def copy(self, source: str, target: str, record: ChunkRecord) -> None:
        path = self.target("copy", check_chunk_id(source), check_chunk_id(target))
        await self.call("POST", path, record.encode(), timeout_s=DEEP_TIMEOUT_S)

    async def delete(self, chunks: Sequence[str]) -> builtins.list[str]:
        failed: builtins.list[str] = []
        for chunk in chunks:
            check_chunk_id(chunk)
        for at in range(0, len(chunks), DELETE_BATCH_MAX):
            body = msgspec.json.encode(list(chunks[at : at + DELETE_BATCH_MAX]))
            failed += _decode(await self.call("POST", self.target("delete"), body), Deleted).failed
        return failed

    async def list(self, after: str, limit: int) -> ListPage:
        if limit < 1:
            raise InvalidArgument("a page lists at least one chunk")
        return await self.ask(self.target("list", after=after, limit=limit), ListPage)

    async def examine(self, chunks: Sequence[str], *, deep: bool) -> ExaminedChunks:
        found: builtins.list[Examined] = []
        for at in range(0, len(chunks), EXAMINED_AT_ONCE_MAX):
            body = msgspec.json.encode(Examine([check_chunk_id(chunk) for chunk in chunks[at : at + EXAMINED_AT_ONCE_MAX]], deep))
            answer = await self.call("POST", self.target("examine"), body, timeout_s=DEEP_TIMEOUT_S if deep else CALL_TIMEOUT_S)
            found += _decode(answer, builtins.list[Examined])
        return found

    async def noted(self) -> builtins.list[str]:
        return await self.ask(self.target("noted"), builtins.list[str])

    async def recent(self) -> builtins.list[str]:
        return await self.ask(self.target("recent"), builtins.list[str])

    async def settle(self, chunks: Sequence[str]) -> None:
        for at in range(0, len(chunks), DELETE_BATCH_MAX):
            await self.call("POST", self.target("settle"), msgspec.json.encode(chunks[at : at + DELETE_BATCH_MAX]))

    async def retire(self, retired: bool) -> builtins.list[str]:
        return _decode(await self.call("POST", self.target("retire"), msgspec.json.encode(retired)), builtins.list[str])

    async def quarantine(self, chunk: str, reason: str) -> None:
        await self.call("POST", self.target("quarantine", check_chunk_id(chunk)), msgspec.json.encode(Reason(reason)))

    async def quarantined(self, after: str, limit: int) -> builtins.list[QuarantinedChunk]:
        return await self.ask(self.target("quarantined", after=after, limit=limit), builtins.list[QuarantinedChunk])

    async def purge(self, names: Sequence[str]) -> None:
        for at in range(0, len(names), DELETE_BATCH_MAX):
            await self.call("POST", self.target("purge"), msgspec.json.encode(names[at : at + DELETE_BATCH_MAX]))

    async def stat(self) -> VolumeStat:
        return await self.ask(self.target("stat"), VolumeStat)


class RemoteUpload:
    """Upload over HTTP (protocol: rawx.protocol.Upload): one streamed PUT, begun by the first write. One caller at a time."""

    def __init__(self, volume: RemoteRawx, chunk: str) -> None:
        self._volume = volume
        self._chunk = chunk
        self._put: Put | None = None
        self._hasher = xxhash.xxh3_128()
        self._written = 0
        self._over = False

    def __repr__(self) -> str:
        return f"<RemoteUpload {self._chunk} written={self._written} over={self._over}>"

    async def write(self, data: Buffer) -> None:
        put = await self._begin()
        self._hasher.update(data)
        self._written += len(data)
        try:
            await put.send(data)
        except BaseException:  # some of it may have gone: nothing more can follow
            self._over = True
            raise

    async def commit(self, record: ChunkRecord, units: bytes) -> None:
        if record.size != self._written:
            raise InvalidArgument(f"the record says {record.size} bytes, {self._written} were written")
        check_units(record, self._written, units)
        put = await self._begin()
        trailers = [
            (CHECKSUM_TRAILER, self._hasher.hexdigest().encode()),
            (RECORD_TRAILER, to_base64(record.encode())),
            (UNITS_TRAILER, to_base64(units)),
        ]
        self._over = True
        async with await put.finish(trailers) as response:
            await response.raise_for_error()

    async def abort(self) -> None:
        self._over = True
        if self._put is not None:
            self._put.abort()

    async def _begin(self) -> Put:
        if self._over:
            raise InvalidArgument("the upload is over")
        if self._put is None:
            self._put = await self._volume.open_put(self._chunk)
        return self._put


class RemoteReader:
    """Reader over HTTP (protocol: rawx.protocol.Reader): ranges that the other side verifies and this side verifies again."""

    def __init__(self, volume: RemoteRawx, chunk: str, checksum: bytes, stat: ChunkStat) -> None:
        self._volume = volume
        self._chunk = chunk
        self._target = volume.target("chunk", chunk, checksum=checksum.hex())
        self.size = stat.size
        self.unit_bytes = stat.record.unit_bytes
        self.units = stat.units

    def __repr__(self) -> str:
        return f"<RemoteReader {self._chunk} size={self.size} unit_bytes={self.unit_bytes}>"

    async def read(self, offset: int, into: memoryview) -> None:
        check_range(self, offset, len(into))
        step = max(WHOLE_BYTES_MAX // self.unit_bytes, 1) * self.unit_bytes
        for at in range(0, len(into), step):
            piece = into[at : at + step]
            begin = offset + at
            await self._volume.read_into(self._target, piece, [(b"range", b"bytes=%d-%d" % (begin, begin + len(piece) - 1))])
            first = begin // self.unit_bytes * UNIT_DIGEST_BYTES
            digests = unit_digests(piece, self.unit_bytes)
            if digests != self.units[first : first + len(digests)]:
                raise ChunkCorrupt(f"chunk {self._chunk}: wrong checksum in the {len(piece)} bytes at {begin}")

    async def aclose(self) -> None:
        """Nothing is held between reads."""


def _decode(data: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise PeerUnreachable(f"the peer's answer is not readable: {error}") from error
