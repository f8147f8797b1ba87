"""What names chunks: for scrubs, repairs, record syncs and the rebuilding of metadata."""

from __future__ import annotations

import msgspec

from meta.protocol.bucket import BucketSettings
from meta.protocol.object import ObjectRow
from meta.protocol.upload import PartRow, UploadRow


class Restored(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A version as its chunks tell it. parts: ids of the parts' contents, comma between; moved: some chunk still names another key."""

    row: ObjectRow
    parts: str = ""
    moved: bool = False


class Refill(msgspec.Struct, frozen=True, omit_defaults=True):
    """Rows for a container that is rebuilt. parts: (upload, part); deletions: layouts; stale: (key, version) whose records differ;
    seq: the highest number that any record names."""

    objects: tuple[Restored, ...] = ()
    uploads: tuple[UploadRow, ...] = ()
    parts: tuple[tuple[str, PartRow], ...] = ()
    deletions: tuple[bytes, ...] = ()
    stale: tuple[tuple[str, int], ...] = ()
    seq: int = 0


class RecordToSync(msgspec.Struct, frozen=True):
    """A row whose chunks' records are out of date; `row` is the row as it is now (None: gone meanwhile, nothing to do).

    about_bucket: it is the bucket's settings that changed, to `settings`, or the bucket was removed (None).
    """

    id: int
    row: ObjectRow | None
    about_bucket: bool = False
    settings: BucketSettings | None = None


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a walk goes on: behind this version, or, once all versions are done, behind this part of an upload."""

    key: str = ""
    version: int = 0
    upload: str = ""
    part: int = 0


BEGIN = Cursor()


class Holding(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What names a content: a version (`row`), or a part of an upload (`upload`, `part`). With neither it waits for its deletion."""

    key: str
    layout: bytes
    row: ObjectRow | None = None
    upload: str = ""
    part: PartRow | None = None

    @property
    def cursor(self) -> Cursor:
        if self.part is not None:
            return Cursor(upload=self.upload, part=self.part.part)
        return Cursor(self.key, self.row.version if self.row is not None else 0)


class Claim(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What a chunk says of itself; version: of a delete marker, whose row names no content."""

    key: str
    content: str
    version: int = 0
