"""ICE, bytes only: what is described is what is sent, and nothing changed, forged, repeated or out of place is taken."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glacier import ice, iceanswer, icefield
from glacier.ice import DATA_BYTES_MAX, HEAD_BYTES_MAX, HEADER_BYTES, SMALL_BYTES_MAX, TAG_BYTES, Code, Header, Kind, Opcode
from glacier.icerequest import DeleteRequest, DiskRequest, Flag, GetRequest, Hello, LinkRequest, ListRequest, SendRequest
from glacier.icesession import Phase, Session
from glacier.protocol import BusReport, ChunkHead, DiskReport, DiskState, FsckReport, Sent
from node import errors
from node.auth import NamespaceKey
from node.errors import CallNotAuthenticated, FrameMalformed
from tests.unit.glacier.conversation import HEAD, KEY, STEPS, at, played, sessions, shaken, shown, take

README = Path(__file__).parents[3] / "glacier" / "README.md"
FRAMES = {name: frame for name, frame, _ in played(len(STEPS))}
Request = Hello | DiskRequest | ListRequest | SendRequest | GetRequest | DeleteRequest | LinkRequest
PROBE = DiskRequest(28).encode()


def test_the_readme_shows_the_bytes_that_are_sent() -> None:
    assert f"```ice\n{shown()}\n```" in README.read_text()


def test_the_opcodes_have_the_numbers_of_the_text() -> None:
    assert [opcode.name for opcode in Opcode] == [
        "PROBE_DISK",
        "DISK_POWER_ON",
        "DISK_POWER_OFF",
        "SEND_DATA",
        "GET_DATA",
        "DEL_DATA",
        "SATA_CLEAN",
        "FSCK_DISK",
        "LINK_DATA",
        "ERROR",
    ]
    assert [opcode.value for opcode in Opcode] == list(range(10))


def test_every_error_code_has_an_error_and_every_error_a_code() -> None:
    assert set(ice.ERRORS) == set(Code)
    for kind in errors._LEAVES.values():
        assert isinstance(ice.code_of(kind("")), Code)
    for code in set(Code) - {Code.TOO_MANY, Code.VERSION_UNKNOWN}:
        number, error = iceanswer.parse_error(iceanswer.encode_error(code, "words"))
        assert (number, ice.code_of(error), str(error)) == (code, code, "words")


def with_header(frame: bytes, at: int, value: bytes) -> bytes:
    """The frame with other bytes in its header and a header checksum that fits."""
    start = bytearray(frame[: HEADER_BYTES - 4])
    start[at : at + len(value)] = value
    return bytes(start) + struct.pack("<I", zlib.crc32(start)) + frame[HEADER_BYTES:]


@pytest.mark.parametrize(
    ("at", "value", "words"),
    [
        (0, b"X", "no ICE"),
        (3, b"\x02", "version 2"),
        (4, b"\x0a", "no opcode 10"),
        (5, b"\x09", "kind 9"),
        (6, b"\x01", "zero"),
        (12, struct.pack("<I", SMALL_BYTES_MAX + 1), "65537 bytes"),
        (12, struct.pack("<I", (1 << 32) - 1), "4294967295 bytes"),
    ],
)
def test_a_header_that_is_none_is_refused_before_anything_is_made_for_it(at: int, value: bytes, words: str) -> None:
    frame = with_header(FRAMES["REQUEST DISK_POWER_ON"], at, value)
    tracemalloc.start()
    try:
        with pytest.raises(FrameMalformed, match=words):
            Header.parse(frame[:HEADER_BYTES])
        assert tracemalloc.get_traced_memory()[1] < 1 << 16
    finally:
        tracemalloc.stop()


def test_a_version_to_come_is_told_apart() -> None:
    with pytest.raises(ice.VersionUnknown) as refused:
        Header.parse(with_header(FRAMES["HELLO"], 3, b"\x02")[:HEADER_BYTES])
    assert ice.code_of(refused.value) is Code.VERSION_UNKNOWN


@pytest.mark.parametrize("opcode", Opcode)
@pytest.mark.parametrize("kind", Kind)
def test_each_frame_has_its_greatest_length(opcode: Opcode, kind: Kind) -> None:
    heads = {(Opcode.SEND_DATA, Kind.REQUEST), (Opcode.LINK_DATA, Kind.REQUEST), (Opcode.GET_DATA, Kind.GO)}
    most = DATA_BYTES_MAX if kind is Kind.DATA else HEAD_BYTES_MAX if (opcode, kind) in heads else SMALL_BYTES_MAX
    assert Header.parse(Header(opcode, kind, 1, most, 0).encode()).length == most
    with pytest.raises(FrameMalformed):
        Header.parse(Header(opcode, kind, 1, most + 1, 0).encode())


@given(st.data())
def test_no_changed_bit_passes(data: st.DataObject) -> None:
    step = data.draw(st.integers(1, len(STEPS) - 1))
    frame, receiver = at(step)
    bit = data.draw(st.integers(0, 8 * len(frame) - 1))
    changed = bytearray(frame)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises((FrameMalformed, CallNotAuthenticated)):
        take(receiver, bytes(changed))


@given(st.integers(0, 8 * (HEADER_BYTES + 34) - 1))
def test_a_changed_hello_makes_no_conversation(bit: int) -> None:
    worker, freezer = sessions()
    hello = bytearray(worker.hello(1))
    hello[bit // 8] ^= 1 << bit % 8
    payload = bytes(hello[HEADER_BYTES : HEADER_BYTES + 34])
    mended = Header(Opcode.PROBE_DISK, Kind.HELLO, 0, 34, zlib.crc32(payload)).encode() + payload + bytes(TAG_BYTES)
    if bit < 8 * HEADER_BYTES:
        with pytest.raises(FrameMalformed):
            take(freezer, bytes(hello))
        return
    take(freezer, mended)
    with pytest.raises(CallNotAuthenticated):
        take(worker, freezer.challenge())


@pytest.mark.parametrize("step", range(1, len(STEPS)))
def test_a_frame_is_taken_once(step: int) -> None:
    frame, receiver = at(step)
    take(receiver, frame)
    with pytest.raises((FrameMalformed, CallNotAuthenticated)):
        take(receiver, frame)


@pytest.mark.parametrize("step", range(1, len(STEPS)))
def test_a_frame_of_another_conversation_is_refused(step: int) -> None:
    frame, _ = at(step)
    worker, freezer = Session(KEY, b"x" * 32, freezer=False), Session(KEY, b"y" * 32, freezer=True)
    take(freezer, worker.hello(1))
    with pytest.raises((FrameMalformed, CallNotAuthenticated)):
        take(worker if step == 1 else freezer, frame)


def test_neither_end_believes_another_key() -> None:
    stranger = NamespaceKey(b"s" * 32)
    worker, freezer = Session(stranger, b"w" * 32, freezer=False), Session(KEY, b"f" * 32, freezer=True)
    take(freezer, worker.hello(1))
    challenge = freezer.challenge()
    with pytest.raises(CallNotAuthenticated):
        take(worker, challenge)
    worker._agree(b"w" * 32, b"f" * 32)
    worker.phase = Phase.PROOF
    with pytest.raises(CallNotAuthenticated):
        take(freezer, worker.seal(Opcode.PROBE_DISK, Kind.PROOF, b""))


def test_what_a_side_said_does_not_come_back_to_it_as_said_by_the_other() -> None:
    worker, _ = shaken()
    with pytest.raises((FrameMalformed, CallNotAuthenticated)):
        take(worker, worker.request(Opcode.PROBE_DISK, PROBE))


@given(st.lists(st.tuples(st.sampled_from(Opcode), st.sampled_from(Kind), st.integers(0, 3)), max_size=12))
def test_only_what_may_come_now_is_expected(frames: list[tuple[Opcode, Kind, int]]) -> None:
    """Against a model of what a freezer may be told, written as one line for each phase."""
    _, freezer = shaken()
    asked: Opcode | None = None
    sending = False
    calls = 0
    for opcode, kind, call in frames:
        if asked is None:
            allowed = kind is Kind.REQUEST and opcode is not Opcode.ERROR and call == calls + 1
        else:
            allowed = sending and kind in (Kind.DATA, Kind.END) and opcode is asked and call == calls
        if not allowed:
            with pytest.raises(FrameMalformed):
                freezer.expect(Header(opcode, kind, call, 0, 0))
            continue
        freezer.expect(Header(opcode, kind, call, 0, 0))
        freezer._advance(opcode, kind, call)
        if kind is Kind.REQUEST:
            asked, calls = opcode, call
            if opcode is Opcode.SEND_DATA:
                freezer.seal(opcode, Kind.GO, b"")
                sending = True
            else:
                freezer.seal(opcode, Kind.REPLY, b"")
                asked = None
        elif kind is Kind.END:
            freezer.seal(opcode, Kind.REPLY, b"")
            asked, sending = None, False


IDS = st.binary(min_size=16, max_size=32).map(bytes.hex)
U16, U32, U64 = (st.integers(0, (1 << bits) - 1) for bits in (16, 32, 64))
WORDS = st.text(st.characters(codec="utf-8"), max_size=80)
SUMS = st.binary(min_size=16, max_size=16)
HEADS = st.builds(ChunkHead, IDS, U64, U32, SUMS, st.binary(max_size=200), st.binary(max_size=200))
REPORTS = st.builds(
    DiskReport, U16, st.sampled_from(DiskState), U64, U64, U64, U64, U32, U32, U32, U64, U32, U32, U32, U32, U64, WORDS, WORDS, WORDS
)
BUSES = st.builds(BusReport, WORDS, U16, U16, st.lists(U16, max_size=60).map(tuple), U16, U16, U32, U32)
FLAGS = st.integers(0, 3).map(Flag)


@given(
    st.one_of(
        st.builds(Hello, U16, st.binary(min_size=32, max_size=32)),
        st.builds(DiskRequest, U16, FLAGS),
        st.builds(ListRequest, U16, st.integers(1, 900), IDS | st.just("")),
        st.builds(SendRequest, U16, FLAGS, HEADS),
        st.builds(GetRequest, U16, FLAGS, IDS, SUMS.filter(any) | st.just(b""), U64, U64),
        st.builds(DeleteRequest, U16, st.lists(IDS, max_size=20).map(tuple)),
        st.builds(LinkRequest, U16, IDS, IDS, st.binary(max_size=200)),
    ),
    st.data(),
)
def test_requests_come_back_as_they_were_and_cut_ones_are_refused(request: Request, data: st.DataObject) -> None:
    encoded = request.encode()
    assert type(request).parse(encoded) == request
    with pytest.raises(FrameMalformed):
        type(request).parse(encoded[: data.draw(st.integers(0, len(encoded) - 1))])
    with pytest.raises(FrameMalformed):
        type(request).parse(encoded + b"\0")


@given(
    REPORTS, BUSES, HEADS, st.builds(Sent, st.booleans(), st.booleans(), U64), st.builds(FsckReport, st.booleans(), st.booleans(), WORDS)
)
def test_answers_come_back_as_they_were(report: DiskReport, bus: BusReport, head: ChunkHead, sent: Sent, fsck: FsckReport) -> None:
    assert iceanswer.parse_report(iceanswer.encode_report(report)) == report
    assert iceanswer.parse_welcome(iceanswer.encode_welcome(bus)) == bus
    assert iceanswer.parse_head(iceanswer.encode_head(head)) == head
    assert iceanswer.parse_sent(iceanswer.encode_sent(sent)) == sent
    assert iceanswer.parse_fsck(iceanswer.encode_fsck(fsck)) == fsck


PARSERS: list[Callable[[bytes], object]] = [
    *(kind.parse for kind in (Hello, DiskRequest, ListRequest, SendRequest, GetRequest, DeleteRequest, LinkRequest)),
    iceanswer.parse_report,
    iceanswer.parse_welcome,
    iceanswer.parse_head,
    iceanswer.parse_ids,
    iceanswer.parse_sent,
    iceanswer.parse_fsck,
    iceanswer.parse_error,
]


@given(st.sampled_from(PARSERS), st.binary(max_size=300))
def test_no_payload_is_too_strange_to_be_refused(parse: Callable[[bytes], object], payload: bytes) -> None:
    try:
        parse(payload)
    except FrameMalformed:
        return


def test_a_length_inside_a_payload_makes_no_room() -> None:
    huge = SendRequest(1, Flag.NONE, HEAD).encode().replace(struct.pack("<I", len(HEAD.record)), struct.pack("<I", (1 << 32) - 1))
    tracemalloc.start()
    try:
        with pytest.raises(FrameMalformed, match="too short"):
            SendRequest.parse(huge)
        assert tracemalloc.get_traced_memory()[1] < 1 << 16
    finally:
        tracemalloc.stop()


def test_long_words_are_cut_between_characters() -> None:
    _, error = iceanswer.parse_error(iceanswer.encode_error(Code.BUSY, "é" * 5000))
    assert str(error) == "é" * 2048


def test_the_largest_lists_fit_their_frames() -> None:
    ids = tuple(f"{number:064x}" for number in range(icefield.IDS_MAX))
    assert len(DeleteRequest(1, ids).encode()) <= SMALL_BYTES_MAX
    assert len(iceanswer.encode_fsck(FsckReport(True, True, "x" * 100_000))) <= SMALL_BYTES_MAX
