"""A small S3 client over http.client: signs with SigV4, sends what it is told, hides nothing of the answer. Fast enough to load a store."""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import http.client
import re
import ssl
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote, unquote_plus, urlsplit
from xml.sax.saxutils import escape

REGION = "us-east-1"
UNSIGNED = "UNSIGNED-PAYLOAD"
TIMEOUT_S = 30.0
READ_BYTES = 1 << 20
_UNRESERVED = "-_.~"


@dataclass(frozen=True, slots=True)
class Credentials:
    access_key: str
    secret_key: str


@dataclass(frozen=True, slots=True)
class Answer:
    """One response, read whole. Header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """S3's error code, "" when the body is no error document."""
        found = re.search(rb"<Error>.*?<Code>([^<]+)</Code>", self.body, re.DOTALL)
        return found.group(1).decode() if found else ""

    def texts(self, tag: str) -> list[str]:
        """The contents of every `<tag>` of an XML body that has no nested ones of that name, entities resolved."""
        found = re.findall(rf"<{tag}>([^<]*)</{tag}>", self.body.decode())
        return [html.unescape(text) for text in found]

    def text(self, tag: str) -> str:
        found = self.texts(tag)
        return found[0] if found else ""

    def __repr__(self) -> str:
        return f"<Answer {self.status} {self.code} {len(self.body)} bytes>"


def encode_path(bucket: str, key: str = "") -> str:
    """The request path in path style, percent-encoded as SigV4 wants it."""
    if not bucket:
        return "/"
    return f"/{quote(bucket, safe=_UNRESERVED)}" + (f"/{quote(key, safe='/' + _UNRESERVED)}" if key else "")


def encode_query(query: Iterable[tuple[str, str]]) -> str:
    """A query string in canonical form: encoded, sorted, every name with "="."""
    return "&".join(f"{name}={value}" for name, value in sorted((quote(n, safe=_UNRESERVED), quote(v, safe=_UNRESERVED)) for n, v in query))


def signing_key(secret_key: str, date: str, region: str = REGION) -> bytes:
    key = b"AWS4" + secret_key.encode()
    for word in (date, region, "s3", "aws4_request"):
        key = hmac.digest(key, word.encode(), "sha256")
    return key


def signature(secret_key: str, stamp: str, canonical: str, region: str = REGION) -> str:
    """Signature of a canonical request. Source: AWS, "Signature calculations for the Authorization header"."""
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    return hmac.digest(signing_key(secret_key, stamp[:8], region), text.encode(), "sha256").hex()


def signed_headers(
    credentials: Credentials,
    method: str,
    host: str,
    path: str,
    query: str = "",
    headers: Iterable[tuple[str, str]] = (),
    *,
    payload: str = UNSIGNED,
    now: datetime | None = None,
    region: str = REGION,
) -> dict[str, str]:
    """The headers of a request, signed: Host, x-amz-date, x-amz-content-sha256 and every one given."""
    stamp = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    fields = {"host": host, "x-amz-date": stamp, "x-amz-content-sha256": payload}
    fields |= {name.lower(): value for name, value in headers}
    names = ";".join(sorted(fields))
    listed = "".join(f"{name}:{' '.join(fields[name].split())}\n" for name in sorted(fields))
    canonical = f"{method}\n{path}\n{query}\n{listed}\n{names}\n{payload}"
    proof = signature(credentials.secret_key, stamp, canonical, region)
    fields["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{stamp[:8]}/{region}/s3/aws4_request, "
        f"SignedHeaders={names}, Signature={proof}"
    )
    return fields


def presigned_query(
    credentials: Credentials,
    method: str,
    host: str,
    path: str,
    *,
    expires: str = "600",
    now: datetime | None = None,
    extra: Iterable[tuple[str, str]] = (),
) -> str:
    """The query string of a presigned URL."""
    stamp = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    query = encode_query(
        [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", f"{credentials.access_key}/{stamp[:8]}/{REGION}/s3/aws4_request"),
            ("X-Amz-Date", stamp),
            ("X-Amz-Expires", expires),
            ("X-Amz-SignedHeaders", "host"),
            *extra,
        ]
    )
    canonical = f"{method}\n{path}\n{query}\nhost:{host}\n\nhost\n{UNSIGNED}"
    return f"{query}&X-Amz-Signature={signature(credentials.secret_key, stamp, canonical)}"


