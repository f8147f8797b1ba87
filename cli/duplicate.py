"""An object to another object: inside one store without its bytes coming here, between two stores as a stream through this process."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import trio

from cli.address import Remote
from cli.answer import Part
from cli.client import S3Client
from cli.connection import Head
from cli.meter import Meter
from cli.upload import PART_BYTES, PARTS_MAX, SINGLE_BYTES_MAX, MeteredBody, abort_quietly, file_part_bytes
from node import errors

COPY_BYTES_MAX = 5 << 30
"""S3's limit of one CopyObject; above, parts are copied."""
COPY_PART_BYTES = 1 << 30
_OF_THE_COPY = ("x-amz-storage-class", "x-amz-server-side-encryption")
"""Headers that begin like this say how the copy is kept, not what it says of itself."""
_KEPT_HEADERS = ("content-type", "cache-control", "content-disposition", "content-encoding", "content-language", "expires")


class RangeBody:
    """A range of an object in another store, as the body of an upload."""

    def __init__(self, client: S3Client, source: Remote, start: int, size: int, etag: str) -> None:
        self._client, self._source, self._start, self._etag = client, source, start, etag
        self.size = size

    async def pieces(self) -> AsyncIterator[bytes]:
        left = self.size
        async with self._client.get(
            self._source.bucket, self._source.key, start=self._start, stop=self._start + self.size, etag=self._etag
        ) as download:
            async for piece in download.pieces:
                left -= len(piece)
                yield piece
        if left:
            raise errors.BodyIncomplete(f"{self._source} ended {left} bytes early")

    def checksum(self) -> str:
        return ""


class Duplicator:
    """Copies objects from one client's store to another's (or the same)."""

    def __init__(self, source: S3Client, target: S3Client, limiter: trio.Semaphore, meter: Meter) -> None:
        self._source = source
        self._target = target
        self._limiter = limiter
        self._meter = meter

    async def copy(self, source: Remote, size: int, target: Remote, headers: Mapping[str, str]) -> None:
        """Raises: FrazilError; an upload in parts that was begun is aborted then."""
        if self._source is self._target:
            await self._inside(source, size, target, headers)
        else:
            await self._between(source, target, headers)

    async def _inside(self, source: Remote, size: int, target: Remote, headers: Mapping[str, str]) -> None:
        where = (source.bucket, source.key)
        if size <= COPY_BYTES_MAX:
            async with self._limiter:
                await self._target.copy(where, target.bucket, target.key, await self._replaced(source, headers))
            self._meter.advance(size)
            return
        head = await self._source.head(source.bucket, source.key)

        async def copy_part(number: int, start: int, stop: int, upload: str) -> Part:
            part = await self._target.copy_part(where, start, stop, target.bucket, target.key, upload, number)
            self._meter.advance(stop - start)
            return part

        step = max(COPY_PART_BYTES, math.ceil(head.size / PARTS_MAX))
        await self._in_parts(target, {**kept_headers(head), **headers}, head.size, step, copy_part)

    async def _replaced(self, source: Remote, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Headers for CopyObject: S3 keeps all of the source's or none, so what is not given has to be given again."""
        if all(name.startswith(_OF_THE_COPY) for name in headers):
            return headers
        head = await self._source.head(source.bucket, source.key)
        return {**kept_headers(head), **headers, "x-amz-metadata-directive": "REPLACE"}

    async def _between(self, source: Remote, target: Remote, headers: Mapping[str, str]) -> None:
        head = await self._source.head(source.bucket, source.key)
        headers = {**kept_headers(head), **headers}

        def body(start: int, stop: int) -> MeteredBody:
            return MeteredBody(RangeBody(self._source, source, start, stop - start, head.etag), self._meter)

        async def send_part(number: int, start: int, stop: int, upload: str) -> Part:
            return await self._target.put_part(target.bucket, target.key, upload, number, body(start, stop))

        if head.size <= SINGLE_BYTES_MAX:
            async with self._limiter:
                await self._target.put(target.bucket, target.key, body(0, head.size), headers)
        else:
            await self._in_parts(target, headers, head.size, max(PART_BYTES, file_part_bytes(head.size)), send_part)

    async def _in_parts(
        self, target: Remote, headers: Mapping[str, str], size: int, step: int, send: Callable[[int, int, int, str], Awaitable[Part]]
    ) -> None:
        upload = await self._target.create_upload(target.bucket, target.key, headers)
        parts: list[Part] = []

        async def one(number: int, start: int) -> None:
            try:
                parts.append(await send(number, start, min(start + step, size), upload))
            finally:
                self._limiter.release()

        try:
            async with trio.open_nursery() as nursery:
                for number, start in enumerate(range(0, size, step), 1):
                    await self._limiter.acquire()
                    nursery.start_soon(one, number, start)
            await self._target.complete_upload(target.bucket, target.key, upload, parts)
        except BaseException:
            await abort_quietly(self._target, target, upload)
            raise


def kept_headers(head: Head) -> dict[str, str]:
    """What of a source's headers its copy gets too."""
    kept = {name: head.headers[name] for name in _KEPT_HEADERS if name in head.headers}
    return kept | {name: value for name, value in head.headers.items() if name.startswith("x-amz-meta-")}
