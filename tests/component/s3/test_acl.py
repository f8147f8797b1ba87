"""Access control lists, as clients set, see and feel them."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from s3.acl import GRANTS_MAX
from tests.component.s3.conftest import OWNER, STRANGER

ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"
AUTHENTICATED = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
LOG_DELIVERY = "http://acs.amazonaws.com/groups/s3/LogDelivery"
OWNERS = {"ID": OWNER.user_id, "DisplayName": "Owner"}
STRANGERS = {"ID": STRANGER.user_id, "DisplayName": "two"}


def refused(call: Any, *args: Any, **kwargs: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call(*args, **kwargs)
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


DENIED = ("AccessDenied", 403)


def grants_of(answer: dict[str, Any]) -> list[tuple[str, str]]:
    return [(grant["Permission"], grant["Grantee"].get("ID") or grant["Grantee"]["URI"]) for grant in answer["Grants"]]


FULL = ("FULL_CONTROL", OWNER.user_id)
CANNED = {
    "private": [FULL],
    "public-read": [("READ", ALL_USERS), FULL],
    "public-read-write": [("READ", ALL_USERS), ("WRITE", ALL_USERS), FULL],
    "authenticated-read": [("READ", AUTHENTICATED), FULL],
    "bucket-owner-read": [FULL],
    "bucket-owner-full-control": [FULL],
    "aws-exec-read": [FULL],
    "log-delivery-write": [("WRITE", LOG_DELIVERY), ("READ_ACP", LOG_DELIVERY), FULL],
}


@pytest.mark.parametrize("name", CANNED)
def test_canned_lists_of_buckets(s3: Any, bucket: str, name: str) -> None:
    s3.put_bucket_acl(Bucket=bucket, ACL=name)
    answer = s3.get_bucket_acl(Bucket=bucket)
    assert grants_of(answer) == CANNED[name]
    assert answer["Owner"] == OWNERS
    s3.create_bucket(Bucket=f"{bucket}-made", ACL=name)
    assert grants_of(s3.get_bucket_acl(Bucket=f"{bucket}-made")) == CANNED[name]


@pytest.mark.parametrize("name", sorted(CANNED.keys() - {"log-delivery-write"}))
def test_canned_lists_of_objects(s3: Any, bucket: str, name: str) -> None:
    s3.put_object(Bucket=bucket, Key="put", Body=b"x", ACL=name)
    s3.put_object(Bucket=bucket, Key="plain", Body=b"x")
    s3.copy_object(Bucket=bucket, Key="copied", CopySource=f"{bucket}/plain", ACL=name)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts", ACL=name)["UploadId"]
    etag = s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=1, Body=b"x")["ETag"]
    s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    s3.put_object_acl(Bucket=bucket, Key="plain", ACL=name)
    for key in ("put", "copied", "parts", "plain"):
        answer = s3.get_object_acl(Bucket=bucket, Key=key)
        assert grants_of(answer) == CANNED[name], key
        assert answer["Owner"] == OWNERS


def test_a_copy_does_not_copy_the_list(s3: Any, bucket: str, anybody: Any) -> None:
    s3.put_object(Bucket=bucket, Key="open", Body=b"x", ACL="public-read")
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/open")
    assert anybody.get_object(Bucket=bucket, Key="open")["Body"].read() == b"x"
    assert refused(anybody.get_object, Bucket=bucket, Key="copy") == DENIED


def test_grants_by_header_come_back_in_order(s3: Any, bucket: str) -> None:
    who = f"id={STRANGER.user_id}"
    kinds = {"GrantRead": who, "GrantWrite": who, "GrantReadACP": who, "GrantWriteACP": who, "GrantFullControl": who}
    expected = [(name, STRANGER.user_id) for name in ("READ", "WRITE", "READ_ACP", "WRITE_ACP", "FULL_CONTROL")]
    s3.create_bucket(Bucket=f"{bucket}-made", **kinds)
    assert grants_of(s3.get_bucket_acl(Bucket=f"{bucket}-made")) == expected
    s3.put_bucket_acl(Bucket=bucket, **kinds)
    answer = s3.get_bucket_acl(Bucket=bucket)
    assert grants_of(answer) == expected
    assert answer["Grants"][0]["Grantee"] == {**STRANGERS, "Type": "CanonicalUser"}
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    s3.put_object_acl(Bucket=bucket, Key="k", GrantRead=f'{who}, uri="{ALL_USERS}"', GrantReadACP='emailAddress="owner@example.org"')
    assert grants_of(s3.get_object_acl(Bucket=bucket, Key="k")) == [
        ("READ", ALL_USERS),
        ("READ", STRANGER.user_id),
        ("READ_ACP", OWNER.user_id),
    ]


def policy(*grants: dict[str, Any], owner: dict[str, str] = OWNERS) -> dict[str, Any]:
    return {"Owner": owner, "Grants": list(grants)}


def grant(permission: str, who: str, kind: str = "CanonicalUser") -> dict[str, Any]:
    field = {"CanonicalUser": "ID", "Group": "URI", "AmazonCustomerByEmail": "EmailAddress"}[kind]
    return {"Permission": permission, "Grantee": {"Type": kind, field: who}}


OWN = grant("FULL_CONTROL", OWNER.user_id)
ACCESS: list[tuple[str, set[str]]] = [
    ("READ", {"list"}),
    ("WRITE", {"put", "delete"}),
    ("READ_ACP", {"get_acl"}),
    ("WRITE_ACP", {"put_acl"}),
    ("FULL_CONTROL", {"list", "put", "delete", "get_acl", "put_acl"}),
]


@pytest.mark.parametrize(("permission", "allowed"), ACCESS)
def test_what_a_grant_on_a_bucket_gives(s3: Any, bucket: str, stranger: Any, permission: str, allowed: set[str]) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    s3.put_bucket_acl(Bucket=bucket, AccessControlPolicy=policy(OWN, grant(permission, STRANGER.user_id)))
    acts = {
        "list": lambda: stranger.list_objects_v2(Bucket=bucket),
        "put": lambda: stranger.put_object(Bucket=bucket, Key="new", Body=b"x"),
        "delete": lambda: stranger.delete_object(Bucket=bucket, Key="new"),
        "get_acl": lambda: stranger.get_bucket_acl(Bucket=bucket),
        "put_acl": lambda: stranger.put_bucket_acl(Bucket=bucket, ACL="private"),
    }
    for name, act in acts.items():
        if name in allowed:
            act()
        else:
            assert refused(act) == DENIED, name
    assert refused(stranger.get_object, Bucket=bucket, Key="k") == DENIED
    assert refused(stranger.get_bucket_versioning, Bucket=bucket) == DENIED


@pytest.mark.parametrize(
    ("permission", "allowed"),
    [
        ("READ", {"get"}),
        ("WRITE", set()),
        ("READ_ACP", {"get_acl"}),
        ("WRITE_ACP", {"put_acl"}),
        ("FULL_CONTROL", {"get", "get_acl", "put_acl"}),
    ],
)
def test_what_a_grant_on_an_object_gives(s3: Any, bucket: str, stranger: Any, permission: str, allowed: set[str]) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    s3.put_object_acl(Bucket=bucket, Key="k", AccessControlPolicy=policy(OWN, grant(permission, STRANGER.user_id)))
    acts = {
        "get": lambda: stranger.get_object(Bucket=bucket, Key="k"),
        "get_acl": lambda: stranger.get_object_acl(Bucket=bucket, Key="k"),
        "put_acl": lambda: stranger.put_object_acl(Bucket=bucket, Key="k", ACL="private"),
        "put": lambda: stranger.put_object(Bucket=bucket, Key="k", Body=b"y"),
        "delete": lambda: stranger.delete_object(Bucket=bucket, Key="k"),
        "tags": lambda: stranger.get_object_tagging(Bucket=bucket, Key="k"),
    }
    for name, act in acts.items():
        if name in allowed:
            act()
        else:
            assert refused(act) == DENIED, name


def test_groups(s3: Any, bucket: str, stranger: Any, anybody: Any) -> None:
    s3.put_bucket_acl(Bucket=bucket, ACL="authenticated-read")
    stranger.list_objects_v2(Bucket=bucket)
    assert refused(anybody.list_objects_v2, Bucket=bucket) == DENIED
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read-write")
    anybody.put_object(Bucket=bucket, Key="from-nobody", Body=b"x")
    assert s3.get_object_acl(Bucket=bucket, Key="from-nobody")["Owner"] == OWNERS
    assert s3.get_object(Bucket=bucket, Key="from-nobody")["Body"].read() == b"x"


def test_e_mail_addresses_become_users(s3: Any, bucket: str) -> None:
    s3.put_bucket_acl(Bucket=bucket, AccessControlPolicy=policy(OWN, grant("READ", "Stranger@example.org", "AmazonCustomerByEmail")))
    assert grants_of(s3.get_bucket_acl(Bucket=bucket)) == [FULL, ("READ", STRANGER.user_id)]


def test_refusals(s3: Any, bucket: str, stranger: Any) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    put, put_object = s3.put_bucket_acl, s3.put_object_acl
    by_mail = grant("READ", "nobody@example.org", "AmazonCustomerByEmail")
    both = {"ACL": "private", "GrantRead": f"id={OWNER.user_id}"}
    assert refused(put, Bucket=bucket, AccessControlPolicy=policy(by_mail)) == ("UnresolvableGrantByEmailAddress", 400)
    assert refused(put, Bucket=bucket, AccessControlPolicy=policy(grant("READ", "nobody"))) == ("InvalidArgument", 400)
    assert refused(put, Bucket=bucket, AccessControlPolicy=policy(grant("READ", "http://x", "Group"))) == ("InvalidArgument", 400)
    assert refused(put, Bucket=bucket, AccessControlPolicy=policy(grant("EVERYTHING", OWNER.user_id))) == ("MalformedACLError", 400)
    assert refused(put, Bucket=bucket, AccessControlPolicy=policy(*[OWN] * (GRANTS_MAX + 1))) == ("MalformedACLError", 400)
    assert refused(put, Bucket=bucket, AccessControlPolicy={"Grants": [OWN]}) == ("MalformedACLError", 400)
    assert refused(put, Bucket=bucket, AccessControlPolicy=policy(OWN, owner=STRANGERS)) == DENIED
    assert refused(put, Bucket=bucket, ACL="private", AccessControlPolicy=policy(OWN)) == ("UnexpectedContent", 400)
    assert refused(put, Bucket=bucket) == ("MissingSecurityHeader", 400)
    assert refused(put, Bucket=bucket, **both) == ("InvalidRequest", 400)
    assert refused(put, Bucket=bucket, GrantRead="nonsense") == ("InvalidArgument", 400)
    assert refused(put, Bucket=bucket, ACL="nonsense") == ("InvalidArgument", 400)
    assert refused(put_object, Bucket=bucket, Key="k", ACL="log-delivery-write") == ("InvalidArgument", 400)
    assert refused(put_object, Bucket=bucket, Key="none", ACL="private") == ("NoSuchKey", 404)
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"y", **both) == ("InvalidRequest", 400)
    assert refused(stranger.put_object, Bucket=bucket, Key="k", Body=b"y", GrantRead="emailAddress=nobody@example.org") == DENIED
    assert grants_of(s3.get_bucket_acl(Bucket=bucket)) == [FULL]
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


def test_a_list_that_grants_nothing(s3: Any, bucket: str) -> None:
    """As Ceph's tests have it: the owner keeps the list, and what objects' lists give, but writes and lists no more."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    s3.put_bucket_acl(Bucket=bucket, AccessControlPolicy=policy())
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    assert refused(s3.put_object, Bucket=bucket, Key="new", Body=b"x") == DENIED
    assert grants_of(s3.get_bucket_acl(Bucket=bucket)) == []
    s3.put_bucket_acl(Bucket=bucket, ACL="private")
    s3.put_object(Bucket=bucket, Key="new", Body=b"x")


