"""Every route there is, with every kind of proof that a forger could show: nothing passes, nothing changes, nothing is told.

The class of fault: one handler forgets one way of signing (MinIO CVE-2026-40344 and CVE-2026-41145; SeaweedFS CVE-2026-55873).
"""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from s3.router import ANYBODY, ROUTES, Level, Route
from tests.component.s3.conftest import OWNER, Served, client_for
from tests.support import form
from tests.support.chunks import CRC32, STREAMING, STREAMING_TRAILER, UNSIGNED_TRAILER, signed_chunks
from tests.support.client import REGION, Credentials, encode_query, presigned_query, signed_headers

VALUES = {"partNumber": "1", "uploadId": "0" * 32, "id": "1", "annotationName": "a"}
BUCKET = "forged"
ASKED = [route for route in ROUTES if route.permission != ANYBODY]
RIGHT = Credentials(OWNER.access_key, OWNER.secret)
WRONG = Credentials(OWNER.access_key, "w" * 40)
NOBODY = Credentials("AKIANOBODY0000000000", "w" * 40)
BODY = b"<Delete><Object><Key>k</Key></Object></Delete>"

Request = tuple[str, dict[str, str], bytes]
"""Target, headers, body."""


class Aim:
    """The plainest request that names a route, before it is signed."""

    def __init__(self, served: Served, route: Route) -> None:
        self.method = route.method
        self.host = f"127.0.0.1:{served.port}"
        self.path = {Level.SERVICE: "/", Level.BUCKET: f"/{BUCKET}", Level.OBJECT: f"/{BUCKET}/k"}[route.level]
        self.query = []
        for condition in route.query:
            name, _, fixed = condition.partition("=")
            self.query.append((name, fixed or VALUES.get(name, "")))
        self.headers = {route.header.decode(): f"/{BUCKET}/k"} if route.header else {}

    @property
    def target(self) -> str:
        return self.path + ("?" + encode_query(self.query) if self.query else "")

    def signed(self, who: Credentials, *, payload: str = "UNSIGNED-PAYLOAD", method: str = "", **more: Any) -> dict[str, str]:
        query = encode_query(self.query)
        return signed_headers(who, method or self.method, self.host, self.path, query, self.headers.items(), payload=payload, **more)

    def presigned(self, who: Credentials, **more: Any) -> Request:
        query = presigned_query(who, self.method, self.host, self.path, extra=self.query, **more)
        return f"{self.path}?{query}", {"host": self.host, **self.headers}, BODY

    def without(self, *parts: str) -> Request:
        """A presigned URL that lacks parts of its proof."""
        target, headers, body = self.presigned(RIGHT)
        path, _, query = target.partition("?")
        return path + "?" + "&".join(piece for piece in query.split("&") if not piece.startswith(parts)), headers, body


def _chunks(who: Credentials, payload: str) -> Callable[[Aim], Request]:
    def make(aim: Aim) -> Request:
        trailer = "" if payload == STREAMING else CRC32
        _, body = signed_chunks(who, aim.host, aim.path, [BODY], payload=payload, trailer=trailer)
        aim.headers |= {"content-encoding": "aws-chunked", "x-amz-decoded-content-length": str(len(BODY))}
        if trailer:
            aim.headers["x-amz-trailer"] = trailer
        return aim.target, aim.signed(who, payload=payload), body

    return make


def _claim_only(payload: str) -> Callable[[Aim], Request]:
    """A known key is named, the signature is none."""

    def make(aim: Aim) -> Request:
        headers = aim.signed(RIGHT, payload=payload)
        headers["authorization"] = re.sub(r"[0-9a-f]{64}$", "0" * 64, headers["authorization"])
        return aim.target, headers, b"2e\r\n" + BODY + b"\r\n0\r\n\r\n"

    return make


