"""Forms as a browser would post them, and what their makers sign."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from .client import REGION, signing_key

BOUNDARY = b"----WebKitFormBoundaryE19zNvXGzXaLvS5C"
CONTENT_TYPE = b"multipart/form-data; boundary=" + BOUNDARY


def encode(fields: Iterable[tuple[str, str]], file: bytes | None, filename: str = "file.txt", *, boundary: bytes = BOUNDARY) -> bytes:
    """The body; without a file when that is None."""
    pieces = [
        b'--%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (boundary, name.encode(), value.encode())
        for name, value in fields
    ]
    if file is not None:
        head = f'Content-Disposition: form-data; name="file"; filename="{filename}"\r\nContent-Type: text/plain\r\n\r\n'
        pieces.append(b"--%b\r\n%b%b\r\n" % (boundary, head.encode(), file))
    return b"".join(pieces) + b"--%b--\r\n" % boundary


def policy(conditions: Iterable[Any], *, lasts_s: float = 600, **more: Any) -> str:
    """A policy document in base64."""
    expiration = (datetime.now(UTC) + timedelta(seconds=lasts_s)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return encode_policy(json.dumps({"expiration": expiration, "conditions": list(conditions), **more}).encode())


def encode_policy(document: bytes) -> str:
    return base64.b64encode(document).decode()


def decode_policy(document: str) -> bytes:
    return base64.b64decode(document)


def md5(data: bytes) -> str:
    """As Content-MD5 has it."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def sign_old(access_key: str, secret_key: str, document: str) -> dict[str, str]:
    """The fields of a policy signed with HMAC-SHA1."""
    proof = base64.b64encode(hmac.digest(secret_key.encode(), document.encode(), "sha1")).decode()
    return {"AWSAccessKeyId": access_key, "policy": document, "signature": proof}


def sign(access_key: str, secret_key: str, conditions: Iterable[Any], *, lasts_s: float = 600) -> dict[str, str]:
    """The fields of a policy signed with version 4; it covers those, too."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    fields = {
        "x-amz-algorithm": "AWS4-HMAC-SHA256",
        "x-amz-credential": f"{access_key}/{stamp[:8]}/{REGION}/s3/aws4_request",
        "x-amz-date": stamp,
    }
    document = policy([*conditions, *({name: value} for name, value in fields.items())], lasts_s=lasts_s)
    proof = hmac.digest(signing_key(secret_key, stamp[:8]), document.encode(), "sha256").hex()
    return {**fields, "policy": document, "x-amz-signature": proof}


def covering(fields: Mapping[str, str], bucket: str) -> list[Any]:
    """Conditions that allow exactly these fields."""
    return [{"bucket": bucket}, *({name: value} for name, value in fields.items())]
