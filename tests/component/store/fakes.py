"""Stand-ins for the neighbours of the object layer."""

from __future__ import annotations

import msgspec

from meta.protocol import (
    NO_CONDITION,
    Condition,
    DeleteRequest,
    DeleteResult,
    Dropped,
    ObjectRow,
    PutResult,
)
from node.errors import BucketNotFound, ObjectNotFound, PreconditionFailed
from store.source import BytesSource


class FakeContainer:
    """One unversioned bucket in memory: as much of meta.protocol.Container as the data path needs."""

    def __init__(self) -> None:
        self.rows: dict[str, ObjectRow] = {}
        self.dropped: dict[int, Dropped] = {}
        self.failure: Exception | None = None
        self._next = 0

    def _drop(self, layout: bytes) -> Dropped:
        self._next += 1
        self.dropped[self._next] = Dropped(self._next, layout)
        return self.dropped[self._next]

    async def get(self, key: str, version: int | None = None) -> ObjectRow:
        if key not in self.rows:
            raise ObjectNotFound(key)
        return self.rows[key]

    async def put(self, row: ObjectRow, condition: Condition = NO_CONDITION) -> PutResult:
        if self.failure is not None:
            raise self.failure
        old = self.rows.get(row.key)
        if condition.if_none_match and old is not None:
            raise PreconditionFailed("exists")
        self.rows[row.key] = row
        dropped = (self._drop(old.layout),) if old is not None else ()
        return PutResult(row.version, row.null, row.mtime_us, dropped)

    async def delete(self, request: DeleteRequest) -> DeleteResult:
        old = self.rows.pop(request.key, None)
        return DeleteResult(request.key, dropped=(self._drop(old.layout),) if old is not None else ())

    async def knows(self, key: str, content: str) -> bool:
        return any(row.content == content for row in self.rows.values())

    async def add_deletion(self, layout: bytes) -> Dropped:
        return self._drop(layout)

    async def deletions(self, limit: int) -> list[Dropped]:
        return list(self.dropped.values())[:limit]

    async def deletions_done(self, ids: list[int]) -> None:
        for each in ids:
            del self.dropped[each]

    async def records_to_sync(self, limit: int) -> list[object]:
        return []


class FakeMeta:
    def __init__(self, *buckets: str) -> None:
        self.containers = {name: FakeContainer() for name in buckets}

    def container(self, bucket: str) -> FakeContainer:
        if bucket not in self.containers:
            raise BucketNotFound(bucket)
        return self.containers[bucket]

    async def dirty_containers(self) -> list[str]:
        return [name for name, container in self.containers.items() if container.dropped]


class ChoppySource(BytesSource):
    """Says no length."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.length = None


def changed(row: ObjectRow, **fields: object) -> ObjectRow:
    return msgspec.structs.replace(row, **fields)
