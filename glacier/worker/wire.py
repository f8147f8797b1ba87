"""The worker's socket: glacier.worker.protocol.ColdDoor over HTTP, derived from its signatures as meta/wire.py derives the metadata's.

    POST /glacier/1/worker/<method>     body: msgpack array ["", argument, ...]     answer: msgpack of the result

Every call is proved with the namespace's key (node/auth.py); errors are JSON (node/errors.py) with their status.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, cast

import msgspec

from glacier.worker.protocol import ColdDoor
from meta.wire import Method
from node.auth import NamespaceKey, Verifier
from node.errors import InvalidArgument, NotFound, PeerUnreachable
from node.http.client import Client
from node.http.message import Request
from node.http.reply import Reply

API = "/glacier/1/"
CALL_BYTES_MAX = 1 << 20
ANSWER_BYTES_MAX = 16 << 20
TIMEOUT_S = 60.0
"""Noting a thousand chunks takes a second on a slow disk."""
_MSGPACK = (b"content-type", b"application/msgpack")


@cache
def calls() -> dict[str, Method]:
    return {
        name: Method("worker", name, function, api=API)
        for name, function in vars(ColdDoor).items()
        if not name.startswith("_") and inspect.iscoroutinefunction(function)
    }


class WorkerService:
    """Handler for node.http.server.serve."""

    def __init__(self, door: ColdDoor, key: NamespaceKey) -> None:
        self._door = door
        self._verifier = Verifier(key)
        self._routes = {method.target: method for method in calls().values()}

    def __repr__(self) -> str:
        return f"<WorkerService {self._door!r}>"

    async def __call__(self, request: Request, reply: Reply) -> None:
        """Raises: CallNotAuthenticated, NotFound, InvalidArgument, BodyTooLarge; what the worker raises."""
        proof = self._verifier.verify(request)
        body = await request.body.read(CALL_BYTES_MAX)
        proof.check_body(body)
        method = self._routes.get(request.target)
        if method is None or request.method != "POST":
            raise NotFound("no such call")
        try:
            _, arguments, named = method.decode_call(body)
        except msgspec.DecodeError as error:
            raise InvalidArgument(f"the call is not readable: {error}") from error
        result = await getattr(self._door, method.name)(*arguments, **named)
        await reply.whole(200, [_MSGPACK], method.encode_answer(result))


def remote_worker(client: Client, address: str) -> ColdDoor:
    """The worker at "unix:/path" or "host:port". client: with the namespace's key. Raises, beside the rest: PeerUnreachable."""
    return cast(ColdDoor, _RemoteWorker(client, address))


class _RemoteWorker:
    def __init__(self, client: Client, address: str) -> None:
        self._client = client
        self._address = address

    def __repr__(self) -> str:
        return f"<RemoteWorker {self._address}>"

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = calls().get(name)
        if method is None:
            raise AttributeError(name)

        async def call(*arguments: Any, **named: Any) -> Any:
            body = method.encode_call("", *arguments, **named)
            response = await self._client.request("POST", self._address, method.target, headers=[_MSGPACK], body=body, timeout_s=TIMEOUT_S)
            async with response:
                await response.raise_for_error()
                answer = await response.read(ANSWER_BYTES_MAX)
            try:
                return method.decode_answer(answer)
            except msgspec.DecodeError as error:
                raise PeerUnreachable(f"{self._address} answered {name} with something else: {error}") from error

        return call
