"""The HTTP service in front of the volumes of one process. See README.md for the calls.

Everything is signed with the namespace's key, streamed bodies by a trailer; the target names the volume, so that a call meant for
another one is refused.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar
from urllib.parse import parse_qs

import msgspec
import trio
import xxhash

from node.auth import NamespaceKey, Proof, Verifier
from node.buffers import BufferPool
from node.errors import (
    BadRequest,
    BodyTooLarge,
    ChecksumMismatch,
    InvalidArgument,
    NotFound,
    VolumeNotFound,
)
from node.http.body import Body
from node.http.limits import Limits
from node.http.message import Request
from node.http.reply import Reply
from rawx.chunk import ChunkRecord
from rawx.openings import Openings
from rawx.protocol import Reader, Upload
from rawx.volume import Volume

T = TypeVar("T")

API = b"/rawx/1/"
LIMITS = Limits(header_bytes_max=256 << 10, target_bytes_max=1024)
"""Record and unit checksums travel as trailers: 64 KiB of checksums and a record of 32 KiB, in base64, with room."""
BODY_BYTES_MAX = 1 << 20
"""JSON bodies: lists of chunks, records."""
PIECE_BYTES = 1 << 20
WHOLE_BYTES_MAX = 2 << 20
"""A range up to this size is verified whole before the first byte of the answer; damage in a longer one ends the connection."""
EXAMINED_AT_ONCE_MAX = 200
"""Their records fill a few MiB of an answer at the most."""
POOL_BYTES = 64 << 20
TIDY_S = 5.0
CHECKSUM_TRAILER = b"x-frazil-checksum"
"""XXH3, 128 bits, hex, over the body: what arrived is what was sent. The trailer's proof binds it to the caller."""
RECORD_TRAILER = b"x-frazil-record"
UNITS_TRAILER = b"x-frazil-units"
JSON = (b"content-type", b"application/json")
BYTES = (b"content-type", b"application/octet-stream")
_RANGE = re.compile(rb"bytes=([0-9]{1,19})-([0-9]{1,19})")


class Deleted(msgspec.Struct, frozen=True):
    """failed: the chunks that could not be deleted."""

    failed: list[str]


class Examine(msgspec.Struct, frozen=True):
    chunks: list[str]
    deep: bool


class Reason(msgspec.Struct, frozen=True):
    reason: str


def to_base64(data: bytes) -> bytes:
    return base64.b64encode(data)


def from_base64(data: bytes | None, what: str) -> bytes:
    """Raises: InvalidArgument."""
    try:
        return base64.b64decode(data or b"", validate=True)
    except binascii.Error as error:
        raise InvalidArgument(f"{what} is no base64") from error


class Call:
    """One authenticated request to one volume: path parts after the volume's id, query, proof."""

    __slots__ = ("parts", "proof", "query", "reply", "request", "volume")

    def __init__(self, volume: Volume, parts: list[str], request: Request, reply: Reply, proof: Proof) -> None:
        self.volume = volume
        self.parts = parts
        self.request = request
        self.reply = reply
        self.proof = proof
        self.query = parse_qs(request.raw_query.decode("ascii"), strict_parsing=bool(request.raw_query), max_num_fields=8)

    def argument(self, name: str, default: str | None = None) -> str:
        """Raises: InvalidArgument when it is missing."""
        found = self.query.get(name)
        if found is None and default is not None:
            return default
        if found is None or len(found) != 1:
            raise InvalidArgument(f"the call needs one {name}")
        return found[0]

    def number(self, name: str, default: str | None = None) -> int:
        text = self.argument(name, default)
        if not text.isascii() or not text.isdigit() or len(text) > 19:
            raise InvalidArgument(f"{name} is no number")
        return int(text)

    def checksum(self) -> bytes:
        try:
            return bytes.fromhex(self.argument("checksum"))
        except ValueError as error:
            raise InvalidArgument("checksum is no hex") from error

    async def body(self, kind: type[T]) -> T:
        """The JSON body, held against the proof. Raises: InvalidArgument, BodyTooLarge, CallNotAuthenticated."""
        data = await self.request.body.read(BODY_BYTES_MAX)
        self.proof.check_body(data)
        try:
            return msgspec.json.decode(data, type=kind)
        except msgspec.DecodeError as error:
            raise InvalidArgument(f"the body is not readable: {error}") from error

    async def no_body(self) -> None:
        self.proof.check_body(await self.request.body.read(0))

    async def answer(self, value: object) -> None:
        await self.reply.whole(200, [JSON], msgspec.json.encode(value))


