"""Bodies in the aws-chunked coding, signed chunk by chunk or not, with a trailer or without."""

from __future__ import annotations

import base64
import hashlib
import hmac
import zlib
from collections.abc import Iterable

from .client import REGION, Credentials, signed_headers, signing_key

STREAMING = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
STREAMING_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
CRC32 = "x-amz-checksum-crc32"


def crc32(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def signed_chunks(
    credentials: Credentials,
    host: str,
    path: str,
    pieces: Iterable[bytes],
    *,
    payload: str = STREAMING,
    trailer: str = "",
    decoded: int | None = None,
    headers: Iterable[tuple[str, str]] = (),
) -> tuple[dict[str, str], bytes]:
    """Headers and body of a PUT. trailer: name of the one that holds the CRC-32; decoded: the announced length, when not the true one.

    Source: AWS, "Transferring payload in multiple chunks", with and without trailing headers.
    """
    pieces = list(pieces)
    length = sum(map(len, pieces)) if decoded is None else decoded
    more = [("content-encoding", "aws-chunked"), ("x-amz-decoded-content-length", str(length)), *headers]
    if trailer:
        more.append(("x-amz-trailer", trailer))
    fields = signed_headers(credentials, "PUT", host, path, headers=more, payload=payload)
    lines = f"{trailer}:{crc32(b''.join(pieces))}\n".encode() if trailer else b""
    if payload == UNSIGNED_TRAILER:
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n"
        return fields, body + lines.replace(b"\n", b"\r\n") + b"\r\n"
    proofs = _Proofs(credentials, fields["x-amz-date"], fields["authorization"][-64:])
    body = b""
    for piece in [*pieces, b""]:
        body += f"{len(piece):x};chunk-signature={proofs.of_chunk(piece)}\r\n".encode() + piece + (b"\r\n" if piece else b"")
    if payload == STREAMING_TRAILER:
        body += lines.replace(b"\n", b"\r\n") + f"x-amz-trailer-signature:{proofs.of_trailer(lines)}\r\n".encode()
    return fields, body + b"\r\n"


class _Proofs:
    """The chain of signatures: each covers the one before."""

    def __init__(self, credentials: Credentials, stamp: str, previous: str) -> None:
        self._key = signing_key(credentials.secret_key, stamp[:8])
        self._stamp = stamp
        self._previous = previous

    def of_chunk(self, piece: bytes) -> str:
        return self._next("PAYLOAD", f"{hashlib.sha256(b'').hexdigest()}\n{hashlib.sha256(piece).hexdigest()}")

    def of_trailer(self, lines: bytes) -> str:
        return self._next("TRAILER", hashlib.sha256(lines).hexdigest())

    def _next(self, kind: str, rest: str) -> str:
        scope = f"{self._stamp[:8]}/{REGION}/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256-{kind}\n{self._stamp}\n{scope}\n{self._previous}\n{rest}"
        self._previous = hmac.digest(self._key, text.encode(), "sha256").hex()
        return self._previous
