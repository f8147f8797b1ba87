"""The decision against a model that was written independently: sets of what each rule gives and takes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from meta.protocol.bucket import BucketSettings
from s3.acl import ALL_USERS, AUTHENTICATED_USERS, GROUP, USER, Grant, encode_acl
from s3.action import ACTIONS
from s3.authorize import POLICY, Decision, Thing, decide, guard_of, is_plain
from s3.identity import ANONYMOUS, Identity
from s3.ownership import MIXED, OWNERSHIP_CONTROLS, controls_of, owner_of_new
from s3.publicaccess import PUBLIC_ACCESS_BLOCK, PublicAccessBlock
from s3.router import ROUTES
from s3.statement import Ask
from tests.conftest import SCALE

ANN = Identity("A" * 64, "ann", user="laptop")
HELPER = Identity("A" * 64, "ann", user="helper")
BOB = Identity("B" * 64, "bob", user="bob")
CAROL = Identity("C" * 64, "carol", user="carol")
ADMIN = Identity("D" * 64, "ops", user="ops", admin=True)
PEOPLE = [ANN, HELPER, BOB, CAROL, ADMIN, ANONYMOUS]
BUCKET, KEY = "photos", "in/key"

LISTS = {"s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads"}
WRITES = {"s3:PutObject", "s3:DeleteObject"}
OF_OBJECT = {"s3:GetObject": "READ", "s3:GetObjectVersion": "READ", "s3:GetObjectAcl": "READ_ACP", "s3:PutObjectAcl": "WRITE_ACP"}
OF_POLICY = {"s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"}
OTHERS = {
    "s3:GetBucketAcl",
    "s3:PutBucketAcl",
    "s3:GetObjectTagging",
    "s3:PutObjectTagging",
    "s3:PutBucketVersioning",
    "s3:AbortMultipartUpload",
}
PERMISSIONS = sorted(LISTS | WRITES | OF_OBJECT.keys() | OF_POLICY | OTHERS)


class Line(msgspec.Struct, frozen=True):
    """One statement of a policy, simple enough for the model."""

    allows: bool
    who: tuple[str, ...]  # accounts; "*" is everybody
    actions: tuple[str, ...]

    def speaks_of(self, person: Identity, permission: str) -> bool:
        return permission in self.actions and ("*" in self.who or (not person.anonymous and person.account in self.who))


class World(msgspec.Struct, frozen=True):
    person: Identity
    permission: str
    bucket_acl: str | tuple[Grant, ...]
    object_acl: str | tuple[Grant, ...]
    object_owner: Identity
    lines: tuple[Line, ...]
    mode: str
    block: PublicAccessBlock
    mixed: bool
    new: bool  # the object is being made by this very request
    boundary: tuple[Line, ...] | None


def in_lists(acl: str | tuple[Grant, ...], owner: str, person: Identity, right: str, *, ignore: bool) -> bool:
    if isinstance(acl, str):
        groups = {"public-read": [("READ", ALL_USERS)], "public-read-write": [("READ", ALL_USERS), ("WRITE", ALL_USERS)]}
        groups["authenticated-read"] = [("READ", AUTHENTICATED_USERS)]
        grants = [Grant(permission, GROUP, group) for permission, group in groups.get(acl, [])] + [Grant("FULL_CONTROL", USER, owner)]
        if acl in ("bucket-owner-read", "bucket-owner-full-control"):
            grants.append(Grant("READ" if acl.endswith("read") else "FULL_CONTROL", USER, ANN.user_id))
    else:
        grants = list(acl)
    found = {(grant.permission, grant.grantee) for grant in grants if not (ignore and grant.kind == GROUP)}
    mine = {ALL_USERS} if person.anonymous else {ALL_USERS, AUTHENTICATED_USERS, person.user_id}
    return any((permission, who) in found for permission in (right, "FULL_CONTROL") for who in mine)


def model(world: World) -> bool:
    person, permission = world.person, world.permission
    if world.boundary is not None:
        said = [line.allows for line in world.boundary if permission in line.actions]
        if False in said or True not in said:
            return False
    family = person.account == "ann" and not person.anonymous
    if person.admin and not family:
        return True
    said = [line.allows for line in world.lines if line.speaks_of(person, permission)]
    if False in said:
        return family and permission in OF_POLICY
    allowed = True in said
    lists_count = world.mode != "BucketOwnerEnforced"
    stranger_owns = not world.new and world.mixed and lists_count and world.object_owner.account != "ann" and permission in OF_OBJECT
    if family and not stranger_owns:
        silenced = world.bucket_acl == () and lists_count and permission in LISTS | WRITES
        return allowed or not silenced
    public = any(line.allows and "*" in line.who for line in world.lines)
    if not family and allowed and not stranger_owns and not (public and world.block.restrict_public_buckets):
        return True
    ignore = world.block.ignore_public_acls
    if permission == "s3:AbortMultipartUpload":
        return not person.anonymous and person.user_id == world.object_owner.user_id
    if not lists_count:
        return False
    if world.new and permission in ("s3:PutObjectAcl", "s3:PutObjectTagging"):
        return in_lists(world.bucket_acl, ANN.user_id, person, "WRITE", ignore=ignore)
    if permission in OF_OBJECT:
        right = OF_OBJECT[permission]
        if right != "READ" and not person.anonymous and person.user_id == world.object_owner.user_id:
            return True
        return in_lists(world.object_acl, world.object_owner.user_id, person, right, ignore=ignore)
    rights = dict.fromkeys(LISTS, "READ") | dict.fromkeys(WRITES, "WRITE") | {"s3:GetBucketAcl": "READ_ACP", "s3:PutBucketAcl": "WRITE_ACP"}
    return permission in rights and in_lists(world.bucket_acl, ANN.user_id, person, rights[permission], ignore=ignore)


def document(lines: Sequence[Line], *, of_bucket: bool) -> str:
    statements: list[dict[str, Any]] = []
    for line in lines:
        statement: dict[str, Any] = {"Effect": "Allow" if line.allows else "Deny", "Action": list(line.actions)}
        if of_bucket:
            statement["Principal"] = {"AWS": [who if who == "*" else f"arn:aws:iam::{who}:root" for who in line.who]}
        statement["Resource"] = [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"]
        statements.append(statement)
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def kept(acl: str | tuple[Grant, ...]) -> str:
    return acl if isinstance(acl, str) else encode_acl(acl)


def settings_of(world: World) -> BucketSettings:
    documents = {}
    if world.mode != "ObjectWriter":
        documents[OWNERSHIP_CONTROLS.name] = OWNERSHIP_CONTROLS.encode(controls_of(world.mode))
    if world.block != PublicAccessBlock():
        documents[PUBLIC_ACCESS_BLOCK.name] = PUBLIC_ACCESS_BLOCK.encode(world.block)
    if world.lines:
        documents[POLICY] = document(world.lines, of_bucket=True)
    if world.mixed:
        documents[MIXED] = "1"
    return BucketSettings(BUCKET, "ann", ANN.user_id, 1, acl=kept(world.bucket_acl), documents=documents)


def thing_of(world: World) -> Thing:
    owner = world.object_owner
    if world.new:
        return Thing(owner.user_id, kept(world.object_acl), new=True)
    return Thing(owner.user_id, kept(world.object_acl), foreign=world.mixed and owner.account != "ann")


def none(_key: str) -> Sequence[str]:
    return ()


def ask(world: World) -> Ask:
    boundaries = () if world.boundary is None else ((document(world.boundary, of_bucket=False),),)
    resource = f"{BUCKET}/{KEY}" if ACTIONS[world.permission].value == "object" else BUCKET
    return Ask(msgspec.structs.replace(world.person, boundaries=boundaries), world.permission, resource, none)


grants = st.builds(
    lambda permission, who: Grant(permission, GROUP if who.startswith("http") else USER, who),
    st.sampled_from(["FULL_CONTROL", "READ", "WRITE", "READ_ACP", "WRITE_ACP"]),
    st.sampled_from([ANN.user_id, BOB.user_id, CAROL.user_id, ALL_USERS, AUTHENTICATED_USERS]),
)
acls = st.one_of(
    st.sampled_from(["private", "public-read", "public-read-write", "authenticated-read"]), st.lists(grants, max_size=3).map(tuple)
)
lines = st.builds(
    Line,
    st.booleans(),
    st.lists(st.sampled_from(["*", "ann", "bob", "carol", "ops"]), min_size=1, max_size=2, unique=True).map(tuple),
    st.lists(st.sampled_from(PERMISSIONS), min_size=1, max_size=4, unique=True).map(tuple),
)
worlds = st.builds(
    World,
    person=st.sampled_from(PEOPLE),
    permission=st.sampled_from(PERMISSIONS),
    bucket_acl=acls,
    object_acl=acls | st.sampled_from(["bucket-owner-read", "bucket-owner-full-control"]),
    object_owner=st.sampled_from([ANN, BOB, CAROL]),
    lines=st.lists(lines, max_size=3).map(tuple),
    mode=st.sampled_from(["BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"]),
    block=st.builds(PublicAccessBlock, st.booleans(), st.booleans(), st.booleans(), st.booleans()),
    mixed=st.booleans(),
    new=st.booleans(),
    boundary=st.none() | st.lists(lines, min_size=1, max_size=2).map(tuple),
)


@settings(max_examples=int(200 * SCALE))
@given(worlds)
def test_the_decision_is_the_models(world: World) -> None:
    guard = guard_of(settings_of(world))
    decision = decide(ask(world), guard, thing_of(world))
    event(f"{decision}")
    assert decision is not Decision.UNDECIDED
    assert (decision is Decision.ALLOW) is model(world)
    early = Decision.UNDECIDED if world.new else decide(ask(world), guard, None)
    assert early in (decision, Decision.UNDECIDED), "what was decided without the object's facts holds with them"


@given(worlds, st.lists(lines, min_size=1, max_size=3))
def test_a_policy_never_makes_a_key_wider(world: World, boundary: list[Line]) -> None:
    guard = guard_of(settings_of(world))
    thing = thing_of(world)
    free = msgspec.structs.replace(world, boundary=None)
    narrowed = msgspec.structs.replace(world, boundary=tuple(boundary))
    if decide(ask(narrowed), guard, thing) is Decision.ALLOW:
        assert decide(ask(free), guard, thing) is Decision.ALLOW


@given(worlds)
def test_what_is_plain_needs_no_decision(world: World) -> None:
    settings = settings_of(world)
    if world.person.account == "ann" and world.boundary is None and is_plain(settings):
        assert decide(ask(world), guard_of(settings), None) is Decision.ALLOW


@pytest.mark.parametrize("permission", sorted({route.permission for route in ROUTES if route.permission.startswith("s3:")}))
def test_every_permission_there_is(permission: str) -> None:
    """A private bucket without any document: its account and the administrator everything, others nothing."""
    guard = guard_of(BucketSettings(BUCKET, "ann", ANN.user_id, 1))
    thing = Thing(ANN.user_id)
    for person in PEOPLE:
        expected = Decision.ALLOW if person.account in ("ann", "ops") else Decision.DENY
        assert decide(Ask(person, permission, f"{BUCKET}/{KEY}", none), guard, thing) is expected
    assert decide(Ask(ANONYMOUS, permission, "*", none), None) is Decision.DENY
    assert (decide(Ask(BOB, permission, "*", none), None) is Decision.ALLOW) == (permission == "s3:ListAllMyBuckets")


def test_an_identity_without_account_owns_nothing() -> None:
    """A bucket whose account is empty (damaged settings) must not belong to everyone who has none."""
    guard = guard_of(BucketSettings(BUCKET, "", "", 1))
    assert decide(Ask(ANONYMOUS, "s3:PutObject", f"{BUCKET}/{KEY}", none), guard, Thing()) is Decision.DENY


def test_whom_a_buckets_list_lets_make_an_object_may_say_its_list_and_tags_then_and_no_later() -> None:
    for acl, person, expected in (
        ("public-read-write", ANONYMOUS, Decision.ALLOW),
        ("public-read-write", BOB, Decision.ALLOW),
        ("public-read", ANONYMOUS, Decision.DENY),
        ("private", BOB, Decision.DENY),
    ):
        documents = {OWNERSHIP_CONTROLS.name: OWNERSHIP_CONTROLS.encode(controls_of("ObjectWriter"))}
        guard = guard_of(BucketSettings(BUCKET, "ann", ANN.user_id, 1, acl=kept(acl), documents=documents))
        for permission in ("s3:PutObjectAcl", "s3:PutObjectTagging"):
            wanted = Ask(person, permission, f"{BUCKET}/{KEY}", none)
            assert decide(wanted, guard, Thing(person.user_id, new=True)) is expected
            assert decide(wanted, guard, Thing(ANN.user_id)) is Decision.DENY
        assert (
            decide(Ask(person, "s3:PutObjectRetention", f"{BUCKET}/{KEY}", none), guard, Thing(person.user_id, new=True)) is Decision.DENY
        )


@pytest.mark.parametrize(
    ("person", "mode", "acl", "owner"),
    [
        (ANN, "ObjectWriter", "private", ANN),
        (BOB, "ObjectWriter", "private", BOB),
        (BOB, "ObjectWriter", "bucket-owner-full-control", BOB),
        (BOB, "BucketOwnerPreferred", "private", BOB),
        (BOB, "BucketOwnerPreferred", "bucket-owner-full-control", ANN),
        (BOB, "BucketOwnerEnforced", "", ANN),
        (ADMIN, "ObjectWriter", "private", ANN),
        (ANONYMOUS, "ObjectWriter", "public-read", ANN),
    ],
)
def test_who_owns_what_is_written(person: Identity, mode: str, acl: str, owner: Identity) -> None:
    settings = BucketSettings(
        BUCKET, "ann", ANN.user_id, 1, documents={OWNERSHIP_CONTROLS.name: OWNERSHIP_CONTROLS.encode(controls_of(mode))}
    )
    assert owner_of_new(person, settings, acl) == owner.user_id


def test_ten_statements_cost_less_than_reading_them() -> None:
    statements = [Line(at % 3 > 0, ("bob",), ("s3:GetObject", f"s3:{'Put' if at % 2 else 'Delete'}Object")) for at in range(10)]
    text = document(statements, of_bucket=True)
    settings = BucketSettings(BUCKET, "ann", ANN.user_id, 1, documents={POLICY: text})
    question = Ask(ANN, "s3:GetObject", f"{BUCKET}/{KEY}", none)
    decide(question, guard_of(settings))

    def processor_s(call: Callable[[], object]) -> float:
        begin = time.process_time()
        for _ in range(2_000):
            call()
        return time.process_time() - begin

    assert processor_s(lambda: decide(question, guard_of(settings))) < 2 * processor_s(lambda: json.loads(text))
