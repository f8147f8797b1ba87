"""Moves ICE frames over a stream: the thin shell around a session, the same at both ends."""

from __future__ import annotations

import trio

from glacier.ice import HEADER_BYTES, TAG_BYTES, Header, Kind, Opcode
from glacier.icesession import Session
from node.errors import BodyTooSlow, PeerUnreachable
from rawx.chunk import Buffer

FRAME_S = 60.0
"""A frame that has begun must be over by then: a mebibyte at the least rate that is worth waiting for, 17 KB/s."""
RECEIVE_BYTES = 256 << 10


class Frame:
    """A frame that was received, proven and may come now."""

    __slots__ = ("kind", "opcode", "payload")

    def __init__(self, opcode: Opcode, kind: Kind, payload: memoryview) -> None:
        self.opcode = opcode
        self.kind = kind
        self.payload = payload

    def __repr__(self) -> str:
        return f"<Frame {self.kind.name} of {self.opcode.name}, {len(self.payload)} bytes>"


class Pipe:
    """One connection; at most one task sends and one receives."""

    def __init__(self, stream: trio.abc.Stream, session: Session) -> None:
        self.stream = stream
        self.session = session
        self.sending = False
        """Also when a frame was sent in part only: then no other may follow."""

    def __repr__(self) -> str:
        return f"<Pipe {self.session!r}>"

    async def send(self, opcode: Opcode, kind: Kind, payload: Buffer = b"") -> None:
        """Raises: PeerUnreachable, BodyTooSlow when the peer takes nothing."""
        header, tag = self.session.seal_apart(opcode, kind, payload)
        if len(payload) <= RECEIVE_BYTES:
            await self.send_bytes(b"".join((header, payload, tag)))
        else:
            await self.send_bytes(header, payload, tag)

    async def send_bytes(self, *frame: Buffer) -> None:
        """A frame that is sealed already. Raises: as send."""
        self.sending = True
        try:
            with trio.fail_after(FRAME_S):
                for part in frame:
                    await self.stream.send_all(part)
            self.sending = False
        except trio.TooSlowError:
            raise BodyTooSlow(f"the peer took nothing for {FRAME_S:g} s") from None
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise PeerUnreachable(f"the connection was lost: {error.__cause__ or error}") from error

    async def receive(self, wait_s: float = float("inf")) -> Frame | None:
        """The next frame; None when the peer has ended the connection where it may.

        wait_s: until it begins. Raises: FrameMalformed, CallNotAuthenticated, PeerUnreachable, BodyTooSlow.
        """
        with trio.move_on_after(wait_s) as scope:
            first = await self._receive_some(HEADER_BYTES)
        if scope.cancelled_caught:
            raise BodyTooSlow(f"the peer said nothing for {wait_s:g} s")
        if not first:
            return None
        try:
            with trio.fail_after(FRAME_S):
                return await self._rest(first)
        except trio.TooSlowError:
            raise BodyTooSlow(f"a frame was not over after {FRAME_S:g} s") from None

    async def _rest(self, first: bytes) -> Frame:
        header = Header.parse(first + await self._exactly(HEADER_BYTES - len(first)))
        self.session.expect(header)
        rest = memoryview(await self._exactly(header.length + TAG_BYTES))
        payload = rest[: header.length]
        self.session.open(header, payload, rest[header.length :])
        return Frame(header.opcode, header.kind, payload)

    async def _exactly(self, count: int) -> bytearray:
        data = bytearray(count)
        done = 0
        while done < count:
            piece = await self._receive_some(min(count - done, RECEIVE_BYTES))
            if not piece:
                raise PeerUnreachable("the connection ended in the middle of a frame")
            data[done : done + len(piece)] = piece
            done += len(piece)
        return data

    async def _receive_some(self, count: int) -> bytes:
        try:
            return bytes(await self.stream.receive_some(count))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise PeerUnreachable(f"the connection was lost: {error.__cause__ or error}") from error
