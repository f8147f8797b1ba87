"""The S3 gateway: verify, route, authorize, handle, in this order and nowhere else."""

from __future__ import annotations

import importlib
import logging
import os
import time
from collections.abc import Awaitable, Callable
from functools import cache
from random import Random
from typing import TYPE_CHECKING

import trio

from glacier.lifecycle.calendar import Calendar
from node.errors import FrazilError
from node.http.message import MalformedMessage, Request
from node.http.reply import Reply
from node.metrics import Requests
from s3.access import authorize
from s3.call import SERVER, XML, Call, GatewayOptions, Header, Services
from s3.delivery import Courier
from s3.errors import S3Error, error_document, to_s3
from s3.form import read_form
from s3.herald import LifecycleHerald
from s3.identity import NOT_SIGNED, Doorway, Keyring
from s3.logsink import WEBSITE, LogDelivery, LogSink, entries_of
from s3.outbox import Outbox
from s3.query import read_query
from s3.router import ROUTES, Level, match
from s3.site import serve_site
from s3.target import decode_path, is_bucket_name, split_path
from s3.website import site_of_host
from store.webhooks import Webhooks

if TYPE_CHECKING:
    from store.store import Store

Handler = Callable[[Call], Awaitable[None]]
RETRY_AFTER = (b"Retry-After", b"2")
"""Seconds. Of every 503: an overload is over then, an election or a host's start takes a few such rounds."""
_log = logging.getLogger("frazil.s3")


def _load_handlers() -> dict[str, Handler]:
    """Handlers by operation. A route that names a handler which does not exist fails here, at the start."""
    found: dict[str, Handler] = {}
    for route in ROUTES:
        if route.handler:
            module, _, function = route.handler.partition(".")
            found[route.operation] = getattr(importlib.import_module(f"s3.handlers.{module}"), function)
    return found


@cache
def _requests() -> Requests:
    """Counters of the process, by operation and status."""
    return Requests("s3")


