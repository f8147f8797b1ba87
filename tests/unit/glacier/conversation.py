"""A conversation with fixed key and nonces, whose every byte glacier/README.md shows."""

from __future__ import annotations

from collections.abc import Iterator

from glacier import iceanswer, icefield
from glacier.ice import HEADER_BYTES, TAG_BYTES, Code, Header, Kind, Opcode
from glacier.icerequest import DeleteRequest, DiskRequest, Flag, GetRequest, Hello, LinkRequest, ListRequest, SendRequest
from glacier.icesession import Session
from glacier.protocol import WHOLE, BusReport, ChunkHead, DiskReport, DiskState, FsckReport, Sent
from node.auth import NamespaceKey
from rawx.chunk import chunk_checksum, unit_digests

KEY = NamespaceKey(bytes(range(32)))
BYTES = b"ice"
UNITS = unit_digests(BYTES, 4096)
RECORD = b'{"bucket":"b","key":"k","content":"c","policy":"p","size":3,"unit_bytes":4096,"v":1}'
HEAD = ChunkHead("0123456789abcdef0123456789abcdef", 3, 4096, chunk_checksum(UNITS), RECORD, UNITS)
BUS = BusReport("north", 1, 2, (28, 29, 30), 1, 2, 15_000, 60_000)
REPORT = DiskReport(28, DiskState.ON, 1 << 33, 1 << 32, 7, 8, 0, 0, 9, 10, 1, 2, 3, 4, 0, "0011223344556677", "")
OTHER = "f" * 32


def sessions() -> tuple[Session, Session]:
    """Worker and freezer, nothing said yet."""
    return Session(KEY, b"w" * 32, freezer=False), Session(KEY, b"f" * 32, freezer=True)


def take(session: Session, frame: bytes) -> bytes:
    """What the receiver of a frame does; its payload. Raises: FrameMalformed, CallNotAuthenticated."""
    header = Header.parse(frame[:HEADER_BYTES])
    session.expect(header)
    payload = frame[HEADER_BYTES : HEADER_BYTES + header.length]
    tag = frame[HEADER_BYTES + header.length :]
    assert len(tag) == TAG_BYTES
    session.open(header, payload, tag)
    return payload