@dataclass(slots=True)
class Client:
    """One keep-alive connection to a store. Not thread-safe: one per thread.
    Raises: OSError or http.client.HTTPException when the connection breaks."""

    url: str
    credentials: Credentials
    timeout_s: float = TIMEOUT_S
    context: ssl.SSLContext | None = None
    _connection: http.client.HTTPConnection | None = field(default=None, init=False)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    def _connect(self) -> http.client.HTTPConnection:
        if self._connection is None:
            parts = urlsplit(self.url)
            assert parts.hostname is not None
            if parts.scheme == "https":
                self._connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=self.timeout_s, context=self.context)
            else:
                self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=self.timeout_s)
        return self._connection

    def send(
        self,
        method: str,
        bucket: str = "",
        key: str = "",
        *,
        query: Iterable[tuple[str, str]] = (),
        headers: Iterable[tuple[str, str]] = (),
        body: bytes | Iterable[bytes] = b"",
        length: int | None = None,
        payload: str | None = None,
    ) -> http.client.HTTPResponse:
        """Sends one request; the response's body is the caller's to read. `length` goes with a body that is an iterable."""
        path, text = encode_path(bucket, key), encode_query(query)
        if payload is None:
            payload = hashlib.sha256(body).hexdigest() if isinstance(body, bytes) and len(body) <= READ_BYTES else UNSIGNED
        fields = signed_headers(self.credentials, method, self.host, path, text, headers, payload=payload)
        fields["content-length"] = str(len(body) if isinstance(body, bytes) else length)
        connection = self._connect()
        try:
            connection.request(method, f"{path}?{text}" if text else path, body=body, headers=fields)
            return connection.getresponse()
        except BaseException:
            self.close()
            raise

    def call(
        self,
        method: str,
        bucket: str = "",
        key: str = "",
        *,
        query: Iterable[tuple[str, str]] = (),
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        payload: str | None = None,
    ) -> Answer:
        """One request, its answer read whole."""
        response = self.send(method, bucket, key, query=query, headers=headers, body=body, payload=payload)
        try:
            content = response.read()
        except BaseException:
            self.close()
            raise
        if response.will_close:
            self.close()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, content)

    def put(self, bucket: str, key: str, body: bytes, headers: Iterable[tuple[str, str]] = ()) -> Answer:
        return self.call("PUT", bucket, key, body=body, headers=headers)

    def get(self, bucket: str, key: str, headers: Iterable[tuple[str, str]] = ()) -> Answer:
        return self.call("GET", bucket, key, headers=headers)

    def delete(self, bucket: str, key: str) -> Answer:
        return self.call("DELETE", bucket, key)

    def make_bucket(self, bucket: str) -> None:
        answer = self.call("PUT", bucket)
        assert answer.status == 200 or answer.code == "BucketAlreadyOwnedByYou", answer

    def delete_many(self, bucket: str, keys: Iterable[str]) -> Answer:
        document = "<Delete>" + "".join(f"<Object><Key>{escape(key)}</Key></Object>" for key in keys) + "</Delete>"
        return self.delete_document(bucket, document.encode())

    def delete_document(self, bucket: str, document: bytes) -> Answer:
        """DeleteObjects with any body, and the Content-MD5 that S3 demands."""
        digest = base64.b64encode(hashlib.md5(document, usedforsecurity=False).digest()).decode()
        return self.call("POST", bucket, query=[("delete", "")], headers=[("content-md5", digest)], body=document)

    def pages(self, bucket: str, *, prefix: str = "", page: int = 1000) -> Iterator[Answer]:
        """Pages of ListObjectsV2, keys URL-encoded: XML has no way to write some of them."""
        token = ""
        while True:
            query = [("list-type", "2"), ("encoding-type", "url"), ("max-keys", str(page)), ("prefix", prefix)] + (
                [("continuation-token", token)] if token else []
            )
            answer = self.call("GET", bucket, query=query)
            assert answer.status == 200, answer.body
            yield answer
            token = answer.text("NextContinuationToken")
            if not token:
                return

    def keys(self, bucket: str, *, prefix: str = "") -> list[str]:
        return [unquote_plus(key) for page in self.pages(bucket, prefix=prefix) for key in page.texts("Key")]

    def create_upload(self, bucket: str, key: str) -> Answer:
        return self.call("POST", bucket, key, query=[("uploads", "")])

    def put_part(self, bucket: str, key: str, upload: str, number: int, body: bytes) -> Answer:
        return self.call("PUT", bucket, key, query=[("partNumber", str(number)), ("uploadId", upload)], body=body)

    def complete_upload(self, bucket: str, key: str, upload: str, etags: Iterable[str]) -> Answer:
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(etag)}</ETag></Part>" for number, etag in enumerate(etags, 1)
        )
        document = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>"
        return self.call("POST", bucket, key, query=[("uploadId", upload)], body=document.encode())

    def abort_upload(self, bucket: str, key: str, upload: str) -> Answer:
        return self.call("DELETE", bucket, key, query=[("uploadId", upload)])

    def uploads(self, bucket: str) -> list[tuple[str, str]]:
        """(key, upload id) of every upload in progress; at most 1,000."""
        answer = self.call("GET", bucket, query=[("uploads", "")])
        assert answer.status == 200, answer.body
        return list(zip(answer.texts("Key"), answer.texts("UploadId"), strict=True))

    def put_stream(self, bucket: str, key: str, pieces: Iterable[bytes], length: int) -> Answer:
        """A PUT that is never whole in memory."""
        response = self.send("PUT", bucket, key, body=pieces, length=length, payload=UNSIGNED)
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())

    def get_stream(self, bucket: str, key: str) -> Iterator[bytes]:
        """Pieces of an object; raises http.client.IncompleteRead when the store stops short."""
        response = self.send("GET", bucket, key)
        assert response.status == 200, response.read()
        left = int(response.headers["content-length"])
        while left:
            piece = response.read(min(READ_BYTES, left))
            if not piece:
                self.close()
                raise http.client.IncompleteRead(b"", left)
            left -= len(piece)
            yield piece
        response.read()
