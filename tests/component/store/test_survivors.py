"""Every set of fragments that a code may lose, and wrong ones among those left: the right bytes, or a clear error, never others."""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

import pytest

from meta.protocol.object import ObjectRow
from node.errors import ChunkNotFound, ContentLost
from store.layout import Layout
from store.policy import POLICIES, STORAGE_POLICY
from store.store import Store
from tests.component.store.support import BUCKET, file_of, opened, put, read

CODES = ("EC63", "EC123")


class Lossy:
    """A volume that holds its chunks back while it is told to."""

    def __init__(self, inner: object) -> None:
        self._inner = inner
        self.away = False

    def __getattr__(self, name: str) -> object:
        if self.away and name in ("open", "get", "get_now"):
            raise ChunkNotFound("held back by the test")
        return getattr(self._inner, name)


class Fragments:
    """One stripe of an object, and which of its volumes holds which fragment."""

    def __init__(self, store: Store, row: ObjectRow, body: bytes) -> None:
        self.store, self.row, self.body = store, row, body
        layout = Layout.parse(row.layout)
        self.policy = layout.policies[0]
        chunks = layout.metachunks[0].chunks
        self.files = {chunk.position: file_of(store, layout, chunk) for chunk in chunks}
        self._volumes = {chunk.position: Lossy(store.volumes[layout.volumes[chunk.volume]]) for chunk in chunks}
        for chunk in chunks:
            store.volumes[layout.volumes[chunk.volume]] = self._volumes[chunk.position]  # type: ignore[assignment]

    def lose(self, positions: Iterable[int]) -> None:
        lost = set(positions)
        for position, volume in self._volumes.items():
            volume.away = position in lost

    async def is_right(self) -> bool:
        """Raises: ContentLost."""
        return await read(self.store, self.row) == self.body


async def stored(store: Store, name: str) -> Fragments:
    await store.meta.container(BUCKET).change_settings(documents={STORAGE_POLICY: name})
    body = random.Random(name).randbytes(200_001)
    return Fragments(store, await put(store, "k", body), body)


@pytest.mark.slow
@pytest.mark.parametrize("name", CODES)
async def test_every_set_of_survivors_decodes(tmp_path: Path, name: str) -> None:
    policy = POLICIES[name]
    async with opened(tmp_path, policy.chunks) as store:
        fragments = await stored(store, name)
        for lost in combinations(range(policy.chunks), policy.parity):
            fragments.lose(lost)
            assert await fragments.is_right(), lost


@pytest.mark.slow
@pytest.mark.parametrize("name", CODES)
async def test_a_wrong_fragment_among_the_last_survivors_is_detected(tmp_path: Path, name: str, scale: float) -> None:
    """With one to spare the others make up for it, without any there is an error. Each fragment from scale 10 on."""
    policy = POLICIES[name]
    async with opened(tmp_path, policy.chunks) as store:
        fragments = await stored(store, name)
        for wrong in range(policy.chunks) if scale >= 10 else (0, policy.chunks - 1):
            data = fragments.files[wrong].read_bytes()
            fragments.files[wrong].write_bytes(data[:1_000] + bytes([data[1_000] ^ 0x10]) + data[1_001:])
            rest = [position for position in range(policy.chunks) if position != wrong]
            for lost in combinations(rest, policy.parity - 1):
                fragments.lose(lost)
                assert await fragments.is_right(), (wrong, lost)
            for lost in combinations(rest, policy.parity):
                fragments.lose(lost)
                with pytest.raises(ContentLost):
                    await fragments.is_right()
            fragments.files[wrong].write_bytes(data)
