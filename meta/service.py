"""The HTTP service in front of a Meta. Every call is proved with the namespace's key; see meta/wire.py for the calls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from meta.protocol.door import Meta
from meta.wire import CALL_BYTES_MAX, Method, methods
from node.auth import NamespaceKey, Verifier
from node.errors import InvalidArgument, NotFound
from node.http.message import Request
from node.http.reply import Reply

LOCAL_DOORS = ("container", "accounts", "identities", "registry", "encryption", "jobs", "meta")
"""Those of a store on one host."""
MSGPACK = (b"content-type", b"application/msgpack")


class MetaService:
    """Handler for node.http.server.serve, which words the errors that leave it."""

    def __init__(self, meta: Meta, key: NamespaceKey) -> None:
        self._meta = meta
        self._verifier = Verifier(key)
        self._routes = routes()

    def __repr__(self) -> str:
        return f"<MetaService {self._meta!r} {self._verifier!r}>"

    async def __call__(self, request: Request, reply: Reply) -> None:
        """Raises: CallNotAuthenticated, NotFound, InvalidArgument, BodyTooLarge; what the method raises."""
        proof = self._verifier.verify(request)
        body = await request.body.read(CALL_BYTES_MAX)
        proof.check_body(body)
        route = self._routes.get(request.target)
        if route is None or request.method != "POST":
            raise NotFound("no such call")
        door, method = route
        subject, arguments, named = read_call(method, body)
        result = await getattr(behind(self._meta, door, subject), method.name)(*arguments, **named)
        await reply.whole(200, [MSGPACK], method.encode_answer(result))


def routes(doors: Iterable[str] = LOCAL_DOORS) -> dict[bytes, tuple[str, Method]]:
    """Door and method of each target."""
    return {method.target: (door, method) for door in doors for method in methods(door).values()}


def read_call(method: Method, body: bytes) -> tuple[str, list[Any], dict[str, Any]]:
    """Subject and arguments. Raises: InvalidArgument."""
    try:
        return method.decode_call(body)
    except msgspec.DecodeError as error:
        raise InvalidArgument(f"the call is not readable: {error}") from error


def behind(meta: Meta, door: str, subject: str) -> Any:
    """What implements the door."""
    match door:
        case "container":
            return meta.container(subject)
        case "meta":
            return meta
    return getattr(meta, door)