def _form(who: Credentials, *, old: bool = False) -> Callable[[Aim], Request]:
    def make(aim: Aim) -> Request:
        conditions = form.covering({"key": "forged"}, BUCKET)
        if old:
            proof = form.sign_old(who.access_key, who.secret_key, form.policy(conditions))
        else:
            proof = form.sign(who.access_key, who.secret_key, conditions)
        body = form.encode({"key": "forged", **proof}.items(), b"forged")
        return aim.target, {"host": aim.host, "content-type": form.CONTENT_TYPE.decode(), **aim.headers}, body

    return make


def _replayed(aim: Aim) -> Request:
    """Signed for reading another object."""
    fields = signed_headers(RIGHT, "GET", aim.host, f"/{BUCKET}/other")
    return aim.target, fields | aim.headers, BODY


def _past(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


FORGERIES: dict[str, Callable[[Aim], Request]] = {
    "none": lambda aim: (aim.target, {"host": aim.host, **aim.headers}, BODY),
    "header, wrong secret": lambda aim: (aim.target, aim.signed(WRONG), BODY),
    "header, unknown key": lambda aim: (aim.target, aim.signed(NOBODY), BODY),
    "header, another method": lambda aim: (aim.target, aim.signed(RIGHT, method="OPTIONS"), BODY),
    "header, another region": lambda aim: (aim.target, aim.signed(RIGHT, region="mars-1"), BODY),
    "header, an hour old": lambda aim: (aim.target, aim.signed(RIGHT, now=_past(3_600)), BODY),
    "header, another request's": _replayed,
    "header, one that is not signed": lambda aim: (aim.target, aim.signed(RIGHT) | {"x-amz-meta-added": "a"}, BODY),
    "presigned, wrong secret": lambda aim: aim.presigned(WRONG),
    "presigned, unknown key": lambda aim: aim.presigned(NOBODY),
    "presigned, ended": lambda aim: aim.presigned(RIGHT, expires="60", now=_past(120)),
    "presigned, no signature": lambda aim: aim.without("X-Amz-Signature"),
    "presigned, credential alone": lambda aim: aim.without("X-Amz-Signature", "X-Amz-Alg", "X-Amz-Date", "X-Amz-Exp", "X-Amz-SignedH"),
    "presigned and header": lambda aim: (aim.presigned(RIGHT)[0], aim.signed(RIGHT), BODY),
    "signed chunks, wrong secret": _chunks(WRONG, STREAMING),
    "signed chunks and trailer, wrong secret": _chunks(WRONG, STREAMING_TRAILER),
    "unsigned trailer, wrong secret": _chunks(WRONG, UNSIGNED_TRAILER),
    "unsigned trailer, no signature": _claim_only(UNSIGNED_TRAILER),
    "signed chunks, no signature": _claim_only(STREAMING),
    "anonymous unsigned trailer": lambda aim: (
        aim.target,
        {"host": aim.host, "x-amz-content-sha256": UNSIGNED_TRAILER, **aim.headers},
        BODY,
    ),
    "version 2": lambda aim: (aim.target, {"host": aim.host, "authorization": f"AWS {OWNER.access_key}:c2ln", **aim.headers}, BODY),
    "version 2, presigned": lambda aim: (
        f"{aim.target}{'&' if aim.query else '?'}AWSAccessKeyId={OWNER.access_key}&Expires=4000000000&Signature=c2ln",
        {"host": aim.host, **aim.headers},
        BODY,
    ),
    "SigV4A": lambda aim: (aim.target, _replaced(aim.signed(RIGHT), "AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), BODY),
    "basic": lambda aim: (aim.target, {"host": aim.host, "authorization": "Basic YTpi", **aim.headers}, BODY),
    "bearer": lambda aim: (aim.target, {"host": aim.host, "authorization": "Bearer x.y.z", **aim.headers}, BODY),
    "form, wrong secret": _form(WRONG),
    "form of the old kind, wrong secret": _form(WRONG, old=True),
    "form, unknown key": _form(NOBODY),
}


def _replaced(headers: dict[str, str], old: str, new: str) -> dict[str, str]:
    return headers | {"authorization": headers["authorization"].replace(old, new)}


def send(served: Served, method: str, request: Request) -> tuple[int, str, bytes]:
    """Status, code and all of the answer."""
    target, headers, body = request
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
    try:
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in {**headers, "content-length": str(len(body))}.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        content = response.read()
        found = re.search(rb"<Code>(\w+)</Code>", content)
        return response.status, found[1].decode() if found else "", content
    finally:
        connection.close()


def state(s3: Any) -> dict[str, Any]:
    """What an owner sees of the bucket, without the wrapping of the answers."""
    answers = {
        "objects": s3.list_object_versions(Bucket=BUCKET),
        "uploads": s3.list_multipart_uploads(Bucket=BUCKET),
        "acl": s3.get_bucket_acl(Bucket=BUCKET),
        "versioning": s3.get_bucket_versioning(Bucket=BUCKET),
        "object": s3.head_object(Bucket=BUCKET, Key="k"),
        "tags": s3.get_object_tagging(Bucket=BUCKET, Key="k"),
        "buckets": s3.list_buckets()["Buckets"],
    }
    for answer in answers.values():
        if isinstance(answer, dict):
            answer.pop("ResponseMetadata", None)
    return answers


@pytest.fixture(scope="module")
def s3(served: Served) -> Any:
    client = client_for(served)
    client.create_bucket(Bucket=BUCKET)
    client.put_object(Bucket=BUCKET, Key="k", Body=b"kept", Tagging="a=b")
    yield client
    client.close()


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_no_route_takes_a_forged_proof(served: Served, s3: Any, forge: Callable[[Aim], Request]) -> None:
    before = state(s3)
    for route in ASKED:
        aim = Aim(served, route)
        status, code, content = send(served, route.method, forge(aim))
        no_form = route.form and status == 412
        assert status in (400, 403, 501) or no_form, (route.operation, status, code)
        if status == 501 and route.method != "HEAD":
            assert code == "NotImplemented", route.operation
            assert b"SigV4A" in content, route.operation
        assert status != 400 or route.method == "HEAD" or code not in ("", "MalformedXML", "MissingContentLength"), (route.operation, code)
        assert OWNER.secret.encode() not in content
    assert state(s3) == before


GENUINE: dict[str, Callable[[Aim], Request]] = {
    "header": lambda aim: (aim.target, aim.signed(RIGHT), BODY),
    "presigned": lambda aim: aim.presigned(RIGHT),
    "unsigned trailer": _chunks(RIGHT, UNSIGNED_TRAILER),
}


@pytest.mark.parametrize("make", GENUINE.values(), ids=GENUINE)
def test_the_genuine_proof_passes_on_every_route_that_only_reads(served: Served, s3: Any, make: Callable[[Aim], Request]) -> None:
    """So that the refusals above are the forgeries' doing."""
    for route in ASKED:
        if route.method in ("GET", "HEAD"):
            aim = Aim(served, route)
            aim.headers = {}
            status, code, _ = send(served, route.method, make(aim))
            assert status != 403, (route.operation, code)
            assert code not in ("AuthorizationQueryParametersError", "AuthorizationHeaderMalformed"), route.operation


def test_a_proof_names_its_key_and_no_other(served: Served) -> None:
    """The credential's scope is what was signed with: no part of it can be swapped."""
    aim = Aim(served, next(route for route in ROUTES if route.operation == "GetObject"))
    fields = aim.signed(RIGHT)
    for old, new in (
        (REGION, "us-east-2"),
        ("/s3/", "/s3express/"),
        ("aws4_request", "aws5_request"),
        (OWNER.access_key, "AKIASTRANGER00000000"),
    ):
        status, code, _ = send(served, "GET", (aim.target, _replaced(fields, old, new), b""))
        assert status in (400, 403), (old, new, code)
