"""Proofs of internal calls, and sealed secrets: any change is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.auth import WINDOW_S, NamespaceKey, Verifier, digest
from node.clock import FakeClock
from node.errors import CallNotAuthenticated, ClockOff, ConfigError, RecordCorrupt, decode_error, encode_error

KEY = NamespaceKey(b"k" * 32)


def fresh() -> tuple[FakeClock, Verifier]:
    clock = FakeClock()
    return clock, Verifier(KEY, clock)


def test_a_signed_call_is_accepted_once() -> None:
    clock, verifier = fresh()
    proof = KEY.sign("PUT", b"/a?b", digest(b"body"), clock.now_us())
    verified = verifier.verify("PUT", b"/a?b", proof)
    assert not verified.streamed
    verified.check_body(b"body")
    with pytest.raises(CallNotAuthenticated):
        verified.check_body(b"other")
    with pytest.raises(CallNotAuthenticated, match="before"):
        verifier.verify("PUT", b"/a?b", proof)


@pytest.mark.parametrize(
    ("method", "target", "key"),
    [("GET", b"/a", KEY), ("PUT", b"/b", KEY), ("PUT", b"/a?", KEY), ("PUT", b"/a", NamespaceKey(b"x" * 32)), ("PUT", b"/a\n", KEY)],
)
def test_a_proof_fits_one_call_and_key(method: str, target: bytes, key: NamespaceKey) -> None:
    clock, verifier = fresh()
    with pytest.raises(CallNotAuthenticated):
        verifier.verify(method, target, key.sign("PUT", b"/a", digest(b""), clock.now_us()))


@pytest.mark.parametrize("proof", [None, b"", b"1", b"2 1 " + b"0" * 32 + b" STREAM " + b"0" * 64])
def test_no_proof_no_call(proof: bytes | None) -> None:
    with pytest.raises(CallNotAuthenticated):
        fresh()[1].verify("GET", b"/", proof)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_any_change_of_the_proof_is_refused(data: st.DataObject) -> None:
    clock, verifier = fresh()
    proof = bytearray(KEY.sign("PUT", b"/a", None, clock.now_us()))
    at = data.draw(st.integers(0, len(proof) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != proof[at]))
    proof[at] = byte
    with pytest.raises(CallNotAuthenticated):
        verifier.verify("PUT", b"/a", bytes(proof))


def test_clocks_may_be_apart_within_the_window_and_replays_never_pass() -> None:
    for skew in (-WINDOW_S, WINDOW_S):
        clock, verifier = fresh()
        clock.advance(WINDOW_S)
        proof = KEY.sign("GET", b"/", digest(b""), clock.now_us() + skew * 1_000_000)
        verifier.verify("GET", b"/", proof)
        for _ in range(4 * WINDOW_S // 50):
            clock.advance(50)
            with pytest.raises(CallNotAuthenticated):
                verifier.verify("GET", b"/", proof)
            verifier.verify("GET", b"/", KEY.sign("GET", b"/", digest(b""), clock.now_us()))
        assert repr(verifier) <= "<Verifier nonces=14>"
    clock, verifier = fresh()
    for skew in (-WINDOW_S - 1, WINDOW_S + 1):
        with pytest.raises(CallNotAuthenticated, match="clock"):
            verifier.verify("GET", b"/", KEY.sign("GET", b"/", digest(b""), clock.now_us() + skew * 1_000_000))


def test_what_an_earlier_process_took_is_refused_by_the_next() -> None:
    clock, verifier = fresh()
    proof = KEY.sign("GET", b"/", digest(b""), clock.now_us())
    verifier.verify("GET", b"/", proof)
    clock.advance(1)
    with pytest.raises(ClockOff):
        Verifier(KEY, clock).verify("GET", b"/", proof)


def test_a_jump_of_the_clock_lets_no_replay_in() -> None:
    clock, verifier = fresh()
    proof = KEY.sign("GET", b"/", digest(b""), clock.now_us())
    verifier.verify("GET", b"/", proof)
    clock.advance(3 * WINDOW_S)
    clock.jump(-3 * WINDOW_S)
    with pytest.raises(CallNotAuthenticated):
        verifier.verify("GET", b"/", proof)


def test_a_refusal_tells_the_time_to_its_caller_only() -> None:
    clock, verifier = fresh()
    proof = KEY.sign("GET", b"/", digest(b""), clock.now_us() + 86_400_000_000)
    with pytest.raises(ClockOff) as refused:
        verifier.verify("GET", b"/", proof)
    told = decode_error(encode_error(refused.value), ClockOff.status).detail
    assert KEY.told_time(told, proof) == clock.now_us() // 1_000_000
    assert KEY.told_time(told, KEY.sign("GET", b"/", digest(b""), clock.now_us())) is None
    assert KEY.told_time("9" + told, proof) is None
    assert NamespaceKey(b"x" * 32).told_time(told, proof) is None


def test_a_full_replay_memory_refuses_instead_of_forgetting() -> None:
    clock = FakeClock()
    verifier = Verifier(KEY, clock, nonces_max=2)
    for _ in range(2):
        verifier.verify("GET", b"/", KEY.sign("GET", b"/", digest(b""), clock.now_us()))
    with pytest.raises(CallNotAuthenticated, match="too many"):
        verifier.verify("GET", b"/", KEY.sign("GET", b"/", digest(b""), clock.now_us()))
    clock.advance(2 * WINDOW_S + 1)
    verifier.verify("GET", b"/", KEY.sign("GET", b"/", digest(b""), clock.now_us()))


def test_trailers_are_bound_to_head_and_size() -> None:
    clock, verifier = fresh()
    head = KEY.sign("PUT", b"/", None, clock.now_us())
    sums = [(b"x-sum", b"1")]
    trailers = [*sums, (b"x-frazil-proof", KEY.sign_trailers(head, 10, sums))]
    proof = verifier.verify("PUT", b"/", head)
    assert proof.streamed
    proof.check_trailers(10, trailers)
    proof_line = trailers[1]
    changes = [trailers[1:], sums, [(b"x-sum", b"2"), proof_line], [*trailers, proof_line]]
    for size, changed in ((11, trailers), *((10, change) for change in changes)):
        with pytest.raises(CallNotAuthenticated):
            proof.check_trailers(size, changed)
    other = verifier.verify("PUT", b"/", KEY.sign("PUT", b"/", None, clock.now_us()))
    with pytest.raises(CallNotAuthenticated):
        other.check_trailers(10, trailers)
    with pytest.raises(CallNotAuthenticated):
        proof.check_body(b"")


def test_sealed_secrets_open_only_in_their_place() -> None:
    sealed = KEY.seal(b"secret", b"account 1")
    assert b"secret" not in sealed
    assert sealed != KEY.seal(b"secret", b"account 1")
    assert KEY.unseal(sealed, b"account 1") == b"secret"
    for changed in (sealed[:-1], b"\x02" + sealed[1:], sealed[:20] + bytes([sealed[20] ^ 1]) + sealed[21:], b"", sealed[:5]):
        with pytest.raises(RecordCorrupt):
            KEY.unseal(changed, b"account 1")
    with pytest.raises(RecordCorrupt):
        KEY.unseal(sealed, b"account 2")
    with pytest.raises(RecordCorrupt):
        NamespaceKey(b"x" * 32).unseal(sealed, b"account 1")


def test_key_files_are_private(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = NamespaceKey.create(path)
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert NamespaceKey.load(path).unseal(key.seal(b"x", b""), b"") == b"x"
    assert repr(key) == "<NamespaceKey>"
    with pytest.raises(ConfigError, match="exists"):
        NamespaceKey.create(path)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        NamespaceKey.load(path)
    path.chmod(0o600)
    for content in (b"", b"zz", b"00" * 31, b"\xff"):
        path.write_bytes(content)
        with pytest.raises(ConfigError):
            NamespaceKey.load(path)
    with pytest.raises(ConfigError, match="No such file"):
        NamespaceKey.load(tmp_path / "none")
