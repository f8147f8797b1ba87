"""Cross-origin resource sharing: which pages of other origins may use a bucket. Pure.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ManageCorsUsing.html, https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec

from meta.protocol.bucket import BucketSettings
from s3.configuration import Configuration
from s3.errors import S3Error
from s3.shape import Shape

RULES_MAX = 100
METHODS = frozenset({"GET", "PUT", "POST", "DELETE", "HEAD"})
_VARY = (b"Vary", b"Origin, Access-Control-Request-Headers, Access-Control-Request-Method")

Header = tuple[bytes, bytes]


class Rule(Shape, frozen=True, kw_only=True):
    """Patterns have one "*" at most. Origins are compared as they are, names of headers in lower case."""

    headers: tuple[str, ...] = msgspec.field(default=(), name="AllowedHeader")
    methods: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = msgspec.field(name="AllowedMethod")
    origins: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = msgspec.field(name="AllowedOrigin")
    exposed: tuple[str, ...] = msgspec.field(default=(), name="ExposeHeader")
    id: Annotated[str, msgspec.Meta(max_length=255)] | None = msgspec.field(default=None, name="ID")
    max_age_seconds: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] | None = None

    def allows(self, origin: str, method: str, headers: Iterable[str]) -> bool:
        """headers: names in lower case that the request is going to have."""
        return (
            method in self.methods
            and any(matches(pattern, origin) for pattern in self.origins)
            and all(any(matches(pattern.lower(), name) for pattern in self.headers) for name in headers)
        )


class Cors(Shape, frozen=True):
    rules: Annotated[tuple[Rule, ...], msgspec.Meta(min_length=1, max_length=RULES_MAX)] = msgspec.field(name="CORSRule")

    def find(self, origin: str, method: str, headers: Sequence[str] = ()) -> Rule | None:
        """The first rule that allows the request; only that one counts."""
        return next((rule for rule in self.rules if rule.allows(origin, method, headers)), None)


def matches(pattern: str, text: str) -> bool:
    """Whether the text is the pattern, in which a "*" stands for any characters, also none."""
    head, star, tail = pattern.partition("*")
    if not star:
        return pattern == text
    return len(text) >= len(head) + len(tail) and text.startswith(head) and text.endswith(tail)


def checked(cors: Cors) -> Cors:
    """Raises: InvalidRequest in AWS's words."""
    for rule in cors.rules:
        for method in rule.methods:
            if method not in METHODS:
                raise S3Error("InvalidRequest", f"Found unsupported HTTP method in CORS config. Unsupported method is {method}")
        for name, patterns in (("AllowedOrigin", rule.origins), ("AllowedHeader", rule.headers)):
            for pattern in patterns:
                if pattern.count("*") > 1:
                    raise S3Error("InvalidRequest", f'{name} "{pattern}" can not have more than one wildcard.')
        for name in rule.exposed:
            if "*" in name:
                raise S3Error(
                    "InvalidRequest",
                    f'ExposeHeader "{name}" contains wildcard. We currently do not support wildcard for ExposeHeader.',
                )
            if not _is_header_name(name):
                raise S3Error("InvalidRequest", f'ExposeHeader "{name}" is not the name of a header.')
    return cors


def _is_header_name(name: str) -> bool:
    return name.isascii() and name.isprintable() and not set(name) & set(' ()<>@,;:\\"/[]?={}')


CORS = Configuration("cors", "CORSConfiguration", Cors, absent="NoSuchCORSConfiguration", checked=checked, checksum=True)


def answer_headers(settings: BucketSettings, origin: bytes, method: str) -> list[Header]:
    """What every answer to a page of that origin says, also an error. Whether anybody may read the bucket is decided elsewhere."""
    cors = CORS.of(settings)
    if cors is None:
        return []
    rule = cors.find(origin.decode("latin-1"), method)
    return [_VARY] if rule is None else rule_headers(rule, origin)


def rule_headers(rule: Rule, origin: bytes) -> list[Header]:
    """The origin is told back, and credentials are let through, only when the rule names it; to "*" they are not."""
    headers = [(b"Access-Control-Allow-Origin", b"*" if "*" in rule.origins else origin)]
    if "*" not in rule.origins:
        headers.append((b"Access-Control-Allow-Credentials", b"true"))
    headers.append((b"Access-Control-Allow-Methods", ", ".join(rule.methods).encode("ascii")))
    if rule.exposed:
        headers.append((b"Access-Control-Expose-Headers", ", ".join(rule.exposed).encode("ascii")))
    if rule.max_age_seconds is not None:
        headers.append((b"Access-Control-Max-Age", b"%d" % rule.max_age_seconds))
    return [*headers, _VARY]
