"""A pass through buckets of which one is damaged: the others' rules are carried out all the same."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from glacier.lifecycle.calendar import REAL
from glacier.lifecycle.news import Silent
from glacier.lifecycle.task import LifecycleTask
from meta.local import open_meta
from meta.protocol.bucket import BucketSettings
from meta.protocol.listing import ListRequest
from meta.protocol.object import ObjectRow
from node.auth import NamespaceKey
from node.clock import FakeClock
from s3.lifecycle_document import LIFECYCLE, rules_of
from store.afterwork import Afterwork
from store.tally import Tally
from tests.support.rules import document

KEY = NamespaceKey(bytes(32))
EXPIRES = document([{"Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}])


async def bucket(meta: Any, name: str, rules: str = EXPIRES) -> None:
    await meta.create_bucket(BucketSettings(name, "a", "o", 1, documents={LIFECYCLE.name: rules}))
    await meta.container(name).put(ObjectRow("k", size=1, content="c"))


@pytest.mark.parametrize("damage", ["base", "rules"])
async def test_a_damaged_bucket_keeps_no_other_from_its_rules(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    clock, folder = FakeClock(), tmp_path / "meta"
    async with open_meta(folder, key=KEY, clock=clock) as meta:
        await bucket(meta, "b", EXPIRES if damage == "base" else "<LifecycleConfiguration><Rule><New/></Rule></LifecycleConfiguration>")
    if damage == "base":
        (base,) = (folder / "container").rglob("*.db")
        base.write_bytes(b"not a base " * 1000)
    async with open_meta(folder, key=KEY, clock=clock) as meta:
        for name in ("a", "c"):
            await bucket(meta, name)
        context: Any = SimpleNamespace(meta=meta, container=meta.container, afterwork=Afterwork(), clock=clock, classes={})
        clock.advance(3 * 24 * 3600)
        tally = Tally()
        task = LifecycleTask(context, tally, {}, rules_of=rules_of, calendar=REAL, herald=Silent())
        position: str | None = ""
        while position is not None:
            position, _ = await task.step(position)
        for name in ("a", "c"):
            assert not (await meta.container(name).list(ListRequest())).rows
        assert (tally.counts["expired"], tally.counts["failed"]) == (2, 1)
        assert "bucket b" in " ".join(str(record.__dict__.get("error", "")) for record in caplog.records)
    caplog.clear()
