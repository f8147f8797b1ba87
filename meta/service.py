"""The HTTP service in front of a Meta. Every call is proved with the namespace's key; see meta/wire.py for the calls."""

from __future__ import annotations

from typing import Any

import msgspec

from meta.protocol.door import Meta
from meta.wire import CALL_BYTES_MAX, DOORS, Method, methods
from node.auth import PROOF_HEADER, NamespaceKey, Verifier
from node.clock import Clock
from node.errors import InvalidArgument, NotFound
from node.http.message import Request
from node.http.reply import Reply

_MSGPACK = (b"content-type", b"application/msgpack")


class MetaService:
    """Handler for node.http.server.serve, which words the errors that leave it."""

    def __init__(self, meta: Meta, key: NamespaceKey, *, clock: Clock) -> None:
        self._meta = meta
        self._verifier = Verifier(key, clock)
        self._routes: dict[bytes, tuple[str, Method]] = {
            method.target: (door, method) for door in DOORS for method in methods(door).values()
        }

    def __repr__(self) -> str:
        return f"<MetaService {self._meta!r} {self._verifier!r}>"

    async def __call__(self, request: Request, reply: Reply) -> None:
        """Raises: CallNotAuthenticated, NotFound, InvalidArgument, BodyTooLarge; what the method raises."""
        proof = self._verifier.verify(request.method, request.target, request.headers.get(PROOF_HEADER))
        body = await request.body.read(CALL_BYTES_MAX)
        proof.check_body(body)
        route = self._routes.get(request.target)
        if route is None or request.method != "POST":
            raise NotFound("no such call")
        door, method = route
        try:
            subject, arguments, named = method.decode_call(body)
        except msgspec.DecodeError as error:
            raise InvalidArgument(f"the call is not readable: {error}") from error
        result = await getattr(self._behind(door, subject), method.name)(*arguments, **named)
        await reply.whole(200, [_MSGPACK], method.encode_answer(result))

    def _behind(self, door: str, subject: str) -> Any:
        match door:
            case "container":
                return self._meta.container(subject)
            case "accounts":
                return self._meta.accounts
            case "registry":
                return self._meta.registry
            case "identities":
                return self._meta.identities
            case "jobs":
                return self._meta.jobs
            case "encryption":
                return self._meta.encryption
        return self._meta
