"""The way to another peer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
import trio
import xxhash

from meta.cluster.keepsake import Known
from meta.cluster.wire import (
    ANSWER_BYTES_MAX,
    API,
    CHECKSUM_NAME,
    HEADER_NAME,
    Appending,
    Following,
    Knowing,
    Promising,
    Pulling,
    Standings,
    Surveying,
)
from meta.commit import Entry, Header
from meta.peer import Standing
from node.clock import Clock
from node.errors import BaseCorrupt, DeadlineExceeded, PeerUnreachable
from node.http.client import Client, Response
from node.log import get_logger

CALL_S = 5.0
PULL_S = 900.0
"""A peer that fetches a snapshot answers when it has it."""
DOWN_S = 0.5
"""After a call failed, how long others fail at once: many bases share one peer."""
_PIECE_BYTES = 1 << 20
_TYPE = (b"Content-Type", b"application/msgpack")

_log = get_logger("meta.link")
T = TypeVar("T")
_encode = msgspec.msgpack.Encoder().encode
_standing = msgspec.msgpack.Decoder(Standing)
_standings = msgspec.msgpack.Decoder(list[Header | None])
_entries = msgspec.msgpack.Decoder(list[Entry] | None)
_digest = msgspec.msgpack.Decoder(tuple[Header, str])
_left = msgspec.msgpack.Decoder(bool)
_known = msgspec.msgpack.Decoder(Known)
_lag = msgspec.msgpack.Decoder(dict[str, int])
_reign = msgspec.msgpack.Decoder(tuple[int, dict[str, int]])
_epoch = msgspec.msgpack.Decoder(int)


class Link:
    """To one peer, for all its sets. Raises (all calls): what the peer says; PeerUnreachable, DeadlineExceeded."""

    def __init__(self, client: Client, name: str, address: Callable[[str], str], clock: Clock) -> None:
        """address: tells where the peer is now. Raises: PeerUnreachable."""
        self.name = name
        self._client = client
        self._address = address
        self._clock = clock
        self._down = False
        self._down_until_s = 0.0

    def __repr__(self) -> str:
        return f"<Link to {self.name}{' down' if self._down else ''}>"

    async def promise(self, call: Promising) -> int:
        return await self._call(b"promise", call, _epoch)

    async def known(self) -> Known:
        return await self._call(b"known", Knowing(), _known)

    async def survey(self, call: Surveying) -> Standing:
        return await self._call(b"survey", call, _standing)

    async def append(self, call: Appending) -> Standing:
        return await self._call(b"append", call, _standing)

    async def pull(self, call: Pulling) -> Standing:
        return await self._call(b"pull", call, _standing, timeout_s=PULL_S)

    async def after(self, call: Following) -> list[Entry] | None:
        return await self._call(b"after", call, _entries)

    async def standings(self, call: Standings) -> list[Header | None]:
        return await self._call(b"standings", call, _standings)

    async def digest(self, call: Surveying) -> tuple[Header, str]:
        """Where the peer's replica stands, and a sum of what is in it, after a check of its file. Raises: BaseCorrupt, BaseNotFound."""
        return await self._call(b"digest", call, _digest, timeout_s=PULL_S)

    async def snapshot(self, call: Surveying, target: Path) -> Header:
        """The peer's base in a new file. Raises: BaseCorrupt when it did not come whole."""
        async with await self._send(b"snapshot", call, PULL_S) as response:
            epoch, _, index = response.headers.get(HEADER_NAME, b"").partition(b" ")
            wanted = response.headers.get(CHECKSUM_NAME, b"").decode()
            hasher = xxhash.xxh3_128()
            piece = bytearray(_PIECE_BYTES)
            async with await trio.open_file(target, "wb") as file:
                while count := await response.fill(memoryview(piece)):
                    hasher.update(memoryview(piece)[:count])
                    await file.write(bytes(memoryview(piece)[:count]))
        if hasher.hexdigest() != wanted or not epoch.isdigit() or not index.isdigit():
            raise BaseCorrupt(f"the snapshot of {call.base} from {self.name} did not come whole")
        return Header(int(epoch), int(index))

    async def _call(self, name: bytes, call: msgspec.Struct, decoder: msgspec.msgpack.Decoder[T], *, timeout_s: float = CALL_S) -> T:
        async with await self._send(name, call, timeout_s) as response:
            answer = await response.read(ANSWER_BYTES_MAX)
        try:
            return decoder.decode(answer)
        except msgspec.DecodeError as error:
            raise PeerUnreachable(f"{self.name} answers in other words: {error}") from error

    async def _send(self, name: bytes, call: msgspec.Struct, timeout_s: float) -> Response:
        if self._clock.monotonic() < self._down_until_s:
            raise PeerUnreachable(f"{self.name} did not answer just now")
        try:
            response = await self._client.request(
                "POST", self._address(self.name), API + name, headers=[_TYPE], body=_encode(call), timeout_s=timeout_s
            )
        except (PeerUnreachable, DeadlineExceeded) as error:
            if not self._down:
                _log.warning("the peer %s does not answer: %s", self.name, error)
            self._down, self._down_until_s = True, self._clock.monotonic() + DOWN_S
            raise
        if self._down:
            _log.info("the peer %s answers again", self.name)
            self._down = False
        if response.status >= 400:
            async with response:
                await response.raise_for_error()
        return response


async def reign_of_set(client: Client, address: str, of: str) -> tuple[int, dict[str, int]]:
    """The epoch in which the set's leader there leads, and what each peer lacks. Raises: NotLeader; as Link."""
    async with await client.request("POST", address, b"/reign/" + of.encode(), timeout_s=CALL_S) as response:
        await response.raise_for_error()
        return _reign.decode(await response.read(ANSWER_BYTES_MAX))


async def lag_of_set(client: Client, address: str, of: str) -> dict[str, int]:
    """Entries that each peer lacks, as the set's leader there knows. Raises: NotLeader; as Link."""
    async with await client.request("POST", address, b"/lag/" + of.encode(), timeout_s=CALL_S) as response:
        await response.raise_for_error()
        return _lag.decode(await response.read(ANSWER_BYTES_MAX))


async def leave_set(client: Client, address: str, of: str) -> bool:
    """Has the peer there hand over the set that it leads; False when it does not lead it. Raises: as Link."""
    async with await client.request("POST", address, b"/leave/" + of.encode(), timeout_s=CALL_S) as response:
        await response.raise_for_error()
        return _left.decode(await response.read(ANSWER_BYTES_MAX))
