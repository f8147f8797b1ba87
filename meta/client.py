"""Metadata that another process serves: RemoteMeta implements meta.protocol.door.Meta over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

import msgspec

from meta.protocol.accounts import Accounts
from meta.protocol.bucket import BucketSettings
from meta.protocol.container import Container
from meta.protocol.encryption import EncryptionKeys
from meta.protocol.identities import Identities
from meta.protocol.jobs import Jobs
from meta.protocol.registry import BucketRegistry
from meta.wire import ANSWER_BYTES_MAX, Method, methods
from node.errors import PeerUnreachable
from node.http.client import Client
from node.http.message import Headers

TIMEOUT_S = 60.0
"""A prefix of RENAMED_MAX objects takes some seconds; everything else far less."""
_TYPE = (b"Content-Type", b"application/msgpack")


Send = Callable[[str, str, Method, bytes], Awaitable[Any]]
"""(door, subject, method, its encoded call) -> what it returns."""


class MetaDoors:
    """Implements meta.protocol.door.Meta by sending each call."""

    accounts: Accounts
    registry: BucketRegistry
    encryption: EncryptionKeys
    identities: Identities
    jobs: Jobs

    def __init__(self, send: Send) -> None:
        self._send = send
        self.accounts = cast(Accounts, Door(send, "accounts", ""))
        self.identities = cast(Identities, Door(send, "identities", ""))
        self.registry = cast(BucketRegistry, Door(send, "registry", ""))
        self.encryption = cast(EncryptionKeys, Door(send, "encryption", ""))
        self.jobs = cast(Jobs, Door(send, "jobs", ""))
        self._door = Door(send, "meta", "")

    def container(self, bucket: str) -> Container:
        return cast(Container, Door(self._send, "container", bucket))

    async def create_bucket(self, settings: BucketSettings) -> None:
        await self._door.create_bucket(settings)

    async def remove_bucket(self, bucket: str, *, created_us: int = 0) -> None:
        await self._door.remove_bucket(bucket, created_us=created_us)

    async def dirty_containers(self) -> list[str]:
        return cast(list[str], await self._door.dirty_containers())


class RemoteMeta(MetaDoors):
    """Raises, beside what each method raises: PeerUnreachable and DeadlineExceeded, after which a write may or may not have happened."""

    def __init__(self, client: Client, address: str) -> None:
        """client: with the namespace's key; address as node.http.client takes it ("127.0.0.1:6200", "unix:/path")."""
        super().__init__(self._send_to)
        self._client = client
        self._address = address

    def __repr__(self) -> str:
        return f"<RemoteMeta {self._address}>"

    async def _send_to(self, _door: str, _subject: str, method: Method, body: bytes) -> Any:
        return await post(self._client, self._address, method.target, method, body)


def ignored(_headers: Headers) -> None:
    return


async def post(
    client: Client, address: str, target: bytes, method: Method, body: bytes, *, heed: Callable[[Headers], None] = ignored
) -> Any:
    """One call, once. heed: is given the head of an answer that is no error. Raises: PeerUnreachable, DeadlineExceeded; what the method
    raises."""
    response = await client.request("POST", address, target, headers=[_TYPE], body=body, timeout_s=TIMEOUT_S)
    async with response:
        await response.raise_for_error()
        heed(response.headers)
        answer = await response.read(ANSWER_BYTES_MAX)
    try:
        return method.decode_answer(answer)
    except msgspec.DecodeError as error:
        raise PeerUnreachable(f"{address} answered {method.name} with something else: {error}") from error


class Door:
    """Implements a protocol by sending each of its methods' calls; the type checker is told so where it is made."""

    def __init__(self, send: Send, door: str, subject: str) -> None:
        self._send = send
        self._name = door
        self._subject = subject

    def __repr__(self) -> str:
        return f"<{self._name} {self._subject} by {self._send!r}>"

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = methods(self._name).get(name)
        if method is None:
            raise AttributeError(name)

        async def call(*arguments: Any, **named: Any) -> Any:
            return await self._send(self._name, self._subject, method, method.encode_call(self._subject, *arguments, **named))

        return call
