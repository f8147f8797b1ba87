"""One ICE conversation, sans-IO: who may say what when, and the proof on every frame.

Theory of operation. Both ends draw a nonce; the keys of the two directions are HMACs of the namespace's ICE key over both nonces and the
bus. Every frame but the first carries the HMAC of its direction's key over its number, its header and its payload, so a frame can be
neither forged, repeated, dropped nor moved to another place, another conversation or the other direction.

    HELLO        worker   bus, nonce                        tag is zeros
    CHALLENGE    freezer  nonce                             its tag proves the freezer
    PROOF        worker                                     its tag proves the worker: nothing is told or done before
    WELCOME      freezer  the bus
    REQUEST      worker   then, by opcode:                  one call at a time; call numbers count up from 1
        SEND_DATA   GO from the freezer, DATA... and END from the worker
        GET_DATA    GO and DATA... from the freezer
    REPLY        freezer  ends the call; opcode ERROR when it failed, at any point
"""

from __future__ import annotations

import enum
import hmac

from glacier.ice import TAG_BYTES, Header, Kind, Opcode, header_for
from glacier.icefield import NONCE_BYTES, Reader
from glacier.icerequest import Hello
from node.auth import NamespaceKey
from node.errors import CallNotAuthenticated, FrameMalformed
from rawx.chunk import Buffer

KEY_PURPOSE = b"ice 1"
NO_TAG = bytes(TAG_BYTES)
CALL_MAX = (1 << 32) - 1


class Phase(enum.Enum):
    """Where a conversation stands, seen from its end. Behind WELCOME both are proven; OVER: an error ended the handshake."""

    HELLO = 0
    CHALLENGE = 1
    PROOF = 2
    WELCOME = 3
    IDLE = 4
    ASKED = 5
    SENDING = 6
    GETTING = 7
    OVER = 8


_Rule = tuple[Phase, Kind, Phase]
_RULES: tuple[_Rule, ...] = (
    (Phase.HELLO, Kind.HELLO, Phase.CHALLENGE),
    (Phase.CHALLENGE, Kind.CHALLENGE, Phase.PROOF),
    (Phase.PROOF, Kind.PROOF, Phase.WELCOME),
    (Phase.WELCOME, Kind.WELCOME, Phase.IDLE),
    (Phase.IDLE, Kind.REQUEST, Phase.ASKED),
    (Phase.SENDING, Kind.DATA, Phase.SENDING),
    (Phase.SENDING, Kind.END, Phase.ASKED),
    (Phase.GETTING, Kind.DATA, Phase.GETTING),
    (Phase.ASKED, Kind.REPLY, Phase.IDLE),
    (Phase.GETTING, Kind.REPLY, Phase.IDLE),
)
_NEXT = {(phase, kind): following for phase, kind, following in _RULES}
_GO = {Opcode.SEND_DATA: Phase.SENDING, Opcode.GET_DATA: Phase.GETTING}
_FREEZERS = frozenset({Kind.CHALLENGE, Kind.WELCOME, Kind.GO, Kind.REPLY})
_WORKERS = frozenset({Kind.HELLO, Kind.PROOF, Kind.REQUEST, Kind.END})


