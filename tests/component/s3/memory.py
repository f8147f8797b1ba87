"""The object layer with contents in a dictionary, over the real metadata: what the gateway needs to be tested without disks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from meta.protocol import (
    NO_CONDITION,
    Attributes,
    Complete,
    Condition,
    DeleteRequest,
    DeleteResult,
    Meta,
    ObjectRow,
    PartRow,
    UploadRow,
)
from store.digests import Digests
from store.source import BytesSource, Source

PIECE_BYTES = 256 << 10


class MemoryStore:
    def __init__(self, meta: Meta) -> None:
        self.meta = meta
        self.contents: dict[str, bytes] = {}

    async def _take(self, source: Source) -> tuple[bytes, dict[str, bytes], dict[str, str]]:
        digests = Digests(source.digests)
        pieces: list[bytes] = []
        while True:
            buffer = bytearray(PIECE_BYTES)
            count = await source.fill(memoryview(buffer))
            pieces.append(bytes(buffer[:count]))
            digests.update(memoryview(buffer)[:count])
            if count < len(buffer):
                break
        found = digests.finish()
        return b"".join(pieces), found, source.complete(found)

    async def put_object(
        self,
        bucket: str,
        key: str,
        source: Source,
        *,
        attributes: Attributes,
        owner: str,
        storage_class: str = "STANDARD",
        condition: Condition = NO_CONDITION,
    ) -> ObjectRow:
        data, digests, checksums = await self._take(source)
        attributes = msgspec.structs.replace(attributes, checksums=checksums, checksum_type="FULL_OBJECT" if checksums else "")
        return await self._put(bucket, key, data, digests["md5"].hex(), attributes, owner, storage_class, condition)

    async def _put(
        self, bucket: str, key: str, data: bytes, etag: str, attributes: Attributes, owner: str, storage_class: str, condition: Condition
    ) -> ObjectRow:
        content = os.urandom(16).hex()
        row = ObjectRow(key, size=len(data), etag=etag, storage_class=storage_class, owner=owner, content=content, attributes=attributes)
        self.contents[content] = data
        result = await self.meta.container(bucket).put(row, condition)
        return msgspec.structs.replace(row, version=result.version, null=result.null, mtime_us=result.mtime_us)

    async def read_whole(self, row: ObjectRow) -> bytes:
        return self.contents[row.content]

    async def read(self, row: ObjectRow, start: int, stop: int, sink: Callable[[Any], Awaitable[None]]) -> None:
        data = memoryview(self.contents[row.content])
        for at in range(start, stop, PIECE_BYTES):
            await sink(data[at : min(at + PIECE_BYTES, stop)])

    async def copy_object(
        self,
        source: ObjectRow,
        source_bucket: str,
        bucket: str,
        key: str,
        *,
        attributes: Attributes,
        owner: str,
        storage_class: str,
        condition: Condition,
    ) -> ObjectRow:
        return await self._put(bucket, key, self.contents[source.content], source.etag, attributes, owner, storage_class, condition)

    async def delete_object(self, bucket: str, request: DeleteRequest) -> DeleteResult:
        return await self.meta.container(bucket).delete(request)

    async def delete_objects(self, bucket: str, requests: Sequence[DeleteRequest]) -> list[DeleteResult]:
        return await self.meta.container(bucket).delete_many(requests)

    async def create_upload(self, bucket: str, row: UploadRow) -> UploadRow:
        return await self.meta.container(bucket).create_upload(row)

    async def put_part(self, bucket: str, key: str, upload: UploadRow, part: int, source: Source) -> PartRow:
        data, digests, checksums = await self._take(source)
        content = os.urandom(16).hex()
        self.contents[content] = data
        row = PartRow(part, len(data), digests["md5"].hex(), content, checksums=checksums, mtime_us=1_700_000_000_000_000)
        await self.meta.container(bucket).put_part(key, upload.upload, row)
        return row

    async def copy_part(self, source: ObjectRow, start: int, stop: int, bucket: str, key: str, upload: UploadRow, part: int) -> PartRow:
        digests = frozenset({upload.checksum_algorithm}) if upload.checksum_algorithm else frozenset({"crc64nvme"})
        return await self.put_part(bucket, key, upload, part, BytesSource(self.contents[source.content][start:stop], digests))

    async def complete_upload(
        self,
        bucket: str,
        key: str,
        upload: str,
        parts: Sequence[tuple[int, str, dict[str, str]]],
        *,
        condition: Condition = NO_CONDITION,
        check: Callable[[UploadRow, Sequence[PartRow]], tuple[dict[str, str], str]],
    ) -> ObjectRow:
        container = self.meta.container(bucket)
        page = await container.list_parts(key, upload, 0, 10_000, layouts=True)
        known = {row.part: row for row in page.parts}
        rows = [known[number] for number, _, _ in parts]
        checksums, kind = check(page.upload, rows)
        etag = hashlib.md5(b"".join(bytes.fromhex(row.etag) for row in rows)).hexdigest() + f"-{len(rows)}"
        content = os.urandom(16).hex()
        self.contents[content] = b"".join(self.contents[row.content] for row in rows)
        attributes = msgspec.structs.replace(
            page.upload.attributes, checksums=checksums, checksum_type=kind, parts=tuple(row.size for row in rows)
        )
        row = ObjectRow(key, size=len(self.contents[content]), etag=etag, owner=page.upload.owner, content=content, attributes=attributes)
        result = await container.complete_upload(Complete(upload, row, tuple((row.part, row.content) for row in rows), condition))
        return msgspec.structs.replace(row, version=result.version, null=result.null, mtime_us=result.mtime_us)

    async def abort_upload(self, bucket: str, key: str, upload: str) -> None:
        await self.meta.container(bucket).abort_upload(key, upload)
