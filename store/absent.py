"""A volume that is not there: its folder is missing, empty, or another's. Everything asked of it fails at once with the reason."""

from __future__ import annotations

from collections.abc import Sequence

from node.errors import VolumeSick
from rawx.chunk import Buffer, ChunkRecord
from rawx.protocol import ChunkIds, ChunkStat, ExaminedChunks, ListPage, QuarantinedChunks, Reader, Upload, VolumeStat


class AbsentVolume:
    """Implements rawx.protocol.Rawx."""

    def __init__(self, volume_id: str, reason: str) -> None:
        self.volume_id = volume_id
        self.reason = reason

    def __repr__(self) -> str:
        return f"<AbsentVolume {self.volume_id} {self.reason}>"

    def _sick(self) -> VolumeSick:
        return VolumeSick(f"volume {self.volume_id} is away: {self.reason}")

    async def put(self, chunk: str, data: Buffer, record: ChunkRecord, units: bytes) -> None:
        raise self._sick()

    async def create(self, chunk: str, size_hint: int) -> Upload:
        raise self._sick()

    async def get(self, chunk: str, size: int, checksum: bytes) -> bytes:
        raise self._sick()

    def get_now(self, chunk: str, size: int, checksum: bytes) -> bytes | None:
        raise self._sick()

    async def open(self, chunk: str, checksum: bytes) -> Reader:
        raise self._sick()

    async def head(self, chunk: str, *, deep: bool) -> ChunkStat:
        raise self._sick()

    async def update(self, chunk: str, record: ChunkRecord) -> None:
        raise self._sick()

    async def copy(self, source: str, target: str, record: ChunkRecord) -> None:
        raise self._sick()

    async def delete(self, chunks: Sequence[str]) -> ChunkIds:
        raise self._sick()

    async def list(self, after: str, limit: int) -> ListPage:
        raise self._sick()

    async def examine(self, chunks: Sequence[str], *, deep: bool) -> ExaminedChunks:
        raise self._sick()

    async def noted(self) -> ChunkIds:
        raise self._sick()

    async def recent(self) -> ChunkIds:
        raise self._sick()

    async def settle(self, chunks: Sequence[str]) -> None:
        raise self._sick()

    async def retire(self, retired: bool) -> ChunkIds:
        raise self._sick()

    async def quarantine(self, chunk: str, reason: str) -> None:
        raise self._sick()

    async def quarantined(self, after: str, limit: int) -> QuarantinedChunks:
        raise self._sick()

    async def purge(self, names: Sequence[str]) -> None:
        raise self._sick()

    async def stat(self) -> VolumeStat:
        return VolumeStat(self.volume_id, 0, 0, 0, sick=self.reason)
