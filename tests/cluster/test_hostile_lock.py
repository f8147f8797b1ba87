"""Every way round a lock, tried by the store's own administrator at the real port: what is retained is there afterwards, byte for byte.

The class of fault: retention that fails open, or that only one of several ways to write looks at (RustFS GHSA-j548, MinIO CVE-2023-25812).
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.support import form
from tests.support.forge import host_of, request, signed
from tests.support.store import StoreProcess

BUCKET = "retained"
KEY = "k"
DATA = b"what must stay" * 1_000
UNTIL = datetime.datetime(2090, 1, 2, tzinfo=datetime.UTC)
MD5 = base64.b64encode(hashlib.md5(b"other").digest()).decode()


@dataclass(frozen=True, slots=True)
class Held:
    """A version under COMPLIANCE retention, and the means to attack it."""

    store: StoreProcess
    s3: Any
    version: str

    def raw(self, method: str, target: str, body: bytes = b"", *headers: tuple[str, str]) -> int:
        path, _, query = target.partition("?")
        fields = signed(self.store, method, path, query=query, headers=headers)
        return request(self.store, method, target, fields, body).status


@pytest.fixture(scope="module")
def s3(shared_store: StoreProcess) -> Iterator[Any]:
    client = boto3.client(
        "s3",
        endpoint_url=shared_store.url,
        aws_access_key_id=shared_store.credentials.access_key,
        aws_secret_access_key=shared_store.credentials.secret_key,
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, signature_version="s3v4"),
    )
    client.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    yield client
    client.close()


@pytest.fixture
def held(shared_store: StoreProcess, s3: Any) -> Held:
    version = s3.put_object(Bucket=BUCKET, Key=KEY, Body=DATA, Tagging="a=b", ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=UNTIL)[
        "VersionId"
    ]
    return Held(shared_store, s3, version)


def _upload(held: Held) -> None:
    upload = held.s3.create_multipart_upload(Bucket=BUCKET, Key=KEY)["UploadId"]
    part = held.s3.upload_part(Bucket=BUCKET, Key=KEY, UploadId=upload, PartNumber=1, Body=b"other")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    held.s3.complete_multipart_upload(Bucket=BUCKET, Key=KEY, UploadId=upload, MultipartUpload=parts)


def _post(held: Held) -> None:
    credentials = held.store.credentials
    fields = {"key": KEY, "Content-MD5": MD5}
    fields |= form.sign(credentials.access_key, credentials.secret_key, form.covering(fields, BUCKET))
    headers = {"host": host_of(held.store), "content-type": form.CONTENT_TYPE.decode()}
    assert request(held.store, "POST", f"/{BUCKET}", headers, form.encode(fields.items(), b"other")).status == 204


def _delete_marker(held: Held) -> None:
    marker = held.s3.delete_object(Bucket=BUCKET, Key=KEY)["VersionId"]
    held.s3.delete_object(Bucket=BUCKET, Key=KEY, VersionId=marker)


def _hoisted_bypass(held: Held) -> None:
    arguments = {"Bucket": BUCKET, "Key": KEY, "VersionId": held.version, "BypassGovernanceRetention": True}
    url = held.s3.generate_presigned_url("delete_object", arguments)
    for target in (url, url + "&x-amz-bypass-governance-retention=true"):
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(urllib.request.Request(target, method="DELETE"), timeout=10)


def _many(held: Held) -> None:
    wanted = {"Objects": [{"Key": KEY, "VersionId": held.version}, {"Key": KEY, "VersionId": held.version}]}
    answer = held.s3.delete_objects(Bucket=BUCKET, Delete=wanted, BypassGovernanceRetention=True)
    assert {error["Code"] for error in answer["Errors"]} == {"AccessDenied"}


def _retention(mode: str, until: datetime.datetime) -> Callable[[Held], None]:
    return lambda held: held.s3.put_object_retention(
        Bucket=BUCKET,
        Key=KEY,
        VersionId=held.version,
        BypassGovernanceRetention=True,
        Retention={"Mode": mode, "RetainUntilDate": until},
    )


def _raw(method: str, query: str, body: bytes = b"", *headers: tuple[str, str]) -> Callable[[Held], None]:
    """A request at the version that may be refused or not, as long as it does no harm. query: VERSION stands for the held one."""

    def attack(held: Held) -> None:
        status = held.raw(method, f"/{BUCKET}/{KEY}{query.replace('VERSION', held.version)}", body, *headers)
        assert status < 500 or status == 501

    return attack


def _call(name: str, **arguments: Any) -> Callable[[Held], None]:
    def attack(held: Held) -> None:
        more = {key: value.replace("VERSION", held.version) if isinstance(value, str) else value for key, value in arguments.items()}
        getattr(held.s3, name)(Bucket=BUCKET, **more)

    return attack


REFUSED: dict[str, Callable[[Held], None]] = {
    "delete the version": _call("delete_object", Key=KEY, VersionId="VERSION"),
    "delete it with the bypass": _call("delete_object", Key=KEY, VersionId="VERSION", BypassGovernanceRetention=True),
    "shorten": _retention("COMPLIANCE", UNTIL - datetime.timedelta(days=1)),
    "weaken": _retention("GOVERNANCE", UNTIL),
    "end now": _retention("GOVERNANCE", datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC)),
    "take off": lambda held: held.s3.put_object_retention(
        Bucket=BUCKET, Key=KEY, VersionId=held.version, BypassGovernanceRetention=True, Retention={}
    ),
    "suspend versions": _call("put_bucket_versioning", VersioningConfiguration={"Status": "Suspended"}),
    "delete the bucket": _call("delete_bucket"),
}
ALLOWED: dict[str, Callable[[Held], None]] = {
    "overwrite": _call("put_object", Key=KEY, Body=b"other"),
    "copy onto itself": _call("copy_object", Key=KEY, CopySource=f"{BUCKET}/{KEY}", MetadataDirective="REPLACE", Metadata={"a": "b"}),
    "upload in parts": _upload,
    "form": _post,
    "delete marker, made and deleted": _delete_marker,
    "presigned bypass": _hoisted_bypass,
    "delete many": _many,
    "tags": _call("put_object_tagging", Key=KEY, VersionId="VERSION", Tagging={"TagSet": []}),
    "put with its version id": _raw("PUT", "?versionId=VERSION", b"other"),
    "put with its version id, bypass": _raw("PUT", "?versionId=VERSION", b"other", ("x-amz-bypass-governance-retention", "true")),
    "append": _raw("PUT", "", b"other", ("x-amz-write-offset-bytes", str(len(DATA)))),
    "write at the beginning": _raw("PUT", "", b"other", ("x-amz-write-offset-bytes", "0")),
    "rename over it": _raw("PUT", "?renameObject", b"", ("x-amz-rename-source", "none")),
    "rename it away": lambda held: _ignore(held.raw("PUT", f"/{BUCKET}/away?renameObject", b"", ("x-amz-rename-source", KEY))),
    "delete with null": _raw("DELETE", "?versionId=null"),
    "expire": lambda held: held.s3.put_bucket_lifecycle_configuration(
        Bucket=BUCKET,
        LifecycleConfiguration={
            "Rules": [
                {
                    "ID": "all",
                    "Status": "Enabled",
                    "Filter": {},
                    "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
                    "Expiration": {"Days": 1},
                }
            ]
        },
    ),
    "no default": _call("put_object_lock_configuration", ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"}),
}


def _ignore(status: int) -> None:
    assert status < 500 or status == 501


def assert_held(held: Held) -> None:
    answer = held.s3.get_object(Bucket=BUCKET, Key=KEY, VersionId=held.version)
    assert answer["Body"].read() == DATA
    assert (answer["ObjectLockMode"], answer["ObjectLockRetainUntilDate"]) == ("COMPLIANCE", UNTIL)


@pytest.mark.parametrize("attack", REFUSED.values(), ids=REFUSED)
def test_what_would_loosen_a_lock_is_refused(held: Held, attack: Callable[[Held], None]) -> None:
    with pytest.raises(ClientError) as caught:
        attack(held)
    assert caught.value.response["Error"]["Code"] in (
        "AccessDenied",
        "InvalidBucketState",
        "BucketNotEmpty",
        "InvalidArgument",
        "MalformedXML",
    )
    assert_held(held)


@pytest.mark.parametrize("attack", ALLOWED.values(), ids=ALLOWED)
def test_what_only_adds_versions_leaves_the_locked_one(held: Held, attack: Callable[[Held], None]) -> None:
    attack(held)
    assert_held(held)


def test_a_legal_hold_holds_beside_every_bypass(held: Held) -> None:
    version = held.s3.put_object(Bucket=BUCKET, Key="h", Body=DATA, ObjectLockLegalHoldStatus="ON")["VersionId"]
    with pytest.raises(ClientError):
        held.s3.delete_object(Bucket=BUCKET, Key="h", VersionId=version, BypassGovernanceRetention=True)
    held.s3.delete_object(Bucket=BUCKET, Key="h")
    assert held.s3.get_object(Bucket=BUCKET, Key="h", VersionId=version)["Body"].read() == DATA
    held.s3.put_object_legal_hold(Bucket=BUCKET, Key="h", VersionId=version, LegalHold={"Status": "OFF"})
    held.s3.delete_object(Bucket=BUCKET, Key="h", VersionId=version)
