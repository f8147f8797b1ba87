"""Bytes and words made wrong, from a seeded generator."""

from __future__ import annotations

import re
from random import Random
from xml.sax.saxutils import escape

WORDS = (
    "", " ", "0", "-1", "1", "null", "true", "false", "*", "..", "../..", "%", "%00", "%2e%2e%2f", "%ff", "\x00", "\t", "\n", "\r\n",
    "\x7f", "ü",
    "\u202e", "\ufffe", "\U0001f9ca", "9223372036854775807", "9223372036854775808", "18446744073709551616", "1e9", "0x10", "1.5", "NaN",
    "2147483648", "99999999999999999999", "a" * 300, "a" * 3_000, "<", ">", "&", "&amp;", "&#0;", "&#x110000;", "]]>", "<!--",
    "<![CDATA[x]]>",
    "<!DOCTYPE a>", "'", '"', "\\", "${filename}", "$key", "{}", "[]", "bytes=0-", "bytes=5-1", "bytes=-0", "bytes=0-0,2-3",
    "Thu, 01 Jan 1970 00:00:00 GMT", "9999-12-31T23:59:59Z", "0000-00-00T00:00:00Z", "=?utf-8?b?4pyT?=", "=?x?q?a?=", "W/\"a\"", "AES256",
    "aws:kms", "GLACIER", "GOVERNANCE", "COMPLIANCE", "public-read-write", "arn:aws:s3:::x", "uri=http://x", "id=x",
    "attachment; filename=x",
    "application/xml; charset=x", "gzip", "aws-chunked", "chunked", "keep-alive, close", "100-continue", "/fuzz-0/a", "/fuzz-0/../fuzz-1/a",
    "/fuzz-0/a?versionId=null", "/fuzz-0/a?versionId=", "1B2M2Y8AsgTpgAmY7PhCfg==", "AAAAAA==", "A" * 44, "x-amz-checksum-crc32",
)  # fmt: skip
_LATIN = [word.encode("utf-8") for word in WORDS]


def word(rng: Random) -> str:
    return rng.choice(WORDS)


def text(rng: Random, most: int = 12) -> str:
    """Any characters that UTF-8 has, seldom many."""
    size = rng.randrange(most) if rng.random() < 0.95 else rng.randrange(1_100)
    ranges = ((0x20, 0x7F), (0x00, 0x20), (0xA0, 0x250), (0x2000, 0x2070), (0xFE00, 0xFFFE), (0x1F300, 0x1F400))
    return "".join(chr(rng.randrange(*rng.choices(ranges, (60, 3, 10, 3, 2, 5))[0])) for _ in range(size))


def spoil_text(rng: Random, document: bytes) -> bytes:
    """An XML document with other text in one of its leaves."""
    pieces = re.split(rb"(?<=>)([^<>]*)(?=</)", document)
    if len(pieces) > 1:
        at = rng.randrange(len(pieces) // 2) * 2 + 1
        pieces[at] = escape(word(rng) if rng.random() < 0.7 else text(rng)).encode()
    return b"".join(pieces)


def spoil(rng: Random, data: bytes, times: int = 3) -> bytes:
    """The same with up to `times` places changed: a bit, a byte, a piece lost, doubled, moved, cut off, or a word put in."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, times)):
        at = rng.randrange(len(changed) + 1)
        end = min(len(changed), at + rng.choice((1, 2, 8, 40, 400)))
        kind = rng.randrange(7)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(changed):
            changed[at] = rng.randrange(256)
        elif kind == 2:
            del changed[at:end]
        elif kind == 3:
            changed[at:at] = changed[at:end] * rng.choice((1, 1, 2, 30))
        elif kind == 4:
            piece = changed[at:end]
            del changed[at:end]
            to = rng.randrange(len(changed) + 1)
            changed[to:to] = piece
        elif kind == 5 and rng.random() < 0.3:
            del changed[at:]
        else:
            changed[at:at] = rng.choice(_LATIN)
    return bytes(changed)
