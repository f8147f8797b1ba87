"""What every operation of one process's object layer shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import trio

from meta.protocol.bucket import BucketSettings
from meta.protocol.container import Container
from meta.protocol.door import Meta
from meta.protocol.object import ObjectRow
from node.buffers import BufferPool
from node.clock import Clock
from node.errors import BadRequest, Conflict, Denied, FrazilError, NotFound
from node.log import get_logger
from rawx.chunk import ChunkRecord, new_chunk_id
from store.afterwork import Afterwork
from store.content import ContentWriter
from store.debts import Debts
from store.delete import Place
from store.fleet import Fleet
from store.layout import Layout, layout_of_places
from store.policy import STORAGE_POLICY, PolicySet
from store.tier import InPlace, Tier
from store.vault import Vault

DOUBT_TIMEOUT_S = 10.0
"""Bound on asking what became of a commit whose answer was lost."""
NULLS_MAX = 10_000
"""Buckets whose versioning is remembered."""
log = get_logger("store")

REFUSALS = (BadRequest, Conflict, NotFound, Denied)
"""Answers of the metadata after which it is certain that nothing was changed."""


@dataclass(slots=True)
class Context:
    """The parts of a Store, for its operations. Only the event loop's thread touches it.

    vault           keys of what is encrypted
    writes, reads   memory for bodies on their way in and out: apart, so that slow readers never stop writes
    repairs         memory for chunks that are written anew
    home            the store's first directory, where this process may keep files of its own
    remote_meta     the metadata is another process's: an answer may be lost and the change still happen
    many_gateways   processes of other hosts write here too, and the volumes' journals hold what theirs have in flight
    reading_s       chunks of what was deleted stay so long, for those who read them by way of other hosts
    caretaking      this process does now what one process does for all
    classes         policies of storage classes that have their own
    tier            what is asked when bytes are to leave the volumes or come back
    debts           what mounts of this host have answered and not stored yet
    """

    meta: Meta
    fleet: Fleet
    policies: PolicySet
    vault: Vault
    writes: BufferPool
    reads: BufferPool
    repairs: BufferPool
    clock: Clock
    afterwork: Afterwork
    home: Path
    remote_meta: bool = False
    many_gateways: bool = False
    reading_s: float = 0.0
    caretaking: bool = False
    classes: dict[str, PolicySet] = field(default_factory=dict)
    tier: Tier = field(default_factory=InPlace)
    debts: Debts = field(default_factory=lambda: Debts(None))
    _stamp: int = 0
    _nulls: dict[str, bool] | None = None

    def container(self, bucket: str) -> Container:
        return self.meta.container(bucket)

    def policies_of(self, settings: BucketSettings, storage_class: str) -> PolicySet:
        """What new contents of a class in the bucket get: the class's own policies, or else the bucket's, or else the store's.

        Raises: ConfigError when the bucket asks for a policy that this Frazil does not know.
        """
        if storage_class in self.classes:
            return self.classes[storage_class]
        own = settings.documents.get(STORAGE_POLICY) if settings.documents else None
        return self.policies if own is None else PolicySet.of_bucket(own, len(self.fleet.volumes))

    def draws(self, row: ObjectRow | None, policy: str) -> str:
        """Whose pool further chunks of a version draw from: its class's own, or else that of the policy it was written with."""
        own = self.classes.get(row.storage_class) if row is not None else None
        return policy if own is None else own.pool or policy

    async def new_content(self, bucket: str, key: str, storage_class: str) -> tuple[ChunkRecord, PolicySet]:
        """What the chunks of a new content say of where it belongs, and the policies it may get. Raises: BucketNotFound."""
        settings = await self.container(bucket).settings()
        return ChunkRecord(bucket, key, new_chunk_id(), "", account=settings.account), self.policies_of(settings, storage_class)

    def stamp(self) -> int:
        """A version to wish for: the time in microseconds, growing within this process."""
        self._stamp = max(self._stamp + 1, self.clock.now_us())
        return self._stamp

    def guess_null(self, bucket: str) -> bool:
        """Whether the next version in the bucket will be the null version, as the last one was. A wrong guess costs a record sync."""
        return self._nulls.get(bucket, True) if self._nulls is not None else True

    def learn_null(self, bucket: str, *, null: bool) -> None:
        if self._nulls is None or len(self._nulls) >= NULLS_MAX:
            self._nulls = {}
        self._nulls[bucket] = null

    async def undo(self, bucket: str, writer: ContentWriter) -> None:
        """Takes back what a failed write left. What can't be deleted now joins the container's deletions, else the sweep finds it."""
        left = await writer.undo()
        if not left.metachunks or await self.remember_deletion(bucket, left):
            self.afterwork.settle(writer.places())

    async def remember_deletion(self, bucket: str, layout: Layout) -> bool:
        """Whether it is noted; else the volumes' journals must keep the chunks."""
        with trio.CancelScope(deadline=trio.current_time() + DOUBT_TIMEOUT_S, shield=True):
            try:
                await self.container(bucket).add_deletion(layout.encode())
                self.afterwork.look_for_deletions(bucket)
                return True
            except FrazilError as error:
                log.warning("chunks to delete could not be noted; the sweep will find them", extra={"bucket": bucket, "error": str(error)})
        return False

    async def settle_doubt(self, bucket: str, key: str, writer: ContentWriter) -> None:
        """After a commit that ended without an answer: deletes the chunks if the metadata doesn't know the content.

        A remote commit may still be under way; its chunks are left to the sweep, which asks later.
        """
        if self.remote_meta:
            return
        with trio.CancelScope(deadline=trio.current_time() + DOUBT_TIMEOUT_S, shield=True):
            try:
                if await self.unnamed(bucket, key, writer.content, writer.places()):
                    await self.undo(bucket, writer)
            except FrazilError:  # the sweep asks again
                return

    async def unnamed(self, bucket: str, key: str, content: str, places: Sequence[Place]) -> bool:
        """Whether these chunks may be deleted, for their content is and stays unknown to the metadata; they join the deletions then.

        A transaction whose sync failed lies whole in SQLite's log: readers don't see it, but a recovery after a crash would. Only a
        transaction that follows and is durable takes its place in the log: hence the deletion is noted before a chunk goes.
        Raises: FrazilError, and nothing is certain.
        """
        container = self.container(bucket)
        if await container.knows(key, content):
            return False
        await container.add_deletion(layout_of_places(places).encode())
        self.afterwork.look_for_deletions(bucket)
        return True
