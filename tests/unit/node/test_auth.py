"""Proofs of internal calls, and sealed secrets: any change is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.auth import PROOF_HEADER, NamespaceKey, Proof, Verifier, digest
from node.errors import CallNotAuthenticated, ConfigError, RecordCorrupt, decode_error, encode_error
from node.http.message import Headers, Request
from node.line import Line

KEY = NamespaceKey(b"k" * 32)


def connected() -> tuple[Line, Line]:
    """A connection's two ends: the caller's, the server's."""
    server = Line.fresh()
    return Line.told(server.challenge.decode()), server


def verify(line: Line, method: str, target: bytes, proof: bytes | None) -> Proof:
    request = Request(method, target, Headers([(PROOF_HEADER, proof)] if proof is not None else []))
    request.line = line
    return Verifier(KEY).verify(request)


def test_a_signed_call_is_accepted_once() -> None:
    caller, server = connected()
    proof = KEY.sign("PUT", b"/a?b", digest(b"body"), caller)
    verified = verify(server, "PUT", b"/a?b", proof)
    assert not verified.streamed
    verified.check_body(b"body")
    with pytest.raises(CallNotAuthenticated):
        verified.check_body(b"other")
    with pytest.raises(CallNotAuthenticated, match="before"):
        verify(server, "PUT", b"/a?b", proof)


@pytest.mark.parametrize(
    ("method", "target", "key"),
    [("GET", b"/a", KEY), ("PUT", b"/b", KEY), ("PUT", b"/a?", KEY), ("PUT", b"/a", NamespaceKey(b"x" * 32)), ("PUT", b"/a\n", KEY)],
)
def test_a_proof_fits_one_call_and_key(method: str, target: bytes, key: NamespaceKey) -> None:
    caller, server = connected()
    with pytest.raises(CallNotAuthenticated):
        verify(server, method, target, key.sign("PUT", b"/a", digest(b""), caller))
    assert server.number == 0  # a stranger's call leaves no trace


@pytest.mark.parametrize("proof", [None, b"", b"2", b"1 1 STREAM " + b"0" * 64, b"2 1" + b"0" * 18 + b" STREAM " + b"0" * 64])
def test_no_proof_no_call(proof: bytes | None) -> None:
    _, server = connected()
    with pytest.raises(CallNotAuthenticated) as refused:
        verify(server, "GET", b"/", proof)
    assert Line.told(decode_error(encode_error(refused.value), 401).detail).challenge == server.challenge


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_any_change_of_the_proof_is_refused(data: st.DataObject) -> None:
    caller, server = connected()
    proof = bytearray(KEY.sign("PUT", b"/a", None, caller))
    at = data.draw(st.integers(0, len(proof) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != proof[at]))
    proof[at] = byte
    with pytest.raises(CallNotAuthenticated):
        verify(server, "PUT", b"/a", bytes(proof))


def test_a_call_is_of_one_connection_whoever_serves_the_other() -> None:
    caller, server = connected()
    proof = KEY.sign("GET", b"/", digest(b""), caller)
    _, other = connected()
    for _ in range(2):
        with pytest.raises(CallNotAuthenticated, match="another connection"):
            verify(other, "GET", b"/", proof)
        verify(server, "GET", b"/", KEY.sign("GET", b"/", digest(b""), caller))
    with pytest.raises(CallNotAuthenticated, match="before"):  # overtaken
        verify(server, "GET", b"/", proof)


@pytest.mark.parametrize("detail", ["", "0" * 31, "G" * 32, "0" * 33, "a challenge"])
def test_what_is_no_challenge_is_not_taken_for_one(detail: str) -> None:
    assert Line.told(detail).challenge == b""


def test_trailers_are_bound_to_head_and_size() -> None:
    caller, server = connected()
    head = KEY.sign("PUT", b"/", None, caller)
    sums = [(b"x-sum", b"1")]
    trailers = [*sums, (b"x-frazil-proof", KEY.sign_trailers(head, 10, sums))]
    proof = verify(server, "PUT", b"/", head)
    assert proof.streamed
    proof.check_trailers(10, trailers)
    proof_line = trailers[1]
    changes = [trailers[1:], sums, [(b"x-sum", b"2"), proof_line], [*trailers, proof_line]]
    for size, changed in ((11, trailers), *((10, change) for change in changes)):
        with pytest.raises(CallNotAuthenticated):
            proof.check_trailers(size, changed)
    other = verify(server, "PUT", b"/", KEY.sign("PUT", b"/", None, caller))
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
