"""Names that are answered from what was read around others: the same answers, and fewer reads."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from meta import browse as browsing
from meta import vicinity
from meta.browse import peek
from meta.local import LocalMeta, open_meta
from meta.protocol.folder import BrowsePage, Peek
from meta.protocol.object import PUT_MANY_MAX, DeleteRequest, ObjectRow
from meta.recent import LAYOUT_BYTES_MAX
from node.clock import FakeClock
from tests.component.meta.conftest import KEY, settings

BUCKET = "pictures"


def row(key: str, layout: bytes = b"l") -> ObjectRow:
    return ObjectRow(key, size=1, etag="e", content=f"c{key}", layout=layout)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is read of a base by names: "peek" and "stretch"."""
    made: list[str] = []
    whole, one = browsing.stretch, browsing.peek

    def stretch(*arguments: Any) -> BrowsePage:
        made.append("stretch")
        return whole(*arguments)

    def look(*arguments: Any) -> Any:
        made.append("peek")
        return one(*arguments)

    monkeypatch.setattr(browsing, "stretch", stretch)
    monkeypatch.setattr(browsing, "peek", look)
    return made


def plain(found: Peek) -> Peek:
    """A folder's object comes with its layout or without."""
    return replace(found, marker=found.marker and replace(found.marker, layout=b""))


async def made(meta: LocalMeta, *keys: str, versioning: str = "") -> None:
    await meta.create_bucket(settings(BUCKET, versioning=versioning))
    for start in range(0, len(keys), PUT_MANY_MAX):
        await meta.container(BUCKET).put_many([row(key) for key in keys[start : start + PUT_MANY_MAX]])


@pytest.mark.parametrize("seed", range(6))
async def test_a_name_stands_for_the_same_however_it_is_asked_for(scratch: Path, seed: int) -> None:
    chance = Random(seed)
    keys = {
        "/".join(chance.choice(["a", "a-", "a0", "b", ""]) for _ in range(chance.randint(1, 3))) + chance.choice(["", "/"])
        for _ in range(60)
    }
    asked = sorted({key.removesuffix("/") for key in keys} | {"a-b", "a/a", "c", "a/", "a/b/0", "a/b/z", "b"})
    async with open_meta(scratch / "meta", key=KEY, clock=FakeClock()) as meta:
        await made(meta, *sorted(keys - {"", "/"}), versioning="Enabled" if seed % 2 else "")
        container = meta.container(BUCKET)
        await container.put(row("b", layout=bytes(LAYOUT_BYTES_MAX + 1)))
        for number in range(12):
            for key in asked if number % 3 else chance.sample(asked, len(asked)):
                assert plain(await container.peek(key)) == plain(meta.opened(BUCKET).read(peek, key)), key
                if number > 4 and not chance.randrange(16):
                    await container.delete(DeleteRequest(chance.choice(asked) or "x"))
                    await container.put(row(chance.choice(asked) or "x"))


async def test_names_that_are_asked_for_in_order_share_reads(scratch: Path, reads: list[str]) -> None:
    async with open_meta(scratch / "meta", key=KEY, clock=FakeClock()) as meta:
        await made(meta, *(f"folder/{number:04}" for number in range(1_000)))
        for number in range(1_000):
            found = await meta.container(BUCKET).peek(f"folder/{number:04}")
            assert found.row is not None
            assert found.row.layout == b"l"
        assert len(reads) < 20
        before = len(reads)
        for number in range(500):
            assert (await meta.container(BUCKET).peek(f"folder/new{number:04}")).row is None
        assert len(reads) <= before + 2, "what is not there is known, too"


async def test_names_that_are_asked_for_in_no_order_cost_hardly_more_reads_than_there_are_names(scratch: Path, reads: list[str]) -> None:
    names = [f"folder/{number:04}" for number in range(1_000)]
    async with open_meta(scratch / "meta", key=KEY, clock=FakeClock()) as meta:
        await made(meta, *names)
        Random(1).shuffle(names)
        for name in names:
            assert (await meta.container(BUCKET).peek(name)).row is not None
        assert reads.count("stretch") < 20


async def test_deleted_keys_are_not_passed_over_without_end(scratch: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vicinity, "STRETCH_MAX", vicinity.STRETCH_MIN)
    async with open_meta(scratch / "meta", key=KEY, clock=FakeClock()) as meta:
        await made(meta, *(f"{number:04}" for number in range(600)), versioning="Enabled")
        await meta.container(BUCKET).delete_many([DeleteRequest(f"{number:04}") for number in range(600)])
        for number in range(200):
            assert (await meta.container(BUCKET).peek(f"{number:04}")).row is None
        assert 200 // (vicinity.STRETCH_MIN * browsing.SEEN_PER_NAME) <= reads.count("stretch") < 20


async def test_a_stretch_has_a_limit(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vicinity, "STRETCH_MAX", 10)
    async with open_meta(scratch / "meta", key=KEY, clock=FakeClock()) as meta:
        await made(meta, *(f"{number:04}" for number in range(100)))
        for number in range(100):
            await meta.container(BUCKET).peek(f"{number:04}")
            assert len(meta.vicinity) <= 10
        assert len(meta.vicinity) > 0
