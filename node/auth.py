"""Proof that an internal call comes from a holder of the namespace's key, and sealing of secrets at rest with the same key.

A connection has a challenge, 128 random bits that its server made for it and tells whoever calls without a proof (`detail` of the refusal,
CallNotAuthenticated). Each call on it has a number, greater than the one before. On the wire, in the header `x-frazil-proof`:

    2 <number> <body> <HMAC-SHA256, 64 hex>

`body` is the SHA-256 of the body in hex, or STREAM when the bytes are not known yet. The HMAC covers method, target, challenge, number and
body. So a call that was overheard is refused on every other connection, to whichever process, for ever, and on its own one because its
number was used; no clock is asked, and nothing is remembered but one number for each connection.

After a STREAM body the trailer `x-frazil-proof` holds a second HMAC over the first proof, the number of bytes and all other trailers (the
checksum of the bytes is one of them), so that neither the head nor the end of a call can be swapped for another's. A streamed body is only
as safe against a forger as that checksum; where somebody may sit on the wire, TLS is the answer.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from node.errors import CallNotAuthenticated, ConfigError, RecordCorrupt
from node.line import Line

if TYPE_CHECKING:
    from node.http.message import Request

PROOF_HEADER = b"x-frazil-proof"
STREAM = b"STREAM"
KEY_BYTES = 32
SEAL_VERSION = b"\x01"
SEAL_NONCE_BYTES = 12
_PROOF = re.compile(rb"2 ([0-9]{1,18}) (STREAM|[0-9a-f]{64}) ([0-9a-f]{64})")
_EMPTY_DIGEST = hashlib.sha256(b"").hexdigest().encode()

Trailers = Sequence[tuple[bytes, bytes]]


class NamespaceKey:
    """The namespace's secret. Each use has its own key derived from it, so that a proof never doubles as something else."""

    __slots__ = ("_call", "_derive", "_seal", "_trailer")

    def __init__(self, secret: bytes) -> None:
        if len(secret) < KEY_BYTES:
            raise ConfigError(f"the namespace key has {len(secret)} bytes; it needs {KEY_BYTES}")
        self._call = hmac.digest(secret, b"frazil call 2", "sha256")
        self._trailer = hmac.digest(secret, b"frazil trailer 1", "sha256")
        self._seal = hmac.digest(secret, b"frazil seal 1", "sha256")
        self._derive = hmac.digest(secret, b"frazil derive 1", "sha256")

    def __repr__(self) -> str:
        return "<NamespaceKey>"

    @classmethod
    def create(cls, path: Path) -> NamespaceKey:
        """A new random key in a new file that only its owner reads. Raises: ConfigError when the file is there already or can't be made."""
        secret = os.urandom(KEY_BYTES)
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(secret.hex().encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise ConfigError(f"can't create the namespace key {path}: {error.strerror}") from error
        return cls(secret)

    @classmethod
    def load(cls, path: Path) -> NamespaceKey:
        """Raises: ConfigError when the file is missing, not a key, or readable by others."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            with os.fdopen(fd, "rb") as file:
                mode = os.fstat(fd).st_mode
                text = file.read(1024).strip()
        except OSError as error:
            raise ConfigError(f"can't read the namespace key {path}: {error.strerror}") from error
        if mode & 0o077:
            raise ConfigError(f"the namespace key {path} can be read by others; chmod 600 it")
        try:
            return cls(bytes.fromhex(text.decode("ascii")))
        except ValueError as error:
            raise ConfigError(f"{path} holds no namespace key (64 hex digits)") from error

    def sign(self, method: str, target: bytes, body_digest: bytes | None, line: Line) -> bytes:
        """The proof for the next call on that line. `body_digest`: see `digest`; None for a streamed body, whose trailers `sign_trailers`
        covers."""
        body = STREAM if body_digest is None else body_digest
        line.number += 1
        return b"2 %d %b %b" % (line.number, body, self.mac(method, target, line.challenge, b"%d %b" % (line.number, body)))

    def mac(self, method: str, target: bytes, challenge: bytes, stamp: bytes) -> bytes:
        """The HMAC over a call; `stamp` is number and body of the proof."""
        return hmac.digest(self._call, b"%b\n%b\n%b\n%b" % (method.encode(), target, challenge, stamp), "sha256").hex().encode()

    def sign_trailers(self, proof: bytes, size: int, trailers: Trailers) -> bytes:
        """The trailer proof of a streamed call whose head carried `proof`: binds `size` body bytes and the other trailers to it."""
        lines = b"".join(b"%b:%b\n" % (name.lower(), value.strip()) for name, value in trailers)
        return hmac.digest(self._trailer, b"%b\n%d\n%b" % (proof, size, lines), "sha256").hex().encode()

    def derive(self, purpose: bytes) -> bytes:
        """A key of KEY_BYTES for this purpose and no other: always the same, never stored."""
        return hmac.digest(self._derive, purpose, "sha256")

    def seal(self, plaintext: bytes, context: bytes) -> bytes:
        """Encrypts and authenticates (AES-256-GCM) a secret for storing. `context` says whose it is and must be the same at `unseal`."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # 60 ms: only processes that keep secrets pay it

        nonce = os.urandom(SEAL_NONCE_BYTES)
        return SEAL_VERSION + nonce + AESGCM(self._seal).encrypt(nonce, plaintext, SEAL_VERSION + context)

    def unseal(self, sealed: bytes, context: bytes) -> bytes:
        """Raises: RecordCorrupt when the bytes were changed, belong to another context or another namespace."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if sealed[:1] != SEAL_VERSION:
            raise RecordCorrupt("a sealed secret of a version this Frazil does not know")
        begin = 1 + SEAL_NONCE_BYTES
        try:
            return AESGCM(self._seal).decrypt(sealed[1:begin], sealed[begin:], SEAL_VERSION + context)
        except (InvalidTag, ValueError) as error:
            raise RecordCorrupt("a sealed secret does not open with this namespace's key") from error


def digest(body: bytes | bytearray | memoryview) -> bytes:
    """The body digest that `NamespaceKey.sign` takes."""
    return hashlib.sha256(body).hexdigest().encode() if body else _EMPTY_DIGEST


class Proof:
    """A verified head of a call. The body still has to be held against it: `check_body`, or `check_trailers` when `streamed`."""

    __slots__ = ("_body", "_key", "_text")

    def __init__(self, key: NamespaceKey, text: bytes, body: bytes) -> None:
        self._key = key
        self._text = text
        self._body = body

    @property
    def streamed(self) -> bool:
        return self._body == STREAM

    def check_body(self, body: bytes) -> None:
        """Raises: CallNotAuthenticated when these are not the bytes the caller signed."""
        if not hmac.compare_digest(self._body, digest(body)):
            raise CallNotAuthenticated("the body is not the one the caller signed")

    def check_trailers(self, size: int, trailers: Trailers) -> None:
        """`trailers` as received, the proof among them. Raises: CallNotAuthenticated when they or `size` are not what the caller signed."""
        given = [value for name, value in trailers if name == PROOF_HEADER]
        others = [pair for pair in trailers if pair[0] != PROOF_HEADER]
        expected = self._key.sign_trailers(self._text, size, others)
        if not self.streamed or len(given) != 1 or not hmac.compare_digest(given[0], expected):
            raise CallNotAuthenticated("the trailers are not the ones the caller signed")


class Verifier:
    """Checks proofs."""

    def __init__(self, key: NamespaceKey) -> None:
        self._key = key

    def __repr__(self) -> str:
        return "<Verifier>"

    def verify(self, request: Request) -> Proof:
        """Raises: CallNotAuthenticated; the reason names no secret and does not tell a wrong key from a changed call."""
        line, text = request.line, request.headers.get(PROOF_HEADER)
        match = _PROOF.fullmatch(text) if text is not None else None
        if match is None or text is None:
            error = CallNotAuthenticated("the call carries no proof of the namespace's key")
            error.detail = line.challenge.decode()
            raise error
        if not hmac.compare_digest(self._key.mac(request.method, request.target, line.challenge, text[2:-65]), match[3]):
            raise CallNotAuthenticated("the proof does not fit the call, or it is of another connection")
        number = int(match[1])
        if number <= line.number:
            raise CallNotAuthenticated("the call was made before")
        line.number = number
        return Proof(self._key, text, match[2])
