"""Uploads of a store that this process has opened, for files that are larger than the spool."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

import msgspec

from fs.connection import Describe, MakeSource, Rules, of_a_new_object
from meta.protocol.object import Attributes, ObjectRow
from meta.protocol.upload import PARTS_MAX, PartRow, UploadRow
from store.envelope import envelope_of, with_parts
from store.store import Store
from store.window import Window


class StoreUploads:
    """Implements fs.stage.Uploads."""

    def __init__(self, store: Store, rules: Rules) -> None:
        self._store, self._rules = store, rules

    def __repr__(self) -> str:
        return f"<StoreUploads {self._store!r}>"

    async def begin(self, bucket: str, key: str, attributes: Attributes) -> UploadRow:
        settings = await self._store.meta.container(bucket).settings()
        attributes = of_a_new_object(attributes)
        envelope = self._rules.default_envelope(settings)
        if envelope is not None:
            envelope, _ = await self._store.vault.seal(envelope)
            attributes = envelope.into(attributes)
        started_us = time.time_ns() // 1_000
        return await self._store.create_upload(
            bucket, UploadRow(os.urandom(16).hex(), key, started_us, settings.owner, attributes=attributes)
        )

    async def part(self, bucket: str, upload: UploadRow, number: int, source: MakeSource) -> PartRow:
        return await self._store.put_part(bucket, upload.key, upload, number, source(), data_key=await self._data_key(upload))

    async def parts(self, bucket: str, key: str, upload: str) -> tuple[UploadRow, Sequence[PartRow]]:
        page = await self._store.meta.container(bucket).list_parts(key, upload, 0, PARTS_MAX, layouts=True)
        return page.upload, page.parts

    async def window(self, bucket: str, upload: UploadRow, part: PartRow) -> AbstractAsyncContextManager[Window]:
        """As of the object that the part would be by itself."""
        attributes = msgspec.structs.replace(with_parts(upload.attributes, [part.part]), parts=(part.size,))
        row = ObjectRow(upload.key, size=part.size, content=part.content, layout=part.layout, attributes=attributes)
        return self._store.window(row, bucket=bucket, data_key=await self._data_key(upload))

    async def complete(self, bucket: str, upload: UploadRow, parts: Sequence[PartRow], describe: Describe) -> ObjectRow:
        wanted = [(part.part, part.etag, dict[str, str]()) for part in parts]
        return await self._store.complete_upload(bucket, upload.key, upload.upload, wanted, describe=describe)

    async def abort(self, bucket: str, upload: UploadRow) -> None:
        await self._store.abort_upload(bucket, upload.key, upload.upload)

    async def _data_key(self, upload: UploadRow) -> bytes:
        envelope = envelope_of(upload.attributes)
        return await self._store.vault.open(envelope) if envelope is not None else b""