class Session:
    """One end of one connection. Its caller moves bytes: it sends what `seal` returns, and judges each header by `expect` before it
    receives the rest, which it gives to `open`."""

    def __init__(self, key: NamespaceKey, nonce: bytes, *, freezer: bool) -> None:
        """nonce: NONCE_BYTES, random, used once."""
        assert len(nonce) == NONCE_BYTES
        self._secret = key.derive(KEY_PURPOSE)
        self._nonce = nonce
        self._freezer = freezer
        self._send_key = self._receive_key = b""
        self._sent = self._received = 0
        self.phase = Phase.HELLO
        self.opcode = Opcode.PROBE_DISK
        self.call = 0
        self.bus = 0

    def __repr__(self) -> str:
        side = "freezer" if self._freezer else "worker"
        return f"<Session {side} {self.phase.name} call={self.call} {self.opcode.name} sent={self._sent} received={self._received}>"

    @property
    def idle(self) -> bool:
        """Whether a call may begin."""
        return self.phase is Phase.IDLE and self.call < CALL_MAX

    def hello(self, bus: int) -> bytes:
        """The worker's first frame."""
        self.bus = bus
        return self.seal(Opcode.PROBE_DISK, Kind.HELLO, Hello(bus, self._nonce).encode())

    def request(self, opcode: Opcode, payload: bytes) -> bytes:
        """The frame that begins the next call."""
        assert self.idle, f"{self!r} can't begin a call"
        return self.seal(opcode, Kind.REQUEST, payload)

    def seal(self, opcode: Opcode, kind: Kind, payload: bytes) -> bytes:
        """A whole frame; small ones."""
        header, tag = self.seal_apart(opcode, kind, payload)
        return header + payload + tag

    def seal_apart(self, opcode: Opcode, kind: Kind, payload: Buffer) -> tuple[bytes, bytes]:
        """Header and tag to be sent before and behind `payload`, so that large ones needn't be copied."""
        self._advance(opcode, kind, self._next_call(kind))
        header = header_for(opcode, kind, self.call, payload).encode()
        tag = self._tag(self._send_key, self._sent, header, payload) if self._send_key else NO_TAG
        self._sent += 1
        return header, tag

    def expect(self, header: Header) -> None:
        """Whether such a frame may come now; called before anything behind the header is received. Raises: FrameMalformed."""
        if header.kind in (_FREEZERS if self._freezer else _WORKERS):
            raise FrameMalformed(f"{header.kind.name} comes from the wrong side")
        if self._following(header.opcode, header.kind) is None:
            raise FrameMalformed(f"{header.kind.name} of {header.opcode.name} may not come now")
        if header.call != self._next_call(header.kind):
            raise FrameMalformed(f"call {header.call} came, {self._next_call(header.kind)} was to come")

    def open(self, header: Header, payload: Buffer, tag: Buffer) -> None:
        """Takes the frame for true. Raises: FrameMalformed (payload changed), CallNotAuthenticated."""
        header.check_payload(payload)
        if header.kind is Kind.HELLO:
            hello = Hello.parse(payload)
            self.bus = hello.bus
            self._agree(hello.nonce, self._nonce)
            good = bytes(tag) == NO_TAG
        else:
            if header.kind is Kind.CHALLENGE:
                reader = Reader(payload)
                nonce = reader.raw(NONCE_BYTES)
                reader.end()
                self._agree(self._nonce, nonce)
            good = hmac.compare_digest(self._receive_tag(header, payload), bytes(tag))
        if not good:
            raise CallNotAuthenticated("the peer does not hold this namespace's key, or a frame was changed on its way")
        self._received += 1
        self._advance(header.opcode, header.kind, header.call)

    def challenge(self) -> bytes:
        """The freezer's answer to HELLO."""
        return self.seal(Opcode.PROBE_DISK, Kind.CHALLENGE, self._nonce)

    def _agree(self, worker_nonce: bytes, freezer_nonce: bytes) -> None:
        both = worker_nonce + freezer_nonce + self.bus.to_bytes(2, "little")
        worker, freezer = (hmac.digest(self._secret, side + both, "sha256") for side in (b"worker", b"freezer"))
        self._send_key, self._receive_key = (freezer, worker) if self._freezer else (worker, freezer)

    @staticmethod
    def _tag(key: bytes, number: int, header: bytes, payload: Buffer) -> bytes:
        mac = hmac.new(key, number.to_bytes(8, "little") + header, "sha256")
        mac.update(payload)
        return mac.digest()[:TAG_BYTES]

    def _receive_tag(self, header: Header, payload: Buffer) -> bytes:
        if not self._receive_key:  # an error before the nonces were exchanged: nobody can prove it, and it can only end the handshake
            return NO_TAG
        return self._tag(self._receive_key, self._received, header.encode(), payload)

    def _next_call(self, kind: Kind) -> int:
        return self.call + 1 if kind is Kind.REQUEST else self.call

    def _following(self, opcode: Opcode, kind: Kind) -> Phase | None:
        """The phase behind such a frame; None when it may not come now."""
        proven = self.phase.value >= Phase.IDLE.value
        if opcode is Opcode.ERROR:  # may end anything
            return (Phase.IDLE if proven else Phase.OVER) if kind is Kind.REPLY else None
        if self.phase is not Phase.IDLE and opcode is not (self.opcode if proven else Opcode.PROBE_DISK):
            return None
        if kind is Kind.GO:
            return _GO.get(opcode) if self.phase is Phase.ASKED else None
        return _NEXT.get((self.phase, kind))

    def _advance(self, opcode: Opcode, kind: Kind, call: int) -> None:
        following = self._following(opcode, kind)
        assert following is not None, f"{self!r} has no {kind.name} of {opcode.name} now"
        self.phase, self.opcode, self.call = following, opcode, call