class Gateway:
    """`handle` is the request handler for node.http.server. One Gateway serves all connections of a process."""

    def __init__(
        self,
        store: Store,
        options: GatewayOptions | None = None,
        *,
        now_s: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        options = options or GatewayOptions()
        self._services = Services(store, Keyring(store.meta.accounts, monotonic), options, Outbox(store.home), Webhooks(store.home), now_s)
        self._sink = LogSink(self._services.outbox.lines)
        self._door = Doorway(self._services.keyring, options.region.encode("ascii"), options.domains, options.sigv2)
        self._domains = options.domains
        self._handlers = _load_handlers()
        self._monotonic = monotonic
        self._requests = _requests()

    def __repr__(self) -> str:
        return f"<Gateway region={self._services.options.region} operations={len(self._handlers)}>"

    @property
    def calendar(self) -> Calendar:
        return self._services.options.calendar

    @property
    def herald(self) -> LifecycleHerald:
        """Tells the buckets' destinations what the lifecycle engine does."""
        services = self._services
        options = services.options
        return LifecycleHerald(services.store.meta, services.outbox, region=options.region, host_id=options.host_id, now_s=services.now_s)

    async def run_workers(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """What one gateway of a store does for all of them: hands over what requests left for others. Until cancelled."""
        services = self._services
        courier = Courier(services.outbox.events, services.webhooks, now_s=services.now_s, random=Random(os.urandom(16)))
        delivery = LogDelivery(
            services.outbox.lines,
            services.store,
            period_s=services.options.log_period_s,
            now_s=services.now_s,
            random=Random(os.urandom(16)),
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(courier.run)
            nursery.start_soon(delivery.run)
            nursery.start_soon(self._sink.run)
            task_status.started()

    async def run_sink(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """In place of `run_workers` in the other gateways of a store. Until cancelled."""
        task_status.started()
        await self._sink.run()

    async def aclose(self) -> None:
        """After the last request."""
        await self._sink.aclose()
        await self._services.outbox.aclose()

    async def handle(self, request: Request, reply: Reply) -> None:
        """Answers every request once. What goes wrong after the answer's first byte can only end the connection: it is raised."""
        call = Call(request, reply, self._services)
        call.signed = NOT_SIGNED
        begin = self._monotonic()
        operation = "Unknown"
        try:
            host = request.headers.get(b"host", b"")
            debts = self._services.store.debts
            if b".s3-website" in host and (site := site_of_host(host, self._domains)):
                operation = WEBSITE
                if debts.open:
                    await debts.settle()
                await serve_site(call, site)
                return
            query, signature = read_query(request.raw_query)
            if request.method != "OPTIONS":  # its URL may be presigned, but for the request that follows
                call.signed = await self._door.admit(request, query, signature, self._services.now_s())
            call.query = query.values
            path = request.raw_path
            call.bucket, call.key = split_path(decode_path(path) if b"%" in path else path, host, self._domains)
            level = Level.OBJECT if call.key else Level.BUCKET if call.bucket else Level.SERVICE
            call.route = route = match(request.method, level, call.query, request.headers)
            operation = route.operation
            if route.form:
                await read_form(call, self._door)
            if debts.open:
                await debts.settle(call.bucket, call.key if request.method in ("GET", "HEAD") else "")
            await authorize(call)
            handler = self._handlers.get(operation)
            if handler is None:
                raise S3Error("NotImplemented", f"The operation {operation} is not implemented.")
            await handler(call)
        except FrazilError as error:
            if reply.started:
                raise
            await self._refuse(call, error)
        except Exception:
            _log.exception("request %s: %s failed", request.id, operation)
            if reply.started:
                raise
            await self._refuse(call, S3Error("InternalError"))
        finally:
            spent_s = self._monotonic() - begin
            self._requests.count(operation, reply.status, spent_s, reply.sent)
            if call.logged:
                await self._sink.write(entries_of(call, operation, spent_s))

    async def _refuse(self, call: Call, error: FrazilError) -> None:
        refusal = to_s3(error)
        call.refused = refusal.code
        if not call.has_settings and b"origin" in call.request.headers and call.request.method != "OPTIONS":
            await self._share(call)
        if refusal.status >= 500 and refusal.status != 501:
            _log.error("request %s: %s: %s", call.request.id, error.code, error)
        if not refusal.details:
            if refusal.code == "NoSuchKey":
                refusal.details["Key"] = call.key
            elif refusal.code == "NoSuchBucket":
                refusal.details["BucketName"] = call.bucket
        headers = (*refusal.headers, RETRY_AFTER) if refusal.status == 503 else refusal.headers
        if call.request.method == "HEAD" or refusal.status == 304:
            await call.reply.whole(refusal.status, call.headers(*headers))
        else:
            await call.reply.whole(refusal.status, call.headers(XML, *headers), self._document(call, refusal))

    async def _share(self, call: Call) -> None:
        """Lets a page of another origin read why it was refused before the bucket's settings were looked at."""
        try:
            bucket, _ = split_path(decode_path(call.request.raw_path), call.request.headers.get(b"host", b""), self._domains)
            if is_bucket_name(bucket):
                call.share(await self._services.store.meta.container(bucket).settings())
        except FrazilError:  # there is nothing to share, and the first error is the one to tell
            return

    def _document(self, call: Call, refusal: S3Error) -> bytes:
        resource = call.request.raw_path.decode("latin-1")
        return error_document(refusal, resource=resource, request_id=call.request.id, host_id=self._services.options.host_id)

    def on_parse_error(self, error: MalformedMessage, request_id: str) -> tuple[int, list[Header], bytes]:
        """The answer to bytes that are no HTTP request, for node.http.server."""
        body = error_document(
            S3Error("InvalidRequest", str(error)), resource="", request_id=request_id, host_id=self._services.options.host_id
        )
        headers = [(b"Server", SERVER), (b"x-amz-request-id", request_id.encode("ascii")), XML]
        return error.status, headers, body
