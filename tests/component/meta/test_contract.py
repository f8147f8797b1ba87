"""What every Meta does, wherever it runs."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from meta.local import open_meta
from meta.protocol.accounts import KeyPair
from meta.protocol.bucket import QUOTA_BYTES_MAX, DefaultRetention, LockSettings
from meta.protocol.container import Container
from meta.protocol.door import Meta
from meta.protocol.listing import ListRequest
from meta.protocol.object import PUT_MANY_MAX, Attributes, Change, Condition, DeleteRequest, ObjectRow, Seen
from meta.protocol.restore import Restore, is_readable, restore_of
from meta.protocol.upload import Complete, PartRow, UploadRow
from node.clock import FakeClock
from node.errors import (
    AlreadyExists,
    BucketNotEmpty,
    BucketNotFound,
    BucketOwned,
    BucketTaken,
    InvalidArgument,
    InvalidBucketState,
    IsDeleteMarker,
    Locked,
    ObjectNotFound,
    PreconditionFailed,
    QuotaExceeded,
    RecordCorrupt,
    Superseded,
    UploadNotFound,
    VersionNotFound,
    decode_error,
)
from tests.component.meta.conftest import KEY, keep, settings

DAY_S = 24 * 3600


def row(key: str, content: str = "c", *, size: int = 10, **more: object) -> ObjectRow:
    return ObjectRow(key, size=size, etag=f"etag-{content}", content=content, layout=f"at {content}".encode(), **more)  # type: ignore[arg-type]


async def keys(container: Container, **request: object) -> tuple[list[str], list[str]]:
    page = await container.list(ListRequest(**request))  # type: ignore[arg-type]
    return [listed.key for listed in page.rows], page.prefixes


# Buckets


async def test_a_bucket_is_made_once(meta: Meta) -> None:
    await meta.create_bucket(settings())
    with pytest.raises(BucketOwned):
        await meta.create_bucket(settings())
    with pytest.raises(BucketTaken):
        await meta.create_bucket(settings(account="bob"))
    assert (await meta.container("pictures").settings()) == settings()
    assert [entry.bucket for entry in await meta.accounts.buckets("ann")] == ["pictures"]
    assert await meta.accounts.buckets("bob") == []
    assert (await meta.registry.locate("pictures")).account == "ann"


async def test_a_removed_bucket_is_gone_and_its_name_is_free(meta: Meta) -> None:
    await meta.create_bucket(settings())
    await meta.remove_bucket("pictures")
    for call in (meta.container("pictures").settings(), meta.container("pictures").list(ListRequest()), meta.remove_bucket("pictures")):
        with pytest.raises(BucketNotFound):
            await call
    with pytest.raises(BucketNotFound):
        await meta.registry.locate("pictures")
    await meta.create_bucket(settings(account="bob"))
    assert (await meta.container("pictures").settings()).account == "bob"
    assert (await meta.container("pictures").list(ListRequest())).rows == []


async def test_no_call_makes_a_bucket_by_the_way(meta: Meta) -> None:
    container = meta.container("nowhere")
    for call in (
        container.put(row("a")),
        container.get("a"),
        container.delete(DeleteRequest("a")),
        container.list(ListRequest(limit=5, delimiter="/")),
        container.counters(),
        container.list_uploads(ListRequest()),
        container.create_upload(UploadRow("u", "a")),
        meta.remove_bucket("nowhere"),
    ):
        with pytest.raises(BucketNotFound):
            await call
    assert await meta.dirty_containers() == []


async def test_a_bucket_with_anything_in_it_stays(container: Container, meta: Meta) -> None:
    await container.put(row("a"))
    with pytest.raises(BucketNotEmpty):
        await meta.remove_bucket("pictures")
    await container.delete(DeleteRequest("a"))
    await meta.remove_bucket("pictures")


async def test_uploads_in_progress_go_with_their_bucket(container: Container, meta: Meta) -> None:
    for upload, key in (("u", "a"), ("v", "a"), ("w", "b")):
        await container.create_upload(UploadRow(upload, key))
        await container.put_part(key, upload, PartRow(1, 10, "e", f"part of {upload}", b"at " + upload.encode()))
    await meta.remove_bucket("pictures")
    assert sorted(dropped.layout for dropped in await container.deletions(10)) == [b"at u", b"at v", b"at w"]
    await meta.create_bucket(settings())
    assert (await container.counters()).uploads == 0
    with pytest.raises(UploadNotFound):
        await container.get_upload("a", "u")


async def test_deletions_outlive_their_bucket(container: Container, meta: Meta) -> None:
    await container.put(row("a", "one"))
    await container.delete(DeleteRequest("a"))
    await meta.remove_bucket("pictures")
    assert await meta.dirty_containers() == ["pictures"]
    (dropped,) = await container.deletions(10)
    assert dropped.layout == b"at one"

    await meta.create_bucket(settings())
    assert await container.deletions(10) == [dropped]
    await meta.remove_bucket("pictures")
    await keep(meta)

    await container.deletions_done([dropped.id])
    assert await meta.dirty_containers() == []
    with pytest.raises(BucketNotFound):
        await container.settings()


async def test_settings_change_by_part(container: Container) -> None:
    await container.change_settings(acl="public-read", documents={"cors": "<a/>", "tagging": "<b/>"})
    changed = await container.change_settings(versioning="Enabled", documents={"cors": None, "policy": "{}"})
    assert changed == await container.settings()
    assert (changed.acl, changed.versioning, changed.documents) == ("public-read", "Enabled", {"tagging": "<b/>", "policy": "{}"})
    with pytest.raises(InvalidArgument):
        await container.change_settings(versioning="Maybe")


# Objects without versioning


async def test_a_put_is_read_back_whole(container: Container) -> None:
    attributes = Attributes(
        type="image/png",
        headers={"cache-control": "no-store"},
        metadata={"owner": "ann"},
        tags={"a": "b"},
        checksums={"crc32": "AAAAAA==", "sha256": "x"},
        checksum_type="FULL_OBJECT",
        extra={"sse": {"key": 1}},
    )
    put = row("a/ü\U0010ffff", "one", attributes=attributes, owner="o", policy="ec", storage_class="GLACIER")
    result = await container.put(put)
    got = await container.get(put.key)
    assert got == msgspec.structs.replace(put, version=result.version, mtime_us=result.mtime_us, null=True, seq=got.seq)
    assert result.null
    assert not result.dropped
    (listed,) = (await container.list(ListRequest())).rows
    assert (listed.key, listed.size, listed.etag, listed.storage_class, listed.owner) == (put.key, 10, "etag-one", "GLACIER", "o")
    assert (listed.checksum_algorithm, listed.checksum_type, listed.latest, listed.null) == ("crc32,sha256", "FULL_OBJECT", True, True)


async def test_an_overwrite_drops_the_old_content_until_it_is_acknowledged(container: Container, meta: Meta) -> None:
    first = await container.put(row("a", "one"))
    assert await meta.dirty_containers() == []
    second = await container.put(row("a", "two"))
    assert second.version > first.version
    (dropped,) = second.dropped
    assert dropped.layout == b"at one"
    assert await container.deletions(10) == [dropped]
    assert await meta.dirty_containers() == ["pictures"]
    assert await container.knows("a", "one")
    await container.deletions_done([dropped.id])
    assert await container.deletions(10) == []
    assert await meta.dirty_containers() == []
    assert not await container.knows("a", "one")
    assert await container.knows("a", "two")
    third = await container.put(row("a", "three"))
    assert third.dropped[0].id > dropped.id, "a number is never given twice"


async def test_a_wished_version_is_kept_when_it_is_the_newest_of_its_key(container: Container, clock: FakeClock) -> None:
    now = clock.now_us()
    assert (await container.put(row("b", "b", version=now + 50))).version == now + 50
    assert (await container.put(row("a", "a", version=now + 10))).version == now + 10
    assert await container.records_to_sync(10) == []
    late = await container.put(row("b", "c", version=now + 20))
    assert late.version > now + 50
    (stale,) = await container.records_to_sync(10)
    assert stale.row is not None
    assert (stale.row.key, stale.row.version) == ("b", late.version)
    await container.records_synced([stale.id])
    assert await container.records_to_sync(10) == []


async def test_versions_grow_although_the_clock_jumps_back(container: Container, clock: FakeClock) -> None:
    versions = []
    for step in range(4):
        versions.append((await container.put(row(f"k{step}", f"c{step}"))).version)
        clock.jump(-3600)
    assert versions == sorted(set(versions))


async def test_delete_without_versioning_removes(container: Container) -> None:
    put = await container.put(row("a", "one"))
    result = await container.delete(DeleteRequest("a"))
    assert (result.version, result.made_marker, len(result.dropped)) == (put.version, False, 1)
    assert await container.delete(DeleteRequest("a")) == await container.delete(DeleteRequest("a", version=77))
    with pytest.raises(ObjectNotFound):
        await container.get("a")
    with pytest.raises(VersionNotFound):
        await container.get("a", put.version)


@pytest.mark.parametrize(
    ("condition", "there", "missing"),
    [
        (Condition(if_match=("etag-one",)), None, ObjectNotFound),
        (Condition(if_match=("other", "etag-one")), None, ObjectNotFound),
        (Condition(if_match=("*",)), None, ObjectNotFound),
        (Condition(if_match=("other",)), PreconditionFailed, ObjectNotFound),
        (Condition(if_none_match=("*",)), PreconditionFailed, None),
        (Condition(if_none_match=("etag-one",)), PreconditionFailed, None),
        (Condition(if_none_match=("other",)), None, None),
        (Condition(size=10), None, ObjectNotFound),
        (Condition(size=11), PreconditionFailed, ObjectNotFound),
        (Condition(mtime_us=1), PreconditionFailed, ObjectNotFound),
    ],
)
async def test_conditions_of_a_put(
    container: Container, condition: Condition, there: type[Exception] | None, missing: type[Exception] | None
) -> None:
    for expected in (missing, there):
        if expected is None:
            await container.put(row("a", "new"), condition)
        else:
            with pytest.raises(expected):
                await container.put(row("a", "new"), condition)
        await container.put(row("a", "one"))


async def test_a_delete_by_time_of_modification_compares_whole_seconds(container: Container) -> None:
    await container.put(row("a", "one"))
    second = (await container.get("a")).mtime_us // 1_000_000 * 1_000_000
    for wrong in (second - 1, second + 1_000_000):
        with pytest.raises(PreconditionFailed):
            await container.delete(DeleteRequest("a", condition=Condition(mtime_us=wrong)))
    await container.delete(DeleteRequest("a", condition=Condition(mtime_us=second)))
    assert (await keys(container))[0] == []


async def test_many_deletes_are_done_or_refused_one_by_one(container: Container) -> None:
    await container.put(row("a", "one"))
    await container.put(row("b", "two"))
    results = await container.delete_many(
        [DeleteRequest("a"), DeleteRequest("b", condition=Condition(if_match=("x",))), DeleteRequest("c"), DeleteRequest("")]
    )
    assert [(result.key, result.error) for result in results] == [
        ("a", ""),
        ("b", "PreconditionFailed"),
        ("c", ""),
        ("", "InvalidArgument"),
    ]
    assert (await keys(container))[0] == ["b"]


async def test_many_puts_are_done_or_refused_one_by_one(meta: Meta) -> None:
    await meta.create_bucket(settings(quota_bytes=100))
    container = meta.container("pictures")
    await container.put(row("a", "one", size=10))
    wanted = [row("a", "two", size=20), row("b", "three", size=90), row("", "four"), row("c", "five", size=80)]
    outcomes = await container.put_many(wanted)
    refusals = [type(decode_error(outcome.error, 500)).__name__ for outcome in outcomes if outcome.error]
    assert ([outcome.result is not None for outcome in outcomes], refusals) == (
        [True, False, False, True],
        ["QuotaExceeded", "InvalidArgument"],
    )
    assert outcomes[0].result is not None
    assert len(outcomes[0].result.dropped) == 1
    assert [(await container.get(key)).content for key in ("a", "c")] == ["two", "five"]
    assert (await keys(container))[0] == ["a", "c"]
    with pytest.raises(InvalidArgument):
        await container.put_many([row(f"k{number}", "") for number in range(PUT_MANY_MAX + 1)])
    with pytest.raises(BucketNotFound):
        await meta.container("nowhere").put_many(wanted)


@pytest.mark.parametrize("key", ["", "x" * 1025, "ü" * 513, "\ud800"])
async def test_keys_that_are_none_are_refused(container: Container, key: str) -> None:
    for call in (container.put(row(key)), container.create_upload(UploadRow("u", key)), container.rename("a", key)):
        with pytest.raises(InvalidArgument):
            await call


async def test_the_quota_holds_for_objects_and_parts_together(meta: Meta) -> None:
    await meta.create_bucket(settings(quota_bytes=100))
    container = meta.container("pictures")
    await container.put(row("a", "one", size=60))
    with pytest.raises(QuotaExceeded):
        await container.put(row("b", "two", size=41))
    await container.put(row("a", "two", size=90))
    await container.create_upload(UploadRow("u", "c"))
    with pytest.raises(QuotaExceeded):
        await container.put_part("c", "u", PartRow(1, 11, "e", "p1"))
    await container.put_part("c", "u", PartRow(1, 10, "e", "p1"))
    await container.complete_upload(Complete("u", row("c", "mp", size=10), ((1, "p1"),)))
    await container.put(row("a", "three", size=5))


async def test_a_quota_is_set_lowered_below_what_is_there_and_removed(container: Container) -> None:
    await container.put(row("a", "one", size=60))
    assert (await container.change_settings(quota_bytes=100)).quota_bytes == 100
    with pytest.raises(QuotaExceeded):
        await container.put(row("b", "two", size=41))
    await container.change_settings(acl="public-read")
    changed = await container.change_settings(quota_bytes=50)
    assert changed == await container.settings()
    assert (changed.quota_bytes, changed.acl) == (50, "public-read")
    with pytest.raises(QuotaExceeded):
        await container.put(row("b", "two", size=1))
    await container.put(row("a", "three", size=55))  # it shrinks, though it is still too large
    assert (await container.counters()).used_bytes == 55
    for wrong in (-1, QUOTA_BYTES_MAX + 1):
        with pytest.raises(InvalidArgument):
            await container.change_settings(quota_bytes=wrong)
    assert (await container.change_settings(quota_bytes=0)).quota_bytes == 0
    await container.put(row("b", "two", size=1_000))


async def test_attributes_change_in_place(container: Container) -> None:
    put = await container.put(row("a", "one", attributes=Attributes(metadata={"m": "1"}, tags={"x": "y"})))
    changed = await container.change(Change("a", tags={"t": "1"}, acl="public-read"))
    assert changed == await container.get("a", put.version)
    assert (changed.attributes.tags, changed.attributes.acl, changed.attributes.metadata) == ({"t": "1"}, "public-read", {"m": "1"})
    (stale,) = await container.records_to_sync(10)
    assert stale.row == changed
    with pytest.raises(Superseded):
        await container.change(Change("a", layout=b"new", expect_content="two"))
    await container.change(Change("a", layout=b"new", expect_content="one"))
    assert (await container.get("a")).layout == b"new"
    with pytest.raises(ObjectNotFound):
        await container.change(Change("b", tags={}))
    with pytest.raises(VersionNotFound):
        await container.change(Change("a", version=3, tags={}))


async def test_a_decision_by_what_was_seen_is_refused_when_it_is_otherwise(container: Container) -> None:
    old = await container.put(row("a", "one"))
    await container.change_settings(versioning="Enabled")
    await container.put(row("a", "two"))
    newer = (await container.get("a")).version
    seq = (await container.get("a", old.version)).seq
    for seen in (Seen(seq + 1, (newer,)), Seen(seq), Seen(seq, (newer, newer + 1)), Seen(seq, (newer,), alone=True)):
        with pytest.raises(Superseded):
            await container.delete(DeleteRequest("a", old.version, seen=seen))
        with pytest.raises(Superseded):
            await container.change(Change("a", old.version, storage_class="GLACIER", seen=seen))
    with pytest.raises(Superseded):
        await container.delete(DeleteRequest("b", seen=Seen(seq)))
    await container.delete(DeleteRequest("a", old.version, seen=Seen(seq, (newer,))))
    with pytest.raises(Superseded):
        await container.delete(DeleteRequest("a", seen=Seen(seq)))
    seq = (await container.get("a")).seq
    marker = await container.delete(DeleteRequest("a", seen=Seen(seq, alone=True)))
    assert marker.made_marker


async def test_cold_versions_are_due_until_they_are_taken_care_of(container: Container, meta: Meta) -> None:
    await container.put(row("a", "one", storage_class="GLACIER"))
    await container.put(row("b", "two"))
    await container.put(row("c", "three"))
    frozen = await container.change(Change("c", storage_class="DEEP_ARCHIVE"))
    found = await container.cold_due(0, 10)
    assert [(each.due_us, each.row.key) for each in found] == [(0, "a"), (0, "c")]
    assert [each.row.key for each in await container.cold_due(0, 10, found[0].cursor)] == ["c"]
    assert await meta.dirty_containers() == ["pictures"]
    asked = await container.change(Change("a", restored={"days": 1, "tier": "Bulk", "asked_us": 5}))
    await container.cold_done([("a", found[0].row.version, found[0].row.seq), ("c", frozen.version, frozen.seq)])
    assert await container.cold_due(4, 10) == []
    assert [each.row.key for each in await container.cold_due(5, 10)] == ["a"], "what was changed meanwhile stays due"
    ready = await container.change(Change("a", restored={"days": 1, "tier": "Bulk", "asked_us": 5, "until_us": 99}))
    assert restore_of(asked.attributes) == Restore(1, "Bulk", 5)
    assert restore_of(ready.attributes) == Restore(1, "Bulk", 5, 99)
    assert [is_readable(each, 98) for each in (asked, ready, frozen)] == [False, True, False]
    assert not is_readable(ready, 99)
    (listed,) = (each for each in (await container.list(ListRequest(restores=True))).rows if each.key == "a")
    assert listed.restore == Restore(1, "Bulk", 5, 99)
    assert await container.cold_due(98, 10) == []
    assert [each.row for each in await container.cold_due(99, 10)] == [ready]
    warm = await container.change(Change("a", storage_class="STANDARD"))
    assert restore_of(warm.attributes) is None
    assert await container.cold_due(99, 10) == []
    assert (await container.counters()).classes == {"STANDARD": (2, 20), "DEEP_ARCHIVE": (1, 10)}


# Versioning


async def test_versions_pile_up_and_deletes_leave_markers(container: Container, meta: Meta) -> None:
    before = await container.put(row("a", "null"))
    await container.change_settings(versioning="Enabled")
    await keep(meta)
    one = await container.put(row("a", "one"))
    assert (one.null, one.dropped) == (False, ())
    marker = await container.delete(DeleteRequest("a", owner="o"))
    assert marker.made_marker
    assert (await container.get("a")).marker
    assert await keys(container) == ([], [])
    (stale,) = await container.records_to_sync(10)
    assert stale.row == await container.get("a")
    await container.records_synced([stale.id])
    await container.change(Change("a", marker.version, layout=b"record of the marker"))
    assert await container.records_to_sync(10) == [], "a layout alone makes no record stale"
    listed = (await container.list(ListRequest(versions=True))).rows
    assert [(row.version, row.marker, row.latest, row.null) for row in listed] == [
        (marker.version, True, True, False),
        (one.version, False, False, False),
        (before.version, False, False, True),
    ]
    assert (await container.get("a", 0)).content == "null"
    gone = await container.delete(DeleteRequest("a", version=marker.version))
    assert (gone.was_marker, gone.made_marker) == (True, False)
    assert [dropped.layout for dropped in gone.dropped] == [b"record of the marker"]
    assert (await container.get("a")).content == "one"
    await container.delete(DeleteRequest("a", version=one.version))
    assert (await container.get("a")).content == "null"
    counters = await container.counters()
    assert (counters.classes, counters.markers) == ({"STANDARD": (1, 10)}, 0)


async def test_suspended_versioning_replaces_only_the_null_version(container: Container) -> None:
    await container.change_settings(versioning="Enabled")
    one = await container.put(row("a", "one"))
    await container.change_settings(versioning="Suspended")
    null = await container.put(row("a", "null-1"))
    assert (null.null, null.dropped) == (True, ())
    again = await container.put(row("a", "null-2"))
    assert [dropped.layout for dropped in again.dropped] == [b"at null-1"]
    marker = await container.delete(DeleteRequest("a"))
    assert (marker.made_marker, marker.null, [dropped.layout for dropped in marker.dropped]) == (True, True, [b"at null-2"])
    assert (await container.get("a", 0)).marker
    assert (await container.get("a", one.version)).content == "one"
    await container.delete(DeleteRequest("a", version=0))
    assert (await container.get("a")).content == "one"


async def test_a_delete_of_a_missing_key_makes_a_marker_where_versioning_is_on(container: Container) -> None:
    await container.change_settings(versioning="Enabled")
    assert (await container.delete(DeleteRequest("a"))).made_marker
    assert (await container.counters()).markers == 1
    refused = await container.delete(DeleteRequest("b", condition=Condition(if_match=("x",))))
    assert not refused.made_marker


async def test_retention_and_legal_hold_protect_a_version(meta: Meta, clock: FakeClock) -> None:
    await meta.create_bucket(settings(object_lock=True, versioning="Enabled"))
    container = meta.container("pictures")
    until = clock.now_us() + DAY_S * 1_000_000
    put = await container.put(row("a", "one", attributes=Attributes(retain_mode="GOVERNANCE", retain_until_us=until)))
    assert (await container.delete(DeleteRequest("a"))).made_marker
    with pytest.raises(Locked):
        await container.delete(DeleteRequest("a", version=put.version))
    with pytest.raises(Locked):
        await container.change(Change("a", put.version, retain_until_us=until - 1))
    await container.change(Change("a", put.version, retain_until_us=until + 1))
    with pytest.raises(Locked):
        await container.change(Change("a", put.version, retain_mode="COMPLIANCE"))
    await container.change(Change("a", put.version, retain_mode="COMPLIANCE", bypass_governance=True))
    with pytest.raises(Locked):
        await container.delete(DeleteRequest("a", version=put.version, bypass_governance=True))
    with pytest.raises(Locked):
        await container.change(Change("a", put.version, retain_mode="", bypass_governance=True))
    await container.change(Change("a", put.version, legal_hold=True))
    await container.change(Change("a", put.version, attributes=Attributes(type="text/plain")))
    kept = (await container.get("a", put.version)).attributes
    assert (kept.type, kept.retain_mode, kept.retain_until_us, kept.legal_hold) == ("text/plain", "COMPLIANCE", until + 1, True)
    clock.advance(2 * DAY_S)
    with pytest.raises(Locked):
        await container.delete(DeleteRequest("a", version=put.version))
    await container.change(Change("a", put.version, legal_hold=False))
    await container.delete(DeleteRequest("a", version=put.version))

    held = await container.put(row("b", "two", attributes=Attributes(retain_mode="GOVERNANCE", retain_until_us=clock.now_us() + 10**9)))
    await container.delete(DeleteRequest("b", version=held.version, bypass_governance=True))
    with pytest.raises(InvalidBucketState):
        await container.change_settings(versioning="Suspended")


async def test_object_lock_needs_versioning_and_stays(meta: Meta) -> None:
    with pytest.raises(InvalidBucketState):
        await meta.create_bucket(settings(bucket="refused", object_lock=True))
    await meta.create_bucket(settings())
    container = meta.container("pictures")
    with pytest.raises(InvalidBucketState):
        await container.change_settings(lock=LockSettings())
    with pytest.raises(InvalidBucketState):
        await container.put(row("a", "one", attributes=Attributes(legal_hold=True)))
    await container.change_settings(versioning="Enabled")
    with pytest.raises(InvalidArgument):
        await container.change_settings(lock=LockSettings(DefaultRetention("GOVERNANCE", days=1, years=1)))
    await container.change_settings(lock=LockSettings(DefaultRetention("COMPLIANCE", years=1)))
    changed = await container.change_settings(lock=LockSettings())
    assert (changed.object_lock, changed.default_retention) == (True, None)


async def test_a_bucket_s_default_retention_is_every_new_version_s(meta: Meta, clock: FakeClock) -> None:
    default = DefaultRetention("GOVERNANCE", days=1)
    await meta.create_bucket(settings(object_lock=True, versioning="Enabled", default_retention=default))
    container = meta.container("pictures")
    put = await container.put(row("a", "one"))
    assert (await container.get("a")).attributes.retain_until_us == put.version + DAY_S * 1_000_000
    assert [each.row.key for each in await container.records_to_sync(9) if each.row] == ["a"]
    own = await container.put(row("a", "two", attributes=Attributes(retain_mode="COMPLIANCE", retain_until_us=put.version + 9)))
    assert (await container.get("a", own.version)).attributes.retain_mode == "COMPLIANCE"
    with pytest.raises(Locked):
        await container.delete(DeleteRequest("a", version=put.version))
    clock.advance(DAY_S + 1)
    assert (await container.delete(DeleteRequest("a", version=put.version))).version == put.version


async def test_a_renamed_object_whose_retention_has_expired_gets_the_default_again(meta: Meta, clock: FakeClock) -> None:
    default = DefaultRetention("GOVERNANCE", days=1)
    await meta.create_bucket(settings(object_lock=True, versioning="Enabled", default_retention=default))
    container = meta.container("pictures")
    await container.put(row("a", "one"))
    with pytest.raises(Locked):
        await container.rename("a", "b")
    clock.advance(DAY_S + 1)
    renamed = await container.rename("a", "b")
    assert (await container.get("b")).attributes.retain_until_us == renamed.version + DAY_S * 1_000_000


async def test_a_delete_marker_has_no_attributes_to_change(meta: Meta) -> None:
    await meta.create_bucket(settings(versioning="Enabled"))
    container = meta.container("pictures")
    marker = await container.delete(DeleteRequest("a"))
    with pytest.raises(IsDeleteMarker):
        await container.change(Change("a", marker.version, tags={"a": "b"}))


# Renaming


async def test_rename_moves_the_row_and_keeps_its_content(container: Container) -> None:
    put = await container.put(row("a", "one", attributes=Attributes(metadata={"m": "1"})))
    await container.put(row("b", "two"))
    result = await container.rename("a", "b")
    assert [dropped.layout for dropped in result.dropped] == [b"at two"]
    moved = await container.get("b")
    assert (moved.content, moved.mtime_us, moved.attributes.metadata) == ("one", put.mtime_us, {"m": "1"})
    assert (await keys(container))[0] == ["b"]
    assert await container.knows("a", "one")
    assert [stale.row for stale in await container.records_to_sync(10)] == [moved]
    with pytest.raises(ObjectNotFound):
        await container.rename("a", "c")
    with pytest.raises(PreconditionFailed):
        await container.rename("b", "c", source_condition=Condition(if_match=("x",)))
    await container.put(row("c", "three"))
    with pytest.raises(PreconditionFailed):
        await container.rename("b", "c", condition=Condition(if_none_match=("*",)))
    assert (await container.counters()).classes == {"STANDARD": (2, 20)}
    await container.delete(DeleteRequest("b"))
    await container.deletions_done([dropped.id for dropped in await container.deletions(10)])
    assert not await container.knows("a", "one")


async def test_rename_with_versioning_leaves_a_marker_over_older_versions(container: Container) -> None:
    await container.put(row("a", "zero"))
    await container.change_settings(versioning="Enabled")
    await container.put(row("a", "one"))
    await container.rename("a", "b")
    assert (await container.get("a")).marker
    assert (await container.get("a", 0)).content == "zero"
    assert (await keys(container))[0] == ["b"]
    assert await container.rename_prefix("b", "c", replace=False) == 1
    assert (await keys(container, versions=True))[0] == ["a", "a", "c"]


@pytest.mark.parametrize(
    ("names", "source", "target", "expected"),
    [
        (["a/1", "a/2", "b"], "a/", "c/", ["b", "c/1", "c/2"]),
        (["a/1", "a/b/1", "a/b/b/1"], "a/", "a/b/", ["a/b/1", "a/b/b/1", "a/b/b/b/1"]),
        (["a/b/1", "a/b/b/1", "a/1"], "a/b/", "a/", None),
        (["a/b/1", "a/b/b/2"], "a/b/", "a/", ["a/1", "a/b/2"]),
        (["a\U0010ffff1", "a\U0010ffff2"], "a\U0010ffff", "", ["1", "2"]),
    ],
)
async def test_a_prefix_is_renamed_at_once(
    container: Container, names: list[str], source: str, target: str, expected: list[str] | None
) -> None:
    for name in names:
        await container.put(row(name, f"content of {name}"))
    if expected is None:
        with pytest.raises(AlreadyExists):
            await container.rename_prefix(source, target, replace=False)
        assert sorted((await keys(container))[0]) == sorted(names)
        return
    count = sum(name.startswith(source) for name in names)
    assert await container.rename_prefix(source, target, replace=False) == count
    assert (await keys(container))[0] == expected
    contents = {(await container.get(name)).content for name in expected}
    assert contents == {f"content of {name}" for name in names}


# Listings: what one page says (the model test has the rest)


async def test_a_page_counts_a_common_prefix_once_and_goes_on_behind_it(container: Container) -> None:
    for name in ("a", "b/1", "b/2", "b0", "c//d", "c//e", "d"):
        await container.put(row(name, name))
    page = await container.list(ListRequest(delimiter="/", limit=2))
    assert ([listed.key for listed in page.rows], page.prefixes, page.truncated, page.next_after) == (["a"], ["b/"], True, "b/")
    page = await container.list(ListRequest(delimiter="/", limit=2, after=page.next_after))
    assert ([listed.key for listed in page.rows], page.prefixes, page.truncated) == (["b0"], ["c/"], True)
    page = await container.list(ListRequest(delimiter="/", limit=2, after=page.next_after))
    assert ([listed.key for listed in page.rows], page.prefixes, page.truncated) == (["d"], [], False)
    assert await keys(container, delimiter="//") == (["a", "b/1", "b/2", "b0", "d"], ["c//"])
    assert await keys(container, prefix="b/", delimiter="/") == (["b/1", "b/2"], [])
    assert await keys(container, prefix="b/", after="b/1") == (["b/2"], [])
    page = await container.list(ListRequest(limit=0))
    assert (page.rows, page.prefixes, page.truncated) == ([], [], False)


async def test_a_prefix_of_the_last_characters_has_an_end(container: Container) -> None:
    names = ["\ud7ff", "\ud7ff1", "\ue000", "\uffff", "\U0010ffff", "\U0010ffff\U0010ffff"]
    for name in names:
        await container.put(row(name, name.encode().hex()))
    assert (await keys(container))[0] == names
    assert (await keys(container, prefix="\ud7ff"))[0] == ["\ud7ff", "\ud7ff1"]
    assert (await keys(container, prefix="\U0010ffff"))[0] == names[-2:]
    assert await keys(container, delimiter="\U0010ffff") == (names[:-2], ["\U0010ffff"])


# Uploads


async def test_parts_become_an_object_without_moving(container: Container, clock: FakeClock) -> None:
    created = await container.create_upload(UploadRow("u1", "a", owner="o", attributes=Attributes(type="t")))
    assert created.started_us == clock.now_us()
    assert await container.get_upload("a", "u1") == created
    for number in (2, 1, 3):
        assert await container.put_part("a", "u1", PartRow(number, 5, f"e{number}", f"p{number}", b"at p%d" % number)) == ()
    replaced = await container.put_part("a", "u1", PartRow(2, 6, "e2b", "p2b", b"at p2b", checksums={"crc32": "x"}))
    assert [dropped.layout for dropped in replaced] == [b"at p2"]
    counters = await container.counters()
    assert (counters.uploads, counters.upload_bytes) == (1, 16)

    page = await container.list_parts("a", "u1", limit=2)
    assert ([part.part for part in page.parts], page.truncated, page.parts[0].layout) == ([1, 2], True, b"")
    page = await container.list_parts("a", "u1", after=2, layouts=True)
    assert ([part.part for part in page.parts], page.truncated, page.parts[0].layout) == ([3], False, b"at p3")

    finished = row("a", "mp", size=11)
    with pytest.raises(Superseded):
        await container.complete_upload(Complete("u1", finished, ((1, "p1"), (2, "p2"))))
    request = Complete("u1", finished, ((1, "p1"), (2, "p2b")))
    with pytest.raises(ObjectNotFound):
        await container.complete_upload(msgspec.structs.replace(request, condition=Condition(if_match=("*",))))
    result = await container.complete_upload(request)
    assert [dropped.layout for dropped in result.dropped] == [b"at p3"]
    assert (await container.get("a")).content == "mp"
    assert [stale.row for stale in await container.records_to_sync(10)] == [await container.get("a")]
    for content in ("mp", "p1", "p2b"):
        assert await container.knows("a", content)
    with pytest.raises(UploadNotFound):
        await container.get_upload("a", "u1")
    counters = await container.counters()
    assert (counters.uploads, counters.upload_bytes, counters.classes) == (0, 0, {"STANDARD": (1, 11)})

    again = await container.complete_upload(request)
    assert (again.version, again.mtime_us) == (result.version, result.mtime_us)
    clock.advance(2 * DAY_S)
    await container.create_upload(UploadRow("u2", "b"))
    await container.complete_upload(Complete("u2", row("b", "empty", size=0), ()))
    with pytest.raises(UploadNotFound):
        await container.complete_upload(request)

    await container.rename("a", "z")
    for content in ("mp", "p1", "p2b"):
        assert await container.knows("a", content)


async def test_an_aborted_upload_drops_its_parts(container: Container) -> None:
    await container.create_upload(UploadRow("u1", "a"))
    with pytest.raises(AlreadyExists):
        await container.create_upload(UploadRow("u1", "a"))
    await container.put_part("a", "u1", PartRow(1, 5, "e", "p1", b"at p1"))
    assert await container.knows("a", "p1")
    assert [dropped.layout for dropped in await container.abort_upload("a", "u1")] == [b"at p1"]
    for call in (
        container.abort_upload("a", "u1"),
        container.put_part("a", "u1", PartRow(1, 5, "e", "p1")),
        container.list_parts("a", "u1"),
        container.complete_upload(Complete("u1", row("a"), ())),
        container.get_upload("b", "u1"),
    ):
        with pytest.raises(UploadNotFound):
            await call
    await container.create_upload(UploadRow("u2", "a"))
    for number in (0, 10_001):
        with pytest.raises(InvalidArgument):
            await container.put_part("a", "u2", PartRow(number, 5, "e", "p1"))


async def test_uploads_are_listed_by_key_and_id(container: Container) -> None:
    for key, upload in (("a", "1"), ("a", "2"), ("b/1", "3"), ("b/2", "4"), ("c", "5")):
        await container.create_upload(UploadRow(upload, key))
    page = await container.list_uploads(ListRequest(delimiter="/", limit=1))
    seen = []
    while True:
        seen += [row.upload for row in page.uploads] + page.prefixes
        if not page.truncated:
            break
        page = await container.list_uploads(ListRequest(delimiter="/", limit=1, after=page.next_key), page.next_upload)
    assert seen == ["1", "2", "b/", "5"]
    assert [row.upload for row in (await container.list_uploads(ListRequest(prefix="b/"))).uploads] == ["3", "4"]
    assert [row.upload for row in (await container.list_uploads(ListRequest(after="a"))).uploads] == ["3", "4", "5"]
    assert [row.upload for row in (await container.list_uploads(ListRequest(after="a"), "1")).uploads] == ["2", "3", "4", "5"]


async def test_changed_settings_and_a_removal_are_to_be_kept(container: Container, meta: Meta) -> None:
    async def to_keep() -> bool:
        return any(each.about_bucket and each.row is None for each in await container.records_to_sync(10))

    await container.change_settings(acl="public-read")
    assert await to_keep()
    assert await meta.dirty_containers() == ["pictures"]
    await keep(meta)
    await container.change_settings(acl="public-read")
    assert not await to_keep(), "nothing changed"
    await meta.remove_bucket("pictures")
    assert await to_keep()


async def test_accounts_come_back_from_their_dump(meta: Meta, scratch: Path, clock: FakeClock) -> None:
    made = await meta.accounts.create_key(KeyPair(access_key="", account="ann", name="camera", user_id="", admin=True))
    await meta.accounts.create_key(KeyPair(access_key="", account="bob", name="bob", user_id=""))
    dump = await meta.accounts.dump()
    assert made.secret.encode() not in dump
    assert dump == await meta.accounts.dump()
    async with open_meta(scratch / "another", key=KEY, clock=clock) as another:
        await another.accounts.restore(dump)
        await another.accounts.restore(dump)
        assert await another.accounts.keys() == await meta.accounts.keys()
        assert await another.accounts.key(made.access_key) == made
        assert await another.accounts.dump() == dump
        for damaged in (b"{", b'{"tables":{"strangers":[["a"],[]]}}', b'{"tables":{"keys":[["nothing"],[]]}}'):
            with pytest.raises(RecordCorrupt):
                await another.accounts.restore(damaged)


async def test_pending_deletions_can_be_added(container: Container, meta: Meta) -> None:
    dropped = await container.add_deletion(b"lost")
    assert await container.deletions(1) == [dropped]
    assert await meta.dirty_containers() == ["pictures"]