class RawxService:
    """Handler for node.http.server.serve."""

    def __init__(self, volumes: Mapping[str, Volume], key: NamespaceKey, *, pool: BufferPool | None = None) -> None:
        self._volumes = volumes
        self._verifier = Verifier(key)
        self._pool = pool or BufferPool(POOL_BYTES)
        self._openings = Openings()
        self._routes: dict[tuple[str, str, int], Callable[[Call], Awaitable[None]]] = {
            ("PUT", "chunk", 2): self._put,
            ("GET", "chunk", 2): self._get,
            ("HEAD", "chunk", 2): self._size,
            ("DELETE", "chunk", 2): self._delete_one,
            ("GET", "record", 2): self._head,
            ("POST", "record", 2): self._update,
            ("POST", "copy", 3): self._copy,
            ("POST", "quarantine", 2): self._quarantine,
            ("GET", "quarantined", 1): self._quarantined,
            ("POST", "purge", 1): self._purge,
            ("POST", "delete", 1): self._delete,
            ("GET", "list", 1): self._list,
            ("POST", "examine", 1): self._examine,
            ("GET", "noted", 1): self._noted,
            ("GET", "recent", 1): self._recent,
            ("POST", "settle", 1): self._settle,
            ("POST", "retire", 1): self._retire,
            ("GET", "stat", 1): self._stat,
        }

    def __repr__(self) -> str:
        return f"<RawxService volumes={sorted(self._volumes)}>"

    async def keep_tidy(self) -> None:
        """Closes chunks that nobody reads any more, for ever."""
        try:
            while True:
                await trio.sleep(TIDY_S)
                await self._openings.expire()
        finally:
            with trio.CancelScope(shield=True):
                await self._openings.aclose()

    async def __call__(self, request: Request, reply: Reply) -> None:
        """Raises: what the volume raises; the server tells it to the caller."""
        proof = self._verifier.verify(request)
        path = request.raw_path
        if not path.startswith(API):
            raise NotFound("no such call")
        volume_id, *parts = path[len(API) :].decode("ascii").split("/")
        volume = self._volumes.get(volume_id)
        if volume is None:
            raise VolumeNotFound(f"volume {volume_id} is not served here")
        route = self._routes.get((request.method, parts[0] if parts else "", len(parts)))
        if route is None:
            raise NotFound("no such call")
        try:
            call = Call(volume, parts, request, reply, proof)
        except ValueError as error:
            raise InvalidArgument(f"the query is not readable: {error}") from error
        await route(call)

    async def _put(self, call: Call) -> None:
        """A body of less than one piece becomes a put (and shares its sync), a longer one an upload."""
        body, volume, chunk = call.request.body, call.volume, call.parts[1]
        volume.health.admit_write()
        hasher = xxhash.xxh3_128()
        async with self._pool.take(PIECE_BYTES) as buffer:
            count = await body.fill(buffer)
            hasher.update(buffer[:count])
            if count < PIECE_BYTES:
                record, units = self._end(call, count, hasher.digest())
                await volume.put(chunk, bytes(buffer[:count]), record, units)
            else:
                upload = await volume.create(chunk, 0)
                try:
                    size = await self._stream(body, upload, buffer, hasher)
                    await upload.commit(*self._end(call, size, hasher.digest()))
                finally:
                    await upload.abort()
        await call.reply.whole(201, [])

    async def _stream(self, body: Body, upload: Upload, buffer: memoryview, hasher: xxhash.xxh3_128) -> int:
        """Writes the full `buffer` and all that follows; the bytes written."""
        size = count = len(buffer)
        while count:
            await upload.write(buffer[:count])
            count = await body.fill(buffer)
            hasher.update(buffer[:count])
            size += count
        return size

    def _end(self, call: Call, size: int, checksum: bytes) -> tuple[ChunkRecord, bytes]:
        """Record and unit checksums that came after the bytes, when all of it is the caller's and the bytes are those it sent.

        Raises: CallNotAuthenticated, ChecksumMismatch, InvalidArgument, RecordCorrupt.
        """
        trailers = call.request.body.trailers
        call.proof.check_trailers(size, trailers.lines)
        if trailers.get(CHECKSUM_TRAILER) != checksum.hex().encode():
            raise ChecksumMismatch("the bytes that came are not the bytes that were sent")
        record = ChunkRecord.parse(from_base64(trailers.get(RECORD_TRAILER), "the record"))
        return record, from_base64(trailers.get(UNITS_TRAILER), "the unit checksums")

    async def _get(self, call: Call) -> None:
        """With size and checksum: a small chunk whole. With a checksum and perhaps a Range: units, verified."""
        await call.no_body()
        chunk = call.parts[1]
        if "size" in call.query:
            size = call.number("size")
            if size > WHOLE_BYTES_MAX:
                raise BodyTooLarge(f"a chunk of {size} bytes is read by ranges")
            await call.reply.whole(200, [BYTES], await call.volume.get(chunk, size, call.checksum()))
            return
        checksum = call.checksum() if "checksum" in call.query else None
        if checksum is None:
            stat = await call.volume.head(chunk, deep=False)
            checksum = bytes.fromhex(stat.record.checksum)
        async with self._openings.use(call.volume, chunk, checksum) as reader:
            await self._send_range(call, reader)

    async def _send_range(self, call: Call, reader: Reader) -> None:
        begin, end = _range(call.request.headers.get(b"range"), reader.size)
        partial = [(b"content-range", b"bytes %d-%d/%d" % (begin, end - 1, reader.size))] if end - begin < reader.size else []
        status = 206 if partial else 200
        if begin == end:
            await call.reply.whole(status, [BYTES])
            return
        unit = reader.unit_bytes
        first = begin // unit * unit
        step = max(WHOLE_BYTES_MAX // unit, 1) * unit
        async with self._pool.take(min(step, -(-(end - first) // unit) * unit)) as buffer:
            for at in range(first, end, step):
                stop = min(at + step, -(-end // unit) * unit, reader.size)
                piece = buffer[: stop - at]
                await reader.read(at, piece)
                if at == first:
                    await call.reply.start(status, [BYTES, *partial], length=end - begin)
                await call.reply.send(piece[max(begin - at, 0) : end - at])
        await call.reply.finish()

    async def _size(self, call: Call) -> None:
        await call.no_body()
        stat = await call.volume.head(call.parts[1], deep=False)
        await call.reply.whole(200, [BYTES], content_length=stat.size)

    async def _head(self, call: Call) -> None:
        await call.no_body()
        await call.answer(await call.volume.head(call.parts[1], deep=call.argument("deep", "0") == "1"))

    async def _update(self, call: Call) -> None:
        await call.volume.update(call.parts[1], await call.body(ChunkRecord))
        await call.reply.whole(204, [])

    async def _copy(self, call: Call) -> None:
        await call.volume.copy(call.parts[1], call.parts[2], await call.body(ChunkRecord))
        await call.reply.whole(201, [])

    async def _quarantine(self, call: Call) -> None:
        await call.volume.quarantine(call.parts[1], (await call.body(Reason)).reason)
        await call.reply.whole(204, [])

    async def _quarantined(self, call: Call) -> None:
        await call.no_body()
        await call.answer(await call.volume.quarantined(call.argument("after", ""), call.number("limit", "1000")))

    async def _purge(self, call: Call) -> None:
        await call.volume.purge(await call.body(list[str]))
        await call.reply.whole(204, [])

    async def _delete_one(self, call: Call) -> None:
        await call.no_body()
        await call.answer(Deleted(await call.volume.delete([call.parts[1]])))

    async def _delete(self, call: Call) -> None:
        await call.answer(Deleted(await call.volume.delete(await call.body(list[str]))))

    async def _list(self, call: Call) -> None:
        await call.no_body()
        await call.answer(await call.volume.list(call.argument("after", ""), call.number("limit", "1000")))

    async def _examine(self, call: Call) -> None:
        asked = await call.body(Examine)
        if len(asked.chunks) > EXAMINED_AT_ONCE_MAX:
            raise InvalidArgument(f"at most {EXAMINED_AT_ONCE_MAX} chunks are examined in one call")
        await call.answer(await call.volume.examine(asked.chunks, deep=asked.deep))

    async def _noted(self, call: Call) -> None:
        await call.no_body()
        await call.answer(await call.volume.noted())

    async def _recent(self, call: Call) -> None:
        await call.no_body()
        await call.answer(await call.volume.recent())

    async def _settle(self, call: Call) -> None:
        await call.volume.settle(await call.body(list[str]))
        await call.reply.whole(204, [])

    async def _retire(self, call: Call) -> None:
        await call.answer(await call.volume.retire(await call.body(bool)))

    async def _stat(self, call: Call) -> None:
        await call.no_body()
        await call.answer(await call.volume.stat())


def _range(header: bytes | None, size: int) -> tuple[int, int]:
    """Begin and end of `bytes=first-last`, the whole without one. Raises: BadRequest for what starts beyond the chunk."""
    if header is None:
        return 0, size
    match = _RANGE.fullmatch(header)
    if match is None:
        raise InvalidArgument("a range is bytes=first-last")
    begin, end = int(match[1]), min(int(match[2]) + 1, size)
    if begin >= end:
        raise BadRequest(f"the range begins beyond the chunk's {size} bytes or after its own end")
    return begin, end