def test_what_others_write_is_theirs(s3: Any, bucket: str, stranger: Any) -> None:
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read-write")
    stranger.put_object(Bucket=bucket, Key="theirs", Body=b"x")
    stranger.put_object(Bucket=bucket, Key="shared", Body=b"x", ACL="bucket-owner-read")
    stranger.put_object(Bucket=bucket, Key="given", Body=b"x", GrantFullControl=f"id={OWNER.user_id}")
    s3.put_object(Bucket=bucket, Key="ours", Body=b"x")
    assert refused(s3.get_object, Bucket=bucket, Key="theirs") == DENIED
    assert refused(s3.get_object_acl, Bucket=bucket, Key="theirs") == DENIED
    assert refused(s3.copy_object, Bucket=bucket, Key="copy", CopySource=f"{bucket}/theirs") == DENIED
    assert grants_of(stranger.get_object_acl(Bucket=bucket, Key="theirs")) == [("FULL_CONTROL", STRANGER.user_id)]
    assert s3.get_object(Bucket=bucket, Key="shared")["Body"].read() == b"x"
    assert refused(s3.get_object_acl, Bucket=bucket, Key="shared") == DENIED
    answer = s3.get_object_acl(Bucket=bucket, Key="given")
    assert grants_of(answer) == [FULL]
    assert answer["Owner"] == STRANGERS
    assert s3.get_object(Bucket=bucket, Key="ours")["Body"].read() == b"x"
    assert {row["Key"]: row["Owner"]["ID"] for row in s3.list_objects(Bucket=bucket)["Contents"]} == {
        "theirs": STRANGER.user_id,
        "shared": STRANGER.user_id,
        "given": STRANGER.user_id,
        "ours": OWNER.user_id,
    }
    s3.delete_object(Bucket=bucket, Key="theirs")
    assert refused(s3.get_object, Bucket=bucket, Key="none") == ("NoSuchKey", 404)


