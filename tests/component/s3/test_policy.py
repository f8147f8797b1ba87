"""Bucket policies, the public-access block and ownership controls, as clients set, see and feel them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from s3.policy import POLICY_BYTES_MAX
from tests.component.s3.conftest import OWNER, STRANGER
from tests.component.s3.test_acl import DENIED, grants_of, refused

Statement = dict[str, Any]


def statement(bucket: str, action: str | list[str], condition: Any = None, *, key: str = "*", **changes: Any) -> Statement:
    found = {
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": action,
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/{key}"],
        "Condition": condition or {},
    }
    return found | changes


def put(s3: Any, bucket: str, *statements: Statement, **more: Any) -> str:
    text = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    s3.put_bucket_policy(Bucket=bucket, Policy=text, **more)
    return text


@contextmanager
def sending(client: Any, operation: str, **headers: str) -> Iterator[None]:
    """Adds headers to a call, as s3-tests do."""

    def add(params: dict[str, Any], **_: Any) -> None:
        params["headers"].update({name.replace("_", "-"): value for name, value in headers.items()})

    client.meta.events.register(f"before-call.s3.{operation}", add)
    try:
        yield
    finally:
        client.meta.events.unregister(f"before-call.s3.{operation}", add)


def test_a_policy_is_kept_as_it_is_and_removed(s3: Any, bucket: str) -> None:
    assert refused(s3.get_bucket_policy, Bucket=bucket) == ("NoSuchBucketPolicy", 404)
    text = put(s3, bucket, statement(bucket, "s3:GetObject"))
    assert s3.get_bucket_policy(Bucket=bucket)["Policy"] == text
    s3.delete_bucket_policy(Bucket=bucket)
    s3.delete_bucket_policy(Bucket=bucket)
    assert refused(s3.get_bucket_policy, Bucket=bucket) == ("NoSuchBucketPolicy", 404)


def test_malformed_policies_are_refused(s3: Any, bucket: str) -> None:
    def code(text: str) -> tuple[str, int]:
        return refused(s3.put_bucket_policy, Bucket=bucket, Policy=text)

    malformed = ("MalformedPolicy", 400)
    assert code("{") == malformed
    assert code(json.dumps({"Statement": [statement("other", "s3:GetObject")]})) == malformed
    assert code(json.dumps({"Statement": [statement(bucket, "s3:Nothing")]})) == malformed
    assert code(json.dumps({"Statement": [statement(bucket, "s3:GetObject", Principal=None, NotPrincipal="*")]})) == malformed
    assert code("{" + " " * POLICY_BYTES_MAX + "}") == malformed
    assert code(b"\xff".decode("latin-1")) == malformed
    assert refused(s3.get_bucket_policy, Bucket=bucket) == ("NoSuchBucketPolicy", 404)


def test_strangers_do_what_a_policy_allows_and_no_more(s3: Any, bucket: str, stranger: Any, anybody: Any) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    put(s3, bucket, statement(bucket, ["s3:GetObject", "s3:ListBucket"], Principal={"AWS": f"arn:aws:iam:::user/{STRANGER.user_id}"}))
    assert stranger.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    assert stranger.list_objects(Bucket=bucket)["Contents"][0]["Key"] == "k"
    assert stranger.list_objects_v2(Bucket=bucket)["KeyCount"] == 1
    stranger.head_bucket(Bucket=bucket)
    assert refused(stranger.put_object, Bucket=bucket, Key="k", Body=b"y") == DENIED
    assert refused(stranger.get_object, Bucket=bucket, Key="none") == ("NoSuchKey", 404)
    assert refused(stranger.get_object_acl, Bucket=bucket, Key="k") == DENIED
    assert refused(stranger.list_object_versions, Bucket=bucket) == DENIED
    assert refused(anybody.get_object, Bucket=bucket, Key="k") == DENIED
    put(s3, bucket, statement(bucket, "s3:GetObject"))
    assert anybody.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    assert refused(anybody.get_object, Bucket=bucket, Key="none") == DENIED


def test_one_policy_fits_two_buckets(s3: Any, bucket: str, stranger: Any) -> None:
    everywhere = statement(bucket, "s3:ListBucket", Resource=["arn:aws:s3:::*", "arn:aws:s3:::*/*"])
    s3.create_bucket(Bucket=f"{bucket}-two")
    put(s3, bucket, everywhere)
    s3.put_bucket_policy(Bucket=f"{bucket}-two", Policy=s3.get_bucket_policy(Bucket=bucket)["Policy"])
    for name in (bucket, f"{bucket}-two"):
        stranger.list_objects(Bucket=name)


def test_a_denial_wins_over_lists_and_ownership(s3: Any, bucket: str, stranger: Any) -> None:
    s3.put_bucket_acl(Bucket=bucket, ACL="authenticated-read")
    put(s3, bucket, statement(bucket, "s3:ListBucket", Effect="Deny"))
    assert refused(stranger.list_objects, Bucket=bucket) == DENIED
    assert refused(s3.list_objects, Bucket=bucket) == DENIED
    s3.delete_bucket_policy(Bucket=bucket)
    stranger.list_objects(Bucket=bucket)


def test_the_account_can_always_mend_its_policy(s3: Any, bucket: str, stranger: Any) -> None:
    text = put(s3, bucket, statement(bucket, "s3:*", Effect="Deny"))
    assert refused(s3.list_objects, Bucket=bucket) == DENIED
    assert s3.get_bucket_policy(Bucket=bucket)["Policy"] == text
    assert refused(stranger.get_bucket_policy, Bucket=bucket) == DENIED
    assert refused(stranger.delete_bucket_policy, Bucket=bucket) == DENIED
    s3.delete_bucket_policy(Bucket=bucket)
    s3.list_objects(Bucket=bucket)


def test_who_would_lose_the_policy_confirms_it(s3: Any, bucket: str, stranger: Any) -> None:
    mine = statement(bucket, ["s3:PutBucketPolicy", "s3:DeleteBucketPolicy"], Principal={"AWS": STRANGER.user_id})
    put(s3, bucket, mine)
    assert refused(put, stranger, bucket, statement(bucket, "s3:GetObject")) == DENIED
    put(stranger, bucket, mine, statement(bucket, "s3:GetObject"))
    put(stranger, bucket, statement(bucket, "s3:GetObject"), ConfirmRemoveSelfBucketAccess=True)
    assert refused(put, stranger, bucket, mine) == DENIED


def test_conditions_on_headers(s3: Any, bucket: str, stranger: Any) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    put(s3, bucket, statement(bucket, "s3:GetObject", {"StringLikeIfExists": {"aws:Referer": "http://www.example.com/*"}}))
    stranger.get_object(Bucket=bucket, Key="k")
    with sending(stranger, "GetObject", referer="http://www.example.com/index.html"):
        stranger.get_object(Bucket=bucket, Key="k")
    with sending(stranger, "GetObject", referer="http://example.com"):
        assert refused(stranger.get_object, Bucket=bucket, Key="k") == DENIED
    put(s3, bucket, statement(bucket, "s3:GetObject", {"StringLike": {"aws:UserAgent": "*Nobody*"}}))
    assert refused(stranger.get_object, Bucket=bucket, Key="k") == DENIED


def test_conditions_on_listings(s3: Any, bucket: str, stranger: Any) -> None:
    limits = {"StringEquals": {"s3:prefix": ["in/", ""], "s3:delimiter": "/"}, "NumericLessThanEquals": {"s3:max-keys": "10"}}
    put(s3, bucket, statement(bucket, "s3:ListBucket", limits))
    stranger.list_objects_v2(Bucket=bucket, Prefix="in/", Delimiter="/", MaxKeys=10)
    for other in ({"Prefix": "out/"}, {"Delimiter": "-"}, {"MaxKeys": 11}):
        assert refused(stranger.list_objects_v2, Bucket=bucket, **({"Prefix": "in/", "Delimiter": "/", "MaxKeys": 1} | other)) == DENIED
    assert refused(stranger.list_objects_v2, Bucket=bucket) == DENIED


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, True),
        ({"NotIpAddress": {"aws:SourceIp": "127.0.0.1/32"}}, False),
        ({"Bool": {"aws:SecureTransport": "true"}}, False),
        ({"StringEquals": {"aws:PrincipalType": "User", "aws:username": "stranger", "aws:userid": STRANGER.user_id}}, True),
        ({"ArnEquals": {"aws:PrincipalArn": "arn:aws:iam::two:user/stranger"}}, True),
        ({"DateGreaterThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}, "NumericGreaterThan": {"aws:EpochTime": "1"}}, True),
        ({"DateLessThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}, False),
        ({"StringEquals": {"s3:signatureversion": "AWS4-HMAC-SHA256", "s3:authType": "REST-HEADER"}}, True),
        ({"NumericLessThan": {"s3:signatureAge": "600000"}}, True),
        ({"Null": {"s3:VersionId": "true"}}, True),
        ({"StringEquals": {"s3:ResourceAccount": "one"}}, True),
    ],
)
def test_conditions_on_who_and_when(s3: Any, bucket: str, stranger: Any, condition: Any, holds: bool) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    put(s3, bucket, statement(bucket, "s3:GetObject", condition))
    if holds:
        assert stranger.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    else:
        assert refused(stranger.get_object, Bucket=bucket, Key="k") == DENIED


def test_conditions_on_tags_that_are_there(s3: Any, bucket: str, stranger: Any) -> None:
    for key, tags in (("public", "security=public"), ("private", "security=private"), ("untagged", "")):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x", Tagging=tags)
    actions = ["s3:GetObject", "s3:GetObjectTagging", "s3:PutObjectTagging", "s3:GetObjectAcl", "s3:DeleteObject"]
    put(s3, bucket, statement(bucket, actions, {"StringEquals": {"s3:ExistingObjectTag/security": "public"}}))
    tags = {"TagSet": [{"Key": "security", "Value": "public"}]}
    for key in ("private", "untagged", "none"):
        assert refused(stranger.get_object, Bucket=bucket, Key=key) == DENIED
        assert refused(stranger.get_object_tagging, Bucket=bucket, Key=key) == DENIED
        assert refused(stranger.put_object_tagging, Bucket=bucket, Key=key, Tagging=tags) == DENIED
        assert refused(stranger.delete_object, Bucket=bucket, Key=key) == DENIED
    stranger.get_object(Bucket=bucket, Key="public")
    stranger.get_object_acl(Bucket=bucket, Key="public")
    answer = stranger.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "private"}, {"Key": "public"}]})
    assert [row["Key"] for row in answer["Deleted"]] == ["public"]
    assert [(row["Key"], row["Code"]) for row in answer["Errors"]] == [("private", "AccessDenied")]


def test_conditions_on_tags_that_are_asked_for(s3: Any, bucket: str, stranger: Any) -> None:
    asked = {
        "StringEquals": {"s3:RequestObjectTag/security": "public"},
        "ForAllValues:StringEquals": {"s3:RequestObjectTagKeys": ["security"]},
    }
    put(s3, bucket, statement(bucket, ["s3:PutObject", "s3:PutObjectTagging"], asked))
    stranger.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="security=public")
    for tagging in ("security=private", "security=public&colour=blue", "colour=blue"):
        assert refused(stranger.put_object, Bucket=bucket, Key="k", Body=b"x", Tagging=tagging) == DENIED
    assert refused(stranger.put_object, Bucket=bucket, Key="k", Body=b"x") == DENIED
    stranger.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": "security", "Value": "public"}]})
    assert refused(stranger.put_object_tagging, Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": "security", "Value": "x"}]}) == DENIED


def test_a_write_bound_to_tags_may_bring_them(s3: Any, bucket: str, stranger: Any) -> None:
    """As Ceph's tests have it: s3:PutObject on condition of tags needs no s3:PutObjectTagging beside it."""
    bound = statement(bucket, "s3:PutObject", {"StringEquals": {"s3:RequestObjectTag/security": "public"}})
    put(s3, bucket, bound)
    assert refused(stranger.put_object, Bucket=bucket, Key="k", Body=b"x") == DENIED
    stranger.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="security=public")
    assert (
        refused(stranger.put_object_tagging, Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": "security", "Value": "public"}]}) == DENIED
    )
    put(s3, bucket, bound, statement(bucket, "s3:PutObjectTagging", Effect="Deny"))
    assert refused(stranger.put_object, Bucket=bucket, Key="k", Body=b"x", Tagging="security=public") == DENIED


def test_conditions_on_copies(s3: Any, bucket: str, stranger: Any) -> None:
    source = f"{bucket}-source"
    s3.create_bucket(Bucket=source)
    s3.put_object(Bucket=source, Key="public/a", Body=b"x")
    s3.put_object(Bucket=source, Key="private/a", Body=b"x")
    put(s3, source, statement(source, "s3:GetObject"))
    wanted = {"StringLike": {"s3:x-amz-copy-source": f"{source}/public/*"}, "StringEquals": {"s3:x-amz-metadata-directive": "COPY"}}
    put(s3, bucket, statement(bucket, ["s3:PutObject", "s3:GetObject"], wanted))
    copy = {"Bucket": bucket, "Key": "c", "MetadataDirective": "COPY"}
    stranger.copy_object(**copy, CopySource=f"{source}/public/a")
    stranger.copy_object(**copy, CopySource=f"{source}/public%2Fa".replace("%2F", "/"))
    assert refused(stranger.copy_object, **copy, CopySource=f"{source}/private/a") == DENIED
    assert refused(stranger.copy_object, **(copy | {"MetadataDirective": "REPLACE"}), CopySource=f"{source}/public/a") == DENIED
    assert refused(stranger.put_object, Bucket=bucket, Key="c", Body=b"x") == DENIED


def test_a_copy_needs_the_source_and_its_tags(s3: Any, bucket: str, stranger: Any) -> None:
    stranger.create_bucket(Bucket=f"{bucket}-theirs")
    s3.put_object(Bucket=bucket, Key="tagged", Body=b"x", Tagging="a=b")
    s3.put_object(Bucket=bucket, Key="plain", Body=b"x")
    put(s3, bucket, statement(bucket, "s3:GetObject"))
    target = {"Bucket": f"{bucket}-theirs", "Key": "c"}
    stranger.copy_object(**target, CopySource=f"{bucket}/plain")
    assert refused(stranger.copy_object, **target, CopySource=f"{bucket}/tagged") == DENIED
    stranger.copy_object(**target, CopySource=f"{bucket}/tagged", TaggingDirective="REPLACE")
    put(s3, bucket, statement(bucket, ["s3:GetObject", "s3:GetObjectTagging"]))
    stranger.copy_object(**target, CopySource=f"{bucket}/tagged")


def test_lists_that_a_write_brings_along(s3: Any, bucket: str, stranger: Any) -> None:
    public = {"StringLike": {"s3:x-amz-acl": "public*"}}
    put(s3, bucket, statement(bucket, "s3:PutObject"), statement(bucket, "s3:PutObject", public, Effect="Deny"))
    stranger.put_object(Bucket=bucket, Key="private", Body=b"x")
    assert refused(stranger.put_object, Bucket=bucket, Key="public", Body=b"x", ACL="public-read") == DENIED
    put(s3, bucket, statement(bucket, "s3:PutObject"), statement(bucket, "s3:PutObjectAcl", Effect="Deny"))
    assert refused(stranger.put_object, Bucket=bucket, Key="public", Body=b"x", ACL="public-read") == DENIED
    stranger.put_object(Bucket=bucket, Key="private", Body=b"x", ACL="private")
    full = {"StringEquals": {"s3:x-amz-grant-full-control": f"id={OWNER.user_id}"}}
    put(s3, bucket, statement(bucket, "s3:PutObject", full))
    stranger.put_object(Bucket=bucket, Key="given", Body=b"x", GrantFullControl=f"id={OWNER.user_id}")
    assert refused(stranger.put_object, Bucket=bucket, Key="kept", Body=b"x") == DENIED
    assert grants_of(s3.get_object_acl(Bucket=bucket, Key="given")) == [("FULL_CONTROL", OWNER.user_id)]


def test_what_a_write_asks_for_needs_its_permission(s3: Any, bucket: str, stranger: Any) -> None:
    locked = f"{bucket}-locked"
    s3.create_bucket(Bucket=locked, ObjectLockEnabledForBucket=True)
    until = datetime.now(UTC) + timedelta(days=1)
    asks = {
        "s3:PutObjectTagging": {"Tagging": "a=b"},
        "s3:PutObjectRetention": {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until},
        "s3:PutObjectLegalHold": {"ObjectLockLegalHoldStatus": "ON"},
    }
    for permission, ask in asks.items():
        put(s3, locked, statement(locked, "s3:PutObject"))
        assert refused(stranger.put_object, Bucket=locked, Key="k", Body=b"x", **ask) == DENIED, permission
        assert refused(stranger.create_multipart_upload, Bucket=locked, Key="k", **ask) == DENIED, permission
        put(s3, locked, statement(locked, ["s3:PutObject", permission]))
        stranger.put_object(Bucket=locked, Key="k", Body=b"x", **ask)


def test_versions_are_named_by_their_own_actions(s3: Any, bucket: str, stranger: Any) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["VersionId"]
    put(s3, bucket, statement(bucket, "s3:GetObject"))
    stranger.get_object(Bucket=bucket, Key="k")
    assert refused(stranger.get_object, Bucket=bucket, Key="k", VersionId=version) == DENIED
    put(s3, bucket, statement(bucket, ["s3:GetObjectVersion", "s3:DeleteObject"], key="k"))
    stranger.get_object(Bucket=bucket, Key="k", VersionId=version)
    assert refused(stranger.get_object, Bucket=bucket, Key="k") == DENIED
    assert refused(stranger.delete_object, Bucket=bucket, Key="k", VersionId=version) == DENIED
    answer = stranger.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k", "VersionId": version}, {"Key": "other"}]})
    assert [row["Code"] for row in answer["Errors"]] == ["AccessDenied", "AccessDenied"]


def test_existence_conditions_on_writes(s3: Any, bucket: str, stranger: Any) -> None:
    """A policy that wants every new object to be new."""
    creates = {"Null": {"s3:if-none-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}}
    put(s3, bucket, statement(bucket, "s3:PutObject"), statement(bucket, "s3:PutObject", creates, Effect="Deny"))
    assert refused(stranger.put_object, Bucket=bucket, Key="k", Body=b"x") == DENIED
    stranger.put_object(Bucket=bucket, Key="k", Body=b"x", IfNoneMatch="*")
    upload = stranger.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    etag = stranger.upload_part(Bucket=bucket, Key="m", UploadId=upload, PartNumber=1, Body=b"x")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    assert refused(stranger.complete_multipart_upload, Bucket=bucket, Key="m", UploadId=upload, MultipartUpload=parts) == DENIED
    stranger.complete_multipart_upload(Bucket=bucket, Key="m", UploadId=upload, MultipartUpload=parts, IfNoneMatch="*")


def test_conditions_on_canned_lists_of_buckets(s3: Any, bucket: str, stranger: Any) -> None:
    put(s3, bucket, statement(bucket, "s3:PutBucketAcl", {"StringEquals": {"s3:x-amz-acl": "public-read"}}))
    stranger.put_bucket_acl(Bucket=bucket, ACL="public-read")
    assert refused(stranger.put_bucket_acl, Bucket=bucket, ACL="public-read-write") == DENIED


def test_a_bucket_policy_is_no_right_to_what_others_own(s3: Any, bucket: str, stranger: Any, anybody: Any) -> None:
    s3.put_object(Bucket=bucket, Key="ours", Body=b"x")
    put(s3, bucket, statement(bucket, ["s3:GetObject", "s3:PutObject"]))
    stranger.put_object(Bucket=bucket, Key="theirs", Body=b"x")
    assert anybody.get_object(Bucket=bucket, Key="ours")["Body"].read() == b"x"
    assert refused(anybody.get_object, Bucket=bucket, Key="theirs") == DENIED
    assert refused(s3.get_object, Bucket=bucket, Key="theirs") == DENIED
    assert stranger.get_object(Bucket=bucket, Key="theirs")["Body"].read() == b"x"


# Public-access block

ALL_ON = {"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True, "RestrictPublicBuckets": True}


def block(s3: Any, bucket: str, **flags: bool) -> None:
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=flags)


def test_a_block_is_kept_and_removed(s3: Any, bucket: str) -> None:
    none = ("NoSuchPublicAccessBlockConfiguration", 404)
    assert refused(s3.get_public_access_block, Bucket=bucket) == none
    block(s3, bucket, **ALL_ON)
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == ALL_ON
    block(s3, bucket, BlockPublicAcls=True)
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == dict.fromkeys(ALL_ON, False) | {
        "BlockPublicAcls": True
    }
    s3.delete_public_access_block(Bucket=bucket)
    assert refused(s3.get_public_access_block, Bucket=bucket) == none


def test_public_lists_are_blocked(s3: Any, bucket: str) -> None:
    block(s3, bucket, BlockPublicAcls=True)
    for name in ("public-read", "public-read-write", "authenticated-read"):
        assert refused(s3.put_bucket_acl, Bucket=bucket, ACL=name) == DENIED
        assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"x", ACL=name) == DENIED
        assert refused(s3.create_multipart_upload, Bucket=bucket, Key="k", ACL=name) == DENIED
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="private")
    assert refused(s3.put_object_acl, Bucket=bucket, Key="k", ACL="public-read") == DENIED
    everybody = 'uri="http://acs.amazonaws.com/groups/global/AllUsers"'
    assert refused(s3.put_object_acl, Bucket=bucket, Key="k", GrantRead=everybody) == DENIED


def test_public_lists_are_ignored(s3: Any, bucket: str, stranger: Any, anybody: Any) -> None:
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="public-read")
    for other in (stranger, anybody):
        other.list_objects(Bucket=bucket)
        other.get_object(Bucket=bucket, Key="k")
    block(s3, bucket, IgnorePublicAcls=True)
    for other in (stranger, anybody):
        assert refused(other.list_objects, Bucket=bucket) == DENIED
        assert refused(other.get_object, Bucket=bucket, Key="k") == DENIED
    s3.put_object_acl(Bucket=bucket, Key="k", ACL="public-read")


