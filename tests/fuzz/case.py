"""One case: bytes for one connection, made from a seed and a number, so that each can be made again alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from tests.support import form
from tests.support.chunks import signed_chunks
from tests.support.client import Credentials, encode_path, encode_query, presigned_query, signed_headers

from .model import BUCKETS, KEYS, Known, Plain, one_line, request
from .spoil import spoil, spoil_text, text, word

HEADERS = (
    "range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "content-md5", "content-type",
    "content-encoding",
    "content-disposition", "content-language", "cache-control", "expires", "expect", "origin", "access-control-request-method",
    "accept-encoding",
    "x-amz-acl", "x-amz-tagging", "x-amz-tagging-directive", "x-amz-metadata-directive", "x-amz-storage-class", "x-amz-meta-a",
    "x-amz-meta-",
    "x-amz-copy-source", "x-amz-copy-source-range", "x-amz-copy-source-if-match", "x-amz-checksum-sha256", "x-amz-checksum-crc32",
    "x-amz-checksum-algorithm", "x-amz-checksum-type", "x-amz-checksum-mode", "x-amz-sdk-checksum-algorithm", "x-amz-trailer",
    "x-amz-decoded-content-length", "x-amz-object-attributes", "x-amz-max-parts", "x-amz-part-number-marker", "x-amz-expected-bucket-owner",
    "x-amz-grant-read", "x-amz-grant-full-control", "x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date",
    "x-amz-object-lock-legal-hold",
    "x-amz-bypass-governance-retention", "x-amz-server-side-encryption", "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-server-side-encryption-customer-key", "x-amz-server-side-encryption-customer-key-md5", "x-amz-website-redirect-location",
    "x-amz-mfa", "x-amz-security-token", "x-amz-request-payer", "x-amz-if-match-size", "x-amz-mp-object-size", "transfer-encoding", "te",
    "connection", "x-forwarded-for", "x-forwarded-host", "x-frazil-internal", "x-amz-rename-source", "x-amz-write-offset-bytes",
)  # fmt: skip
PAYLOADS = (
    "UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", "0" * 64, "x", "",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    kind: str
    data: bytes


class CaseMaker:
    """Makes the cases of one run."""

    def __init__(self, seed: str, credentials: Credentials, host: str) -> None:
        self._seed = seed
        self._credentials = credentials
        self._host = host
        self.known = Known()
        self._kinds: dict[str, Callable[[Random], bytes]] = {
            "operation": self._operation,
            "document": self._document,
            "header": self._header,
            "query": self._query,
            "signature": self._signature,
            "form": self._form,
            "chunks": self._chunks,
            "wire": self._wire,
        }

    def make(self, number: int) -> Case:
        rng = Random(f"{self._seed}:{number}")
        kind = rng.choices(list(self._kinds), (25, 20, 15, 10, 8, 10, 7, 5))[0]
        return Case(kind, self._kinds[kind](rng))

    def _signed(self, plain: Plain, *, payload: str | None = None) -> bytes:
        path, query = encode_path(plain.bucket, plain.key), encode_query(plain.query)
        headers = {name: value for name, value in plain.headers.items() if name not in ("host", "content-length")}
        if payload is None:
            payload = hashlib.sha256(plain.body).hexdigest()
        fields = signed_headers(self._credentials, plain.method, self._host, path, query, headers.items(), payload=payload)
        return self._raw(plain, fields, f"{path}?{query}" if query else path)

    @staticmethod
    def _raw(plain: Plain, fields: Mapping[str, str], target: str) -> bytes:
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        length = f"content-length: {len(plain.body)}\r\n" if plain.body or plain.method in ("PUT", "POST") else ""
        return f"{plain.method} {target} HTTP/1.1\r\n{lines}{length}\r\n".encode() + plain.body

    def _operation(self, rng: Random) -> bytes:
        plain = request(rng, self.known)
        if plain.body and rng.random() < 0.9:
            plain.headers["content-md5"] = form.md5(plain.body)
        return self._signed(plain)

    def _document(self, rng: Random) -> bytes:
        """An operation whose body is spoiled, with a checksum that fits."""
        plain = request(rng, self.known)
        for _ in range(8):
            if plain.body:
                break
            plain = request(rng, self.known)
        plain.body = spoil(rng, plain.body, 4) if rng.random() < 0.5 else spoil_text(rng, plain.body)
        plain.headers["content-md5"] = form.md5(plain.body)
        return self._signed(plain)

    def _header(self, rng: Random) -> bytes:
        plain = request(
            rng, self.known, rng.choice(("PutObject", "GetObject", "HeadObject", "CopyObject", "UploadPart", "CreateMultipartUpload"))
        )
        if rng.random() < 0.3:
            plain = request(rng, self.known)
        for _ in range(rng.randint(1, 3)):
            value = word(rng) if rng.random() < 0.7 else text(rng)
            plain.headers[rng.choice(HEADERS)] = one_line(value).strip()
        return self._signed(plain, payload=rng.choice(PAYLOADS) if rng.random() < 0.2 else None)

    def _query(self, rng: Random) -> bytes:
        plain = request(rng, self.known)
        names = [name for name, _ in request(rng, self.known).query] + ["prefix", "max-keys", "marker", "versionId", "x-id", text(rng)]
        for _ in range(rng.randint(1, 3)):
            plain.query.append((rng.choice(names), word(rng) if rng.random() < 0.6 else text(rng)))
        return self._signed(plain)

    def _signature(self, rng: Random) -> bytes:
        """Anonymous, presigned, or signed and then spoiled."""
        plain = request(rng, self.known)
        path = encode_path(plain.bucket, plain.key)
        kind = rng.randrange(4)
        if kind == 0:
            return self._raw(plain, {"host": self._host, **plain.headers}, path + ("?" + encode_query(plain.query) if plain.query else ""))
        if kind == 1:
            expires = rng.choice(("60", "0", "-1", "604801", word(rng)))
            query = presigned_query(self._credentials, plain.method, self._host, path, expires=expires, extra=plain.query)
            return self._raw(plain, {"host": self._host}, f"{path}?{query}")
        raw = self._signed(plain)
        start = raw.find(b"authorization: ") + 15
        end = raw.find(b"\r\n", start)
        if kind == 2:
            return raw[:start] + spoil(rng, raw[start:end]).replace(b"\r", b"").replace(b"\n", b"") + raw[end:]
        return raw[:start] + b"AWS " + self._credentials.access_key.encode() + b":" + spoil(rng, b"c2lnbmF0dXJl") + raw[end:]

    def _form(self, rng: Random) -> bytes:
        bucket = rng.choice(BUCKETS)
        fields = {"key": rng.choice((*KEYS, "${filename}", "up/${filename}"))}
        for _ in range(rng.randrange(4)):
            name = rng.choice(
                ("acl", "success_action_status", "success_action_redirect", "tagging", "Content-Type", "x-amz-meta-b", *HEADERS)
            )
            fields[name] = word(rng) if rng.random() < 0.7 else text(rng)
        conditions = form.covering(fields, bucket) if rng.random() < 0.7 else [{"bucket": bucket}, ["starts-with", "$key", word(rng)]]
        if rng.random() < 0.3:
            conditions.append(["content-length-range", rng.choice((0, 1, word(rng))), rng.choice((10, 1 << 20, word(rng)))])
        if rng.random() < 0.2:
            conditions.append(rng.choice(([], {}, word(rng), ["eq", "$key"], {"a": None}, [["eq"]], {"a": {"b": []}})))
        if rng.random() < 0.7:
            fields |= form.sign(self._credentials.access_key, self._credentials.secret_key, conditions)
        elif rng.random() < 0.8:
            document = form.policy(conditions)
            if rng.random() < 0.5:
                document = form.encode_policy(spoil(rng, form.decode_policy(document)))
            fields |= form.sign_old(self._credentials.access_key, self._credentials.secret_key, document)
        body = form.encode(fields.items(), rng.randbytes(rng.choice((0, 5, 20_000, 200_000))), text(rng).replace('"', "") or "f")
        if rng.random() < 0.5:
            body = spoil(rng, body[:4_000]) + body[4_000:]
        headers = {"host": self._host, "content-type": form.CONTENT_TYPE.decode()}
        return self._raw(Plain("POST", bucket, "", body=body), headers, f"/{bucket}")

    def _chunks(self, rng: Random) -> bytes:
        pieces = [rng.randbytes(rng.choice((1, 10, 8_192, 70_000))) for _ in range(rng.randrange(4))]
        path = encode_path(rng.choice(BUCKETS), rng.choice(KEYS))
        trailer = rng.random() < 0.5
        payload = rng.choice(PAYLOADS[1:4])
        fields, body = signed_chunks(
            self._credentials, self._host, path, pieces, payload=payload, trailer="x-amz-checksum-crc32" if trailer else ""
        )
        if rng.random() < 0.8:
            cut = rng.choice((0, max(0, len(body) - 300)))
            body = body[:cut] + spoil(rng, body[cut : cut + 300], 2) + body[cut + 300 :]
        return self._raw(Plain("PUT", "", "", body=body), fields, path)

    def _wire(self, rng: Random) -> bytes:
        """Any of the others, with bytes of its head spoiled after it was signed."""
        raw = self._kinds[rng.choice(("operation", "header", "form", "chunks"))](rng)
        head, mark, body = raw.partition(b"\r\n\r\n")
        return spoil(rng, head + mark, 4) + body