def test_versions_have_lists_of_their_own(s3: Any, bucket: str, anybody: Any) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["VersionId"]
    second = s3.put_object(Bucket=bucket, Key="k", Body=b"2")["VersionId"]
    s3.put_object_acl(Bucket=bucket, Key="k", VersionId=first, ACL="public-read")
    assert anybody.get_object(Bucket=bucket, Key="k", VersionId=first)["Body"].read() == b"1"
    assert refused(anybody.get_object, Bucket=bucket, Key="k") == DENIED
    assert grants_of(s3.get_object_acl(Bucket=bucket, Key="k", VersionId=second)) == [FULL]


def test_a_deleted_object_is_missing_to_who_may_list(s3: Any, bucket: str, anybody: Any) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=bucket, Key="k", Body=b"1", ACL="public-read")
    s3.delete_object(Bucket=bucket, Key="k")
    assert refused(anybody.get_object, Bucket=bucket, Key="k") == DENIED
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    assert refused(anybody.get_object, Bucket=bucket, Key="k") == ("NoSuchKey", 404)
    assert refused(anybody.get_object_acl, Bucket=bucket, Key="k") == ("NoSuchKey", 404)


def test_who_began_an_upload_may_end_it(s3: Any, bucket: str, stranger: Any, anybody: Any) -> None:
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read-write")
    mine = s3.create_multipart_upload(Bucket=bucket, Key="mine")["UploadId"]
    theirs = stranger.create_multipart_upload(Bucket=bucket, Key="theirs")["UploadId"]
    stranger.upload_part(Bucket=bucket, Key="theirs", UploadId=theirs, PartNumber=1, Body=b"x")
    assert len(stranger.list_parts(Bucket=bucket, Key="theirs", UploadId=theirs)["Parts"]) == 1
    for other in (stranger, anybody):
        assert refused(other.list_parts, Bucket=bucket, Key="mine", UploadId=mine) == DENIED
        assert refused(other.abort_multipart_upload, Bucket=bucket, Key="mine", UploadId=mine) == DENIED
        assert refused(other.abort_multipart_upload, Bucket=bucket, Key="none", UploadId="0" * 32) == DENIED
    s3.abort_multipart_upload(Bucket=bucket, Key="theirs", UploadId=theirs)
    s3.abort_multipart_upload(Bucket=bucket, Key="mine", UploadId=mine)


def test_the_expected_owner(s3: Any, bucket: str) -> None:
    for expected in (OWNER.user_id, "one"):
        s3.list_objects_v2(Bucket=bucket, ExpectedBucketOwner=expected)
    assert refused(s3.list_objects_v2, Bucket=bucket, ExpectedBucketOwner=STRANGER.user_id) == DENIED
    assert refused(s3.put_bucket_acl, Bucket=bucket, ACL="private", ExpectedBucketOwner="two") == DENIED


def test_a_bucket_that_is_not_there_is_told(anybody: Any, stranger: Any) -> None:
    for other in (anybody, stranger):
        assert refused(other.get_object, Bucket="nobody-has-this", Key="k") == ("NoSuchBucket", 404)