def test_public_policies_are_blocked(s3: Any, bucket: str) -> None:
    block(s3, bucket, BlockPublicPolicy=True)
    assert refused(put, s3, bucket, statement(bucket, "s3:GetObject")) == DENIED
    put(s3, bucket, statement(bucket, "s3:GetObject", Principal={"AWS": "arn:aws:iam::s3tenant1:root"}))
    put(s3, bucket, statement(bucket, "s3:GetObject", {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}))


def test_public_buckets_are_restricted(s3: Any, bucket: str, stranger: Any, anybody: Any) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    put(s3, bucket, statement(bucket, "s3:GetObject"))
    for other in (stranger, anybody):
        other.get_object(Bucket=bucket, Key="k")
    block(s3, bucket, RestrictPublicBuckets=True)
    for other in (stranger, anybody):
        assert refused(other.get_object, Bucket=bucket, Key="k") == DENIED
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


def test_a_denial_keeps_the_owner_from_the_block_too(s3: Any, bucket: str) -> None:
    put(s3, bucket, statement(bucket, "s3:GetBucketPublicAccessBlock", Effect="Deny"))
    assert refused(s3.get_public_access_block, Bucket=bucket) == DENIED


def test_the_status_of_a_policy(s3: Any, bucket: str) -> None:
    def public() -> bool:
        return bool(s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"])

    assert not public()
    for name in ("public-read", "authenticated-read"):
        s3.put_bucket_acl(Bucket=bucket, ACL=name)
        assert public()
    s3.put_bucket_acl(Bucket=bucket, ACL="private")
    put(s3, bucket, statement(bucket, "s3:ListBucket"))
    assert public()
    put(s3, bucket, statement(bucket, "s3:ListBucket", {"IpAddress": {"aws:SourceIp": "10.0.0.0/32"}}))
    assert not public()


# Ownership controls


def own(s3: Any, bucket: str, mode: str) -> None:
    s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": mode}]})


@pytest.mark.parametrize("mode", ["BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"])
def test_controls_are_kept_and_removed(s3: Any, bucket: str, mode: str) -> None:
    none = ("OwnershipControlsNotFoundError", 404)
    assert refused(s3.get_bucket_ownership_controls, Bucket=bucket) == none
    own(s3, bucket, mode)
    expected = {"Rules": [{"ObjectOwnership": mode}]}
    assert s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"] == expected
    s3.delete_bucket_ownership_controls(Bucket=bucket)
    assert refused(s3.get_bucket_ownership_controls, Bucket=bucket) == none
    s3.create_bucket(Bucket=f"{bucket}-made", ObjectOwnership=mode)
    assert s3.get_bucket_ownership_controls(Bucket=f"{bucket}-made")["OwnershipControls"] == expected


def test_controls_are_refused(s3: Any, bucket: str) -> None:
    assert refused(own, s3, bucket, "Nobody") == ("MalformedXML", 400)
    assert refused(s3.create_bucket, Bucket=f"{bucket}-made", ObjectOwnership="Nobody") == ("InvalidArgument", 400)
    with_list = ("InvalidBucketAclWithObjectOwnership", 400)
    made = {"Bucket": f"{bucket}-made", "ObjectOwnership": "BucketOwnerEnforced"}
    assert refused(s3.create_bucket, **made, ACL="public-read") == with_list
    s3.create_bucket(**made, ACL="private")
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    assert refused(own, s3, bucket, "BucketOwnerEnforced") == with_list
    s3.put_bucket_acl(Bucket=bucket, ACL="private")
    own(s3, bucket, "BucketOwnerEnforced")


def test_where_the_bucket_owner_is_enforced_lists_do_not_count(s3: Any, bucket: str, stranger: Any, anybody: Any) -> None:
    s3.put_object(Bucket=bucket, Key="open", Body=b"x", ACL="public-read")
    anybody.get_object(Bucket=bucket, Key="open")
    put(s3, bucket, statement(bucket, ["s3:PutObject", "s3:PutObjectAcl"]))
    stranger.put_object(Bucket=bucket, Key="theirs", Body=b"x")
    assert refused(s3.get_object, Bucket=bucket, Key="theirs") == DENIED
    own(s3, bucket, "BucketOwnerEnforced")
    assert refused(anybody.get_object, Bucket=bucket, Key="open") == DENIED
    assert s3.get_object(Bucket=bucket, Key="theirs")["Body"].read() == b"x"
    assert grants_of(s3.get_object_acl(Bucket=bucket, Key="open")) == [("FULL_CONTROL", OWNER.user_id)]
    not_supported = ("AccessControlListNotSupported", 400)
    for name in ("private", "public-read"):
        assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"x", ACL=name) == not_supported
        assert refused(s3.put_object_acl, Bucket=bucket, Key="open", ACL=name) == not_supported
        assert refused(s3.put_bucket_acl, Bucket=bucket, ACL=name) == not_supported
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="bucket-owner-full-control")
    stranger.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert s3.get_object_acl(Bucket=bucket, Key="k")["Owner"]["ID"] == OWNER.user_id
    s3.delete_bucket_ownership_controls(Bucket=bucket)
    anybody.get_object(Bucket=bucket, Key="open")


@pytest.mark.parametrize(("mode", "owner"), [("BucketOwnerPreferred", OWNER), ("ObjectWriter", STRANGER)])
def test_who_owns_what_is_written_with_full_control(s3: Any, bucket: str, stranger: Any, mode: str, owner: Any) -> None:
    own(s3, bucket, mode)
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read-write")
    stranger.put_object(Bucket=bucket, Key="given", Body=b"x", ACL="bucket-owner-full-control")
    stranger.put_object(Bucket=bucket, Key="kept", Body=b"x")
    assert s3.get_object_acl(Bucket=bucket, Key="given")["Owner"]["ID"] == owner.user_id
    assert stranger.get_object_acl(Bucket=bucket, Key="kept")["Owner"]["ID"] == STRANGER.user_id
    upload = stranger.create_multipart_upload(Bucket=bucket, Key="parts", ACL="bucket-owner-full-control")["UploadId"]
    etag = stranger.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=1, Body=b"x")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    stranger.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload=parts)
    assert s3.get_object_acl(Bucket=bucket, Key="parts")["Owner"]["ID"] == owner.user_id
