"""Days of lifecycle in virtual time: after every pass, what is there equals the model's. A scale of 167 makes 100,000 keys of it."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from glacier.lifecycle.calendar import REAL
from glacier.lifecycle.news import Event, News
from glacier.lifecycle.task import LifecycleTask
from meta.local import open_meta
from meta.protocol.bucket import BucketSettings
from meta.protocol.container import Container
from meta.protocol.listing import ListRequest
from meta.protocol.object import Attributes, Change, DeleteRequest, ObjectRow
from meta.protocol.upload import UploadRow
from node.auth import NamespaceKey
from node.clock import FakeClock
from s3.lifecycle_document import LIFECYCLE, MINIMUM_SIZE, VARIES, rules_of
from store.afterwork import Afterwork
from store.parallel import gather
from store.tally import Tally
from tests.support.lifecycle_model import Bucket, Version
from tests.support.rules import document

KEYS = 600
DAYS = 7
PASSES_PER_DAY = 2
SIZES = (0, 1, 5_000, 131_071, 131_072, 10_000_000)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rule(**more: Any) -> dict[str, Any]:
    return {"Status": "Enabled", "Filter": {"Prefix": ""}, **more}


RULES: dict[str, list[dict[str, Any]]] = {
    "plain": [
        rule(Filter={"Prefix": "a"}, Expiration={"Days": 3}),
        rule(Filter={"Tag": {"Key": "t", "Value": "1"}}, Expiration={"Days": 1}),
        rule(Filter={"Prefix": "b"}, Transitions=[{"StorageClass": "GLACIER", "Days": 1}, {"StorageClass": "DEEP_ARCHIVE", "Days": 4}]),
        rule(
            Filter={"And": {"Prefix": "c", "ObjectSizeGreaterThan": 1, "ObjectSizeLessThan": 131_072}},
            Transitions=[{"StorageClass": "GLACIER_IR", "Days": 2}],
            Expiration={"Days": 5},
        ),
        rule(Filter={"Prefix": "d"}, Status="Disabled", Expiration={"Days": 1}),
        rule(Filter={"Prefix": "e"}, Expiration={"Date": "2026-01-04T00:00:00"}),
        rule(AbortIncompleteMultipartUpload={"DaysAfterInitiation": 2}),
    ],
    "versions": [
        rule(Filter={"Prefix": "a"}, Expiration={"Days": 2}),
        rule(Filter={"Prefix": "b"}, Expiration={"ExpiredObjectDeleteMarker": True}, NoncurrentVersionExpiration={"NoncurrentDays": 1}),
        rule(Filter={"Prefix": "c"}, NoncurrentVersionExpiration={"NoncurrentDays": 1, "NewerNoncurrentVersions": 2}),
        rule(
            Filter={"And": {"Prefix": "d", "ObjectSizeGreaterThan": 0}},
            NoncurrentVersionTransitions=[{"StorageClass": "GLACIER", "NoncurrentDays": 1, "NewerNoncurrentVersions": 1}],
            NoncurrentVersionExpiration={"NoncurrentDays": 3},
        ),
        rule(
            Filter={"And": {"Prefix": "e", "Tags": [{"Key": "t", "Value": "1"}]}},
            NoncurrentVersionExpiration={"NoncurrentDays": 1},
            Transitions=[{"StorageClass": "DEEP_ARCHIVE", "Days": 0}],
        ),
    ],
    "locked": [rule(NoncurrentVersionExpiration={"NoncurrentDays": 1}, Expiration={"Days": 2})],
}


class Told:
    def __init__(self) -> None:
        self.news: list[News] = []

    async def tell(self, bucket: str, news: Any) -> None:
        self.news += news


class World:
    """One bucket beside its model."""

    def __init__(self, name: str, container: Container, clock: FakeClock, model: Bucket, chance: random.Random) -> None:
        self.name, self.container, self.clock, self.model, self.chance = name, container, clock, model, chance
        self.number = 0

    @property
    def now(self) -> datetime:
        return EPOCH + timedelta(microseconds=self.clock.now_us())

    async def put(self, key: str) -> None:
        """name: the content, which the row repeats."""
        self.number += 1
        name, chance = f"content-{self.number}", self.chance
        tags = chance.choice([{}, {}, {"t": "0"}, {"t": "1"}, {"t": "1", "u": "1"}])
        retained = self.now + timedelta(days=chance.choice([1, 3, 30])) if self.name == "locked" and chance.random() < 0.5 else None
        size = chance.choice(SIZES)
        attributes = Attributes(tags=tags)
        if retained is not None:
            until_us = (retained - EPOCH) // timedelta(microseconds=1)
            attributes = Attributes(tags=tags, retain_mode="COMPLIANCE", retain_until_us=until_us)
        await self.container.put(ObjectRow(key, size=size, content=name, attributes=attributes))
        self.model.put(key, Version(name, self.now, size, tags=tags, retained=retained))

    async def disturb(self, keys: list[str]) -> None:
        """What clients do between two passes."""
        for key in self.chance.sample(keys, max(len(keys) // 20, 3)):
            what = self.chance.random()
            if what < 0.5:
                await self.put(key)
            elif what < 0.8:
                await self.container.delete(DeleteRequest(key))
                self.number += 1
                self.model.delete(key, f"marker {self.number}", self.now)
            elif (versions := self.model.keys.get(key)) and not versions[0].marker:
                versions[0].tags = {"t": self.chance.choice("01")}
                await self.container.change(Change(key, tags=versions[0].tags))
            self.number += 1
            upload = f"{self.number:032x}"
            await self.container.create_upload(UploadRow(upload, key))
            self.model.uploads[upload] = (key, self.now)

    async def check(self) -> None:
        found: dict[str, list[tuple[Any, ...]]] = {}
        after, version = "", None
        while True:
            page = await self.container.list(ListRequest(after=after, after_version=version, versions=True))
            for row in page.rows:
                found.setdefault(row.key, []).append((row.marker, row.storage_class, row.size))
            after, version = page.next_after, page.next_version
            if not page.truncated:
                break
        expected = {key: [(each.marker, each.storage_class, each.size) for each in all_] for key, all_ in self.model.keys.items() if all_}
        assert {key: found.get(key) for key in {*found, *expected} if found.get(key) != expected.get(key)} == {}
        uploads, after, upload = set(), "", ""
        while True:
            listed = await self.container.list_uploads(ListRequest(after=after), upload)
            uploads |= {each.upload for each in listed.uploads}
            if not listed.truncated:
                break
            after, upload = listed.next_key, listed.next_upload
        assert uploads == set(self.model.uploads)


@pytest.mark.slow
async def test_a_week_equals_the_model(tmp_path: Path, seed: str, scale: float) -> None:
    chance, clock, told = random.Random(seed), FakeClock(), Told()
    async with open_meta(tmp_path / "meta", key=NamespaceKey(bytes(32)), clock=clock) as meta:
        worlds = []
        for name, rules in RULES.items():
            versioning = "" if name == "plain" else "Enabled"
            documents = {LIFECYCLE.name: document(rules)} | ({MINIMUM_SIZE: VARIES} if name == "plain" else {})
            await meta.create_bucket(
                BucketSettings(name, "a", "o", 1, versioning=versioning, object_lock=name == "locked", documents=documents)
            )
            model = Bucket(rules, bool(versioning), VARIES if name == "plain" else "all_storage_classes_128K")
            worlds.append(World(name, meta.container(name), clock, model, chance))
        keys = [f"{chance.choice('abcde')}/{number:06}" for number in range(int(KEYS * scale) // len(worlds))]
        for world in worlds:
            for at in range(0, len(keys), 500):
                await gather([partial(world.put, key) for key in keys[at : at + 500]])
        context: Any = SimpleNamespace(meta=meta, container=meta.container, afterwork=Afterwork(), clock=clock, classes={})
        for _ in range(DAYS * PASSES_PER_DAY):
            clock.advance(24 * 3600 / PASSES_PER_DAY)
            for world in worlds:
                await world.disturb(keys)
            clock.advance(600)
            tally = Tally()
            task = LifecycleTask(context, tally, {}, rules_of=rules_of, calendar=REAL, herald=told)
            position: str | None = ""
            while position is not None:
                position, _ = await task.step(position)
                if chance.random() < 0.2:  # a kill: another process goes on from what was kept
                    task = LifecycleTask(context, tally, {}, rules_of=rules_of, calendar=REAL, herald=told)
            for world in worlds:
                world.model.sweep(world.now)
                await world.check()
            assert not tally.counts["failed"]
            assert not tally.counts["superseded"]
        did = [each for world in worlds for each in world.model.did]
        expired = [each for each in did if each[0] != "move"]
        assert len([each for each in told.news if each.event is Event.EXPIRED]) == len(expired)
        assert len([each for each in told.news if each.event is Event.MOVED]) == len(did) - len(expired)
        assert {each[0] for each in did} == {"expire", "delete", "unmark", "move"}
