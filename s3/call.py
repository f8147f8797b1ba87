"""One S3 request on its way through the gateway: what was asked, by whom, and the means to answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import msgspec

from glacier.lifecycle.calendar import REAL, Calendar
from meta.protocol.bucket import BucketSettings
from meta.protocol.container import Container
from meta.protocol.object import ObjectRow
from node.http.message import Headers, Request
from node.http.reply import Reply, header_lines
from s3.authorize import Guard
from s3.cors import answer_headers
from s3.defaults import DOMAINS, REGION
from s3.errors import S3Error
from s3.formbody import Form
from s3.identity import Identity, Keyring, Signed
from s3.outbox import Outbox
from s3.ownership import owner_of_new
from s3.router import Route
from s3.xml import Element
from store.webhooks import Webhooks

if TYPE_CHECKING:
    from store.store import Store

LOGGING = "logging"
"""The document of buckets whose requests are logged."""
LOG_PERIOD_S = 60.0
SERVER = b"Frazil"
XML = (b"Content-Type", b"application/xml")

Header = tuple[bytes, bytes]


class GatewayOptions(msgspec.Struct, frozen=True):
    """region: the one that signatures must name; domains: suffixes below which a host name is a bucket; host_id: goes into x-amz-id-2;
    sigv2: signature version 2 is taken too;
    allow_ssec_http: customers' encryption keys are taken without TLS (which a proxy in front may have ended);
    log_period_s: how old a request gets before its line is in an access log;
    calendar: the days for which restored copies stay."""

    region: str = REGION
    domains: tuple[str, ...] = DOMAINS
    host_id: str = "frazil"
    sigv2: bool = False
    allow_ssec_http: bool = False
    log_period_s: float = LOG_PERIOD_S
    calendar: Calendar = REAL


class Services(msgspec.Struct, frozen=True):
    """What all calls share."""

    store: Store
    keyring: Keyring
    options: GatewayOptions
    outbox: Outbox
    webhooks: Webhooks
    now_s: Callable[[], float] = time.time


class CopySource(msgspec.Struct, frozen=True):
    """The object an x-amz-copy-source header names, authorised and read."""

    bucket: str
    settings: BucketSettings
    row: ObjectRow


class Rights(Protocol):
    """What the caller may do with what the request names; `s3.access` finds it out.

    plain    everything
    values   the request's, for the conditions of policies
    """

    @property
    def plain(self) -> bool: ...

    @property
    def guard(self) -> Guard: ...

    def values(self, key: str) -> Sequence[str]: ...

    def may(self, permission: str) -> bool: ...


class Call:
    """Belongs to one request's task.

    signed     identity and verified claim;  key is "" on bucket and service level
    row        the object's row when authorization had to read it, else None: handlers then use this one and no other
    source     for routes that copy
    shared     headers with which every answer lets a page of another origin read it
    form       the fields and the file of a POST form; its fields then stand in `items` as headers
    access     what the caller may do; for routes of a bucket that is there
    acl        the access control list that headers of a write ask for, as it is kept; "" for none
    logged     the bucket wants a line in its access log;  for that line, when there are: found, the object's row; refused,
               the code; batch, key, version and code ("" = done) of what many deletions in one came to
    document   of the body, when authorization had to read it
    """

    __slots__ = (
        "_hoisted",
        "_now_us",
        "_settings",
        "access",
        "acl",
        "batch",
        "bucket",
        "document",
        "form",
        "found",
        "items",
        "key",
        "logged",
        "query",
        "refused",
        "reply",
        "request",
        "route",
        "row",
        "services",
        "shared",
        "signed",
        "source",
        "store",
    )

    def __init__(self, request: Request, reply: Reply, services: Services) -> None:
        self.request = request
        self.reply = reply
        self.services = services
        self.store = services.store
        self.items = request.headers.lines
        self.bucket = ""
        self.key = ""
        self.form: Form | None = None
        self.query: Mapping[str, str] = _NO_QUERY
        self.row: ObjectRow | None = None
        self.source: CopySource | None = None
        self._settings: BucketSettings | None = None
        self._hoisted: dict[str, str] | None = None
        self._now_us = 0
        self.shared: Sequence[Header] = ()
        self.acl = ""
        self.document: Element | None = None
        self.logged = False
        self.access: Rights
        self.batch: Sequence[tuple[str, str, str]]
        self.found: ObjectRow | None
        self.refused: str
        self.signed: Signed
        self.route: Route

    def __repr__(self) -> str:
        return f"<Call {self.request.method} {self.bucket}/{self.key}>"

    @property
    def identity(self) -> Identity:
        return self.signed.identity

    @property
    def owner(self) -> str:
        """Canonical id that will own what this request writes."""
        return owner_of_new(self.identity, self.settings, self.acl)

    @property
    def now_us(self) -> int:
        """When the handler first asked: one request lives at one time."""
        if not self._now_us:
            self._now_us = int(self.services.now_s() * 1_000_000)
        return self._now_us

    @property
    def content(self) -> str | None:
        """Of the row that authorization read: a change in place must find it unchanged. None when none was read."""
        return None if self.row is None else self.row.content

    @property
    def container(self) -> Container:
        return self.store.meta.container(self.bucket)

    @property
    def settings(self) -> BucketSettings:
        """Of the bucket; read before the handler runs, for every route but those that have none."""
        assert self._settings is not None
        return self._settings

    @settings.setter
    def settings(self, settings: BucketSettings) -> None:
        self._settings = settings
        if settings.documents:
            self.logged = LOGGING in settings.documents
            self.share(settings)

    @property
    def has_settings(self) -> bool:
        return self._settings is not None

    def share(self, settings: BucketSettings) -> None:
        """A page of another origin may read the answer as far as the bucket's rules let it."""
        headers = self.request.headers
        origin = headers.get(b"origin")
        if origin is not None:
            method = headers.get(b"access-control-request-method")
            self.shared = answer_headers(settings, origin, self.request.method if method is None else method.decode("latin-1"))

    def replace_headers(self, headers: Headers) -> None:
        """For what the body says instead."""
        self.request.headers = headers
        self.items = headers.lines

    def header(self, name: bytes) -> bytes | None:
        """A header's value, or that of the query parameter into which a presigned URL has put an x-amz-* header, in any case of letters."""
        value = self.request.headers.get(name)
        if value is None and self.query and self.signed.presigned and name.startswith(b"x-amz-"):
            if self._hoisted is None:
                self._hoisted = {name.lower(): value for name, value in self.query.items()}
            hoisted = self._hoisted.get(name.decode("ascii"))
            return None if hoisted is None else hoisted.encode()
        return value

    def text(self, name: bytes, default: str = "") -> str:
        value = self.header(name)
        return default if value is None else value.decode("latin-1")

    def number(self, name: str, default: int, *, most: int) -> int:
        """A query parameter that is a count, clamped to `most`. Raises: InvalidArgument."""
        text = self.query.get(name)
        if text is None or text == "":
            return default
        if not text.isascii() or not text.isdigit() or int(text[:10]) > 2**31 - 1 or len(text) > 10:
            raise S3Error(
                "InvalidArgument", f"Provided {name} not an integer or within integer range", ArgumentName=name, ArgumentValue=text
            )
        return min(int(text), most)

    def headers(self, *more: Header) -> list[Header]:
        """Headers of every answer, then these."""
        return [
            (b"Server", SERVER),
            (b"x-amz-request-id", self.request.id.encode("ascii")),
            (b"x-amz-id-2", _host_id(self.services)),
            *self.shared,
            *more,
        ]

    def lines(self) -> bytes:
        """The gateway's own among `headers`, as lines that are ready to be sent."""
        return b"%bx-amz-request-id: %b\r\n" % (_own_lines(self.services.options.host_id), self.request.id.encode("ascii"))

    async def answer(self, status: int, *headers: Header) -> None:
        """An answer without a body."""
        await self.reply.whole(status, self.headers(*headers))

    async def answer_xml(self, document: str, *headers: Header) -> None:
        await self.reply.whole(200, self.headers(XML, *headers), document.encode("utf-8", "surrogatepass"))


_NO_QUERY: dict[str, str] = {}


def _host_id(services: Services) -> bytes:
    return services.options.host_id.encode("ascii")


@lru_cache(maxsize=1)
def _own_lines(host_id: str) -> bytes:
    return header_lines([(b"Server", SERVER), (b"x-amz-id-2", host_id.encode("ascii"))])