_Step = tuple[Opcode, Kind, bytes]
CALLS: tuple[tuple[_Step, ...], ...] = (
    (
        (Opcode.PROBE_DISK, Kind.REQUEST, DiskRequest(28).encode()),
        (Opcode.PROBE_DISK, Kind.REPLY, iceanswer.encode_report(REPORT)),
    ),
    (
        (Opcode.PROBE_DISK, Kind.REQUEST, ListRequest(28, 900).encode()),
        (Opcode.PROBE_DISK, Kind.REPLY, icefield.encode_ids([HEAD.chunk])),
    ),
    (
        (Opcode.DISK_POWER_ON, Kind.REQUEST, DiskRequest(28, Flag.FORCE).encode()),
        (Opcode.DISK_POWER_ON, Kind.REPLY, iceanswer.encode_report(REPORT)),
    ),
    (
        (Opcode.SEND_DATA, Kind.REQUEST, SendRequest(28, Flag.CHECK, HEAD).encode()),
        (Opcode.SEND_DATA, Kind.GO, b""),
        (Opcode.SEND_DATA, Kind.DATA, BYTES),
        (Opcode.SEND_DATA, Kind.END, iceanswer.encode_total(3)),
        (Opcode.SEND_DATA, Kind.REPLY, iceanswer.encode_sent(Sent(False, True, 1 << 32))),
    ),
    (
        (Opcode.GET_DATA, Kind.REQUEST, GetRequest(28, Flag.NONE, HEAD.chunk, HEAD.checksum, 0, WHOLE).encode()),
        (Opcode.GET_DATA, Kind.GO, iceanswer.encode_head(HEAD)),
        (Opcode.GET_DATA, Kind.DATA, BYTES),
        (Opcode.GET_DATA, Kind.REPLY, iceanswer.encode_total(3)),
    ),
    (
        (Opcode.LINK_DATA, Kind.REQUEST, LinkRequest(28, HEAD.chunk, OTHER, RECORD).encode()),
        (Opcode.LINK_DATA, Kind.REPLY, b""),
    ),
    (
        (Opcode.DEL_DATA, Kind.REQUEST, DeleteRequest(28, (OTHER,)).encode()),
        (Opcode.DEL_DATA, Kind.REPLY, icefield.encode_ids([])),
    ),
    (
        (Opcode.FSCK_DISK, Kind.REQUEST, DiskRequest(28, Flag.REPAIR).encode()),
        (Opcode.FSCK_DISK, Kind.REPLY, iceanswer.encode_fsck(FsckReport(True, False, "clean"))),
    ),
    (
        (Opcode.DISK_POWER_OFF, Kind.REQUEST, DiskRequest(29).encode()),
        (Opcode.ERROR, Kind.REPLY, iceanswer.encode_error(Code.BUSY, "disk 29 is read")),
    ),
    (
        (Opcode.SATA_CLEAN, Kind.REQUEST, DiskRequest(0, Flag.BOARD).encode()),
        (Opcode.SATA_CLEAN, Kind.REPLY, b""),
    ),
)
"""Each opcode once, in an order that a worker might choose."""
_FREEZERS = (Kind.CHALLENGE, Kind.WELCOME, Kind.GO, Kind.REPLY)
_HANDSHAKE: tuple[_Step, ...] = (
    (Opcode.PROBE_DISK, Kind.HELLO, Hello(1, b"w" * 32).encode()),
    (Opcode.PROBE_DISK, Kind.CHALLENGE, b"f" * 32),
    (Opcode.PROBE_DISK, Kind.PROOF, b""),
    (Opcode.PROBE_DISK, Kind.WELCOME, iceanswer.encode_welcome(BUS)),
)
STEPS = (*_HANDSHAKE, *(step for call in CALLS for step in call))


def played(steps: int) -> Iterator[tuple[str, bytes, Session]]:
    """(name, frame, its receiver) of so many steps; all but the last are taken before the next is made."""
    worker, freezer = sessions()
    for number, (opcode, kind, payload) in enumerate(STEPS[:steps]):
        from_freezer = kind in _FREEZERS or (kind is Kind.DATA and opcode is Opcode.GET_DATA)
        sender, receiver = (freezer, worker) if from_freezer else (worker, freezer)
        frame = worker.hello(1) if kind is Kind.HELLO else sender.seal(opcode, kind, payload)
        if number < steps - 1:
            assert take(receiver, frame) == payload
        yield f"{kind.name} {opcode.name}" if number >= len(_HANDSHAKE) else kind.name, frame, receiver


def at(step: int) -> tuple[bytes, Session]:
    """The frame of a step, and its receiver that has yet to take it."""
    *_, (_, frame, receiver) = played(step + 1)
    return frame, receiver


def shaken() -> tuple[Session, Session]:
    """Worker and freezer, ready for the first request."""
    worker, freezer = sessions()
    take(freezer, worker.hello(1))
    take(worker, freezer.challenge())
    take(freezer, worker.seal(Opcode.PROBE_DISK, Kind.PROOF, b""))
    take(worker, freezer.seal(Opcode.PROBE_DISK, Kind.WELCOME, iceanswer.encode_welcome(BUS)))
    return worker, freezer


def shown() -> str:
    """The conversation as glacier/README.md shows it: the direction and name, then header, payload and tag in hex."""
    lines = []
    for name, frame, _ in played(len(STEPS)):
        header, payload, tag = frame[:HEADER_BYTES], frame[HEADER_BYTES:-TAG_BYTES], frame[-TAG_BYTES:]
        lines.append(name)
        lines.append(f"    {header.hex()}")
        lines += [f"    {payload[begin : begin + 64].hex()}" for begin in range(0, len(payload), 64)]
        lines.append(f"    {tag.hex()}")
    return "\n".join(lines)
