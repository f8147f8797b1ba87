"""Every route there is, asked by everybody there is: nobody gets past the decision, whatever a handler does."""

from __future__ import annotations

import base64
import hashlib
import http.client
import itertools
import json
import re
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from meta.protocol.accounts import KeyPair
from s3.action import ACTIONS
from s3.authorize import POLICY
from s3.router import ANYBODY, ROUTES, Level, Route
from tests.component.s3.conftest import OWNER, STRANGER, Served, client_for

SUSPENDED = KeyPair("AKIASUSPENDED0000000", "one", "asleep", OWNER.user_id, secret="z" * 40, suspended=True)
NARROWED = KeyPair("AKIANARROWED00000000", "one", "narrow", OWNER.user_id, secret="n" * 40)
VALUES = {"partNumber": "1", "uploadId": "0" * 32, "id": "1", "annotationName": "a"}
NEEDS_MORE = {
    "CopyObject": ["s3:GetObject"],
    "UploadPartCopy": ["s3:GetObject"],
    "RenameObject": ["s3:GetObject", "s3:DeleteObject"],
    "GetObjectAttributes": ["s3:GetObjectAttributes"],
}
BUCKETLESS = frozenset({"ListBuckets", "CreateBucket"})
"""What everybody with a key may do."""
OPEN = frozenset(route.operation for route in ROUTES if route.permission == ANYBODY)
FORM = "PostObject"
"""Its caller is named in the body; tests/component/s3/test_post.py asks it, and one test here."""
KEPT = frozenset({"GetBucketPolicy", "PutBucketPolicy", "DeleteBucketPolicy"})
ASKED = [route for route in ROUTES if route.operation not in OPEN | {FORM}]
_numbers = itertools.count()


def send(
    served: Served,
    route: Route,
    bucket: str,
    pair: KeyPair | None,
    query_more: dict[str, str] | None = None,
    headers_more: dict[str, str] | None = None,
) -> tuple[int, str]:
    """Status and error code of the plainest request that names this route."""
    path = {Level.SERVICE: "/", Level.BUCKET: f"/{bucket}", Level.OBJECT: f"/{bucket}/k"}[route.level]
    query = {}
    for condition in route.query:
        name, _, fixed = condition.partition("=")
        query[name] = fixed or VALUES.get(name, "")
    headers = {}
    if route.header:
        headers[route.header.decode()] = f"{bucket}/k"
    if route.operation == "RenameObject":
        headers["x-amz-rename-source"] = "k"
    if route.operation == "GetObjectAttributes":
        headers["x-amz-object-attributes"] = "ETag"
    body = b"<Delete><Object><Key>k</Key></Object></Delete>" if route.operation == "DeleteObjects" else b""
    if body:
        headers["content-md5"] = base64.b64encode(hashlib.md5(body).digest()).decode()
    query |= query_more or {}
    headers |= headers_more or {}
    request = AWSRequest(route.method, f"{served.endpoint}{path}?{urlencode(query)}", headers, body)
    if pair is not None:
        S3SigV4Auth(Credentials(pair.access_key, pair.secret), "s3", "us-east-1").add_auth(request)
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
    try:
        connection.request(route.method, f"{path}?{urlencode(query)}", body or None, dict(request.headers.items()))
        response = connection.getresponse()
        found = re.search(rb"<Code>(\w+)</Code>", response.read())
        return response.status, found[1].decode() if found else ""
    finally:
        connection.close()


def denied(served: Served, route: Route, bucket: str, pair: KeyPair | None) -> bool:
    status, code = send(served, route, bucket, pair)
    assert status < 500 or status == 501, (route.operation, status, code)
    return status == 403 or code == "AccessDenied"  # DeleteObjects says it key by key


@pytest.fixture(scope="module")
def owner(served: Served) -> Any:
    for pair in (SUSPENDED, NARROWED):
        served.run(served.store.meta.accounts.create_key, pair)
    client = client_for(served)
    yield client
    client.close()


@pytest.fixture
def there(owner: Any) -> str:
    """A private bucket with an object k."""
    name = f"matrix-{next(_numbers)}"
    owner.create_bucket(Bucket=name)
    owner.put_object(Bucket=name, Key="k", Body=b"x")
    return name


def grant(owner: Any, bucket: str, effect: str, *actions: str, who: Any = None) -> None:
    resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    statement = {"Effect": effect, "Principal": who or {"AWS": STRANGER.user_id}, "Action": list(actions), "Resource": resources}
    owner.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))


def test_no_route_is_forgotten() -> None:
    assert {route.operation for route in ASKED} | OPEN | {FORM} == {route.operation for route in ROUTES}
    assert all(route.operation.startswith("Preflight") for route in ROUTES if route.operation in OPEN)


@pytest.mark.parametrize("route", ASKED, ids=[route.operation for route in ASKED])
def test_who_gets_past_the_decision(served: Served, owner: Any, there: str, route: Route) -> None:
    new = f"{there}-new" if route.operation == "CreateBucket" else there
    assert denied(served, route, new, None), "anonymous"
    assert denied(served, route, new, SUSPENDED), "suspended"
    if route.operation not in BUCKETLESS:
        assert denied(served, route, there, STRANGER), "stranger"
        _test_policies(served, owner, there, route)
    assert not denied(served, route, new, OWNER), "owner"


def _test_policies(served: Served, owner: Any, there: str, route: Route) -> None:
    if route.permission not in ACTIONS:  # of another service: no policy of a bucket can name it
        assert route.note
        return
    grant(owner, there, "Deny", route.permission, who="*")
    assert denied(served, route, there, STRANGER), "denied stranger"
    if route.operation not in KEPT:
        assert denied(served, route, there, OWNER), "denied owner"
    grant(owner, there, "Allow", route.permission, *NEEDS_MORE.get(route.operation, ()))
    if route.operation == "DeleteBucketPolicy":
        assert not denied(served, route, there, STRANGER), "granted"
        return
    assert denied(served, route, there, None), "anonymous beside a grant to another"
    if route.operation not in ("DeleteBucket", "DeleteObject", "DeleteObjects", "RenameObject"):
        assert not denied(served, route, there, STRANGER), "granted"
    if route.operation in NEEDS_MORE:
        grant(owner, there, "Allow", route.permission)
        assert denied(served, route, there, STRANGER), "granted half"
    owner.delete_bucket_policy(Bucket=there)


@pytest.mark.parametrize("name", ["DeleteBucket", "DeleteObject", "DeleteObjects", "RenameObject"])
def test_granted_strangers_may_destroy(served: Served, owner: Any, there: str, name: str) -> None:
    (route,) = (route for route in ROUTES if route.operation == name)
    grant(owner, there, "Allow", route.permission, *NEEDS_MORE.get(name, ()))
    if name == "DeleteBucket":
        owner.delete_object(Bucket=there, Key="k")
    assert not denied(served, route, there, STRANGER)


def test_a_version_in_the_query_does_not_change_what_a_write_is_asked_for(served: Served, owner: Any, there: str) -> None:
    (put,) = (route for route in ROUTES if route.operation == "PutObject")
    version, public = {"versionId": "null"}, {"x-amz-acl": "public-read"}
    grant(owner, there, "Allow", "s3:PutObject", "s3:PutObjectVersionAcl", "s3:GetObjectVersion")
    assert send(served, put, there, STRANGER, version)[0] == 200
    assert send(served, put, there, STRANGER, version, public)[0] == 403
    owner.put_object(Bucket=there, Key="k", Body=b"secret")
    assert send(served, put, there, STRANGER, version, {"x-amz-write-offset-bytes": "6"})[0] == 403


def test_a_form_is_asked_like_a_put(served: Served, owner: Any, there: str) -> None:
    def post() -> int:
        fields = "".join(f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\nposted\r\n' for name in ("key", "file"))
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
        connection.request("POST", f"/{there}", fields + "--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"})
        status = connection.getresponse().status
        connection.close()
        return status

    assert post() == 403
    grant(owner, there, "Allow", "s3:PutObject", who="*")
    assert post() == 204
    assert POLICY in served.run(served.store.meta.container(there).settings).documents
