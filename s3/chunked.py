"""The aws-chunked coding: a body in chunks, signed or not, with or without trailers. Sans-IO: it reads framing, the caller moves data.

    <hex size>[;chunk-signature=<64 hex>] CRLF <data> CRLF ... 0[;chunk-signature=...] CRLF [<name>:<value> CRLF]... CRLF

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html, .../sigv4-streaming-trailers.html
"""

from __future__ import annotations

import hashlib
import hmac
import re
from enum import Enum

from node.errors import BodyIncomplete
from s3.errors import S3Error
from s3.payload import EMPTY_SHA256, Payload
from s3.signingkey import Seed, SigningKey

LINE_BYTES_MAX = 512
"""A size line: the size, the signature, and whatever extension a proxy adds. Trailer lines too."""
TRAILERS_MAX = 16
CHUNKS_SMALL_MAX = 10_000
CHUNK_BYTES_SMALL = 8 << 10
"""AWS wants all chunks but the last to have 8 KiB or more; a body may have so many smaller ones before it is refused as a waste of work."""
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,12})(?:;chunk-signature=([0-9a-f]{64}))?")
_TRAILER = re.compile(rb"([A-Za-z0-9-]{1,64})[ \t]*:[ \t]*([\x21-\x7e]{0,256})[ \t]*")
_SIGNATURE_TRAILER = b"x-amz-trailer-signature"
_NO_SEED = Seed(SigningKey(b""), b"", b"", b"")


class _State(Enum):
    SIZE = "size"
    DATA = "data"
    DATA_END = "data end"
    TRAILER = "trailer"
    DONE = "done"


class ChunkedDecoder:
    """Theory of operation: SIZE -> DATA -> DATA_END -> SIZE ... and after a size of 0 TRAILER until an empty line, then DONE.

    `feed` eats framing bytes and stops where data begins: then `remaining` > 0 and the caller puts that many data bytes where they belong
    and shows them to `took`. A chunk's signature is verified with its last byte, before anything after it is looked at; the stream counts
    only when `done`.
    Raises: S3Error SignatureDoesNotMatch, IncompleteBody, InvalidArgument or InvalidRequest.
    """

    def __init__(self, payload: Payload, seed: Seed | None, *, decoded_length: int) -> None:
        """seed: of the request's signature; an anonymous request has none and can't have signed chunks. Raises: AccessDenied."""
        self._signed = payload is not Payload.STREAMING_UNSIGNED_TRAILER
        if seed is None:
            if self._signed:
                raise S3Error("AccessDenied")
            seed = _NO_SEED
        self._trailing = payload is not Payload.STREAMING
        self._seed = seed
        self._previous = seed.signature
        self._left = decoded_length
        self._line = b""
        self._state = _State.SIZE
        self._hash = hashlib.sha256()
        self._signature = b""
        self._small = 0
        self._half_ended = False  # minio-go ends a trailer with LF CR LF, as AWS's page prints it
        self._trailer_lines: list[bytes] = []
        self.remaining = 0
        self.trailers: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<ChunkedDecoder {self._state.value} remaining={self.remaining} left={self._left}>"

    @property
    def done(self) -> bool:
        return self._state is _State.DONE

    def took(self, data: memoryview) -> None:
        """Data bytes of the current chunk, in order, at most `remaining`."""
        count = len(data)
        assert count <= self.remaining
        self.remaining -= count
        if self._signed:
            self._hash.update(data)
        if not self.remaining:
            if self._signed:
                self._verify_chunk(self._hash.hexdigest().encode("ascii"))
                self._hash = hashlib.sha256()
            self._state = _State.DATA_END

    def feed(self, data: bytes) -> int:
        """Eats framing and returns how many bytes of `data` it was."""
        at = 0
        while at < len(data) and not self.remaining and not self.done:
            stop = data.find(b"\n", at, at + LINE_BYTES_MAX) + 1
            piece = data[at : stop or len(data)]
            at += len(piece)
            self._line += piece
            if len(self._line) > LINE_BYTES_MAX:
                raise S3Error("InvalidRequest", "A line of the chunked body is too long.")
            if stop:
                line, self._line = self._line, b""
                if line[-2:] == b"\r\n":
                    self._take_line(line[:-2])
                elif self._state is _State.TRAILER and len(line) > 1 and not self._half_ended:
                    self._take_trailer(line[:-1])
                    self._half_ended = True
                else:
                    raise S3Error("InvalidRequest", "A line of the chunked body does not end with CR LF.")
        return at

    def end(self) -> None:
        """The outer body has ended. Raises: BodyIncomplete when this one has not."""
        if not self.done:
            raise BodyIncomplete("the chunked body ended before its last chunk")

    def _take_line(self, line: bytes) -> None:
        if self._state is _State.DATA_END:
            if line:
                raise S3Error("IncompleteBody", "A chunk is longer than its size says.")
            self._state = _State.SIZE
        elif self._state is _State.SIZE:
            self._take_size(line)
        elif line:
            self._take_trailer(line)
        elif self._half_ended:
            self._half_ended = False
        else:
            self._finish()

    def _take_size(self, line: bytes) -> None:
        match = _SIZE_LINE.fullmatch(line)
        if match is None or bool(match[2]) != self._signed:
            raise S3Error("InvalidRequest", "A chunk's size line is malformed.")
        size = int(match[1], 16)
        self._signature = match[2] or b""
        if size > self._left:
            raise S3Error("IncompleteBody", "The chunks hold more bytes than x-amz-decoded-content-length says.")
        self._left -= size
        if size:
            if size < CHUNK_BYTES_SMALL and self._left:
                self._small += 1
                if self._small > CHUNKS_SMALL_MAX:
                    raise S3Error("InvalidRequest", f"More than {CHUNKS_SMALL_MAX} chunks are smaller than {CHUNK_BYTES_SMALL} bytes.")
            self.remaining = size
            self._state = _State.DATA
            return
        if self._left:
            raise S3Error("IncompleteBody", "The chunks hold fewer bytes than x-amz-decoded-content-length says.")
        if self._signed:
            self._verify_chunk(EMPTY_SHA256)
        self._state = _State.TRAILER

    def _take_trailer(self, line: bytes) -> None:
        match = _TRAILER.fullmatch(line)
        if match is None or not self._trailing:
            raise S3Error("InvalidRequest", "The chunked body has a malformed trailer.")
        name, value = match[1].lower(), match[2]
        if len(self._trailer_lines) >= TRAILERS_MAX or name.decode("ascii") in self.trailers:
            raise S3Error("InvalidRequest", "The chunked body has too many trailers.")
        if _SIGNATURE_TRAILER.decode("ascii") in self.trailers:
            raise S3Error("InvalidRequest", "A trailer follows the trailers' signature.")
        self.trailers[name.decode("ascii")] = value.decode("ascii")
        if name != _SIGNATURE_TRAILER:
            self._trailer_lines.append(b"%b:%b\n" % (name, value))

    def _finish(self) -> None:
        given = self.trailers.pop(_SIGNATURE_TRAILER.decode("ascii"), None)
        if self._signed and self._trailing:
            digest = hashlib.sha256(b"".join(self._trailer_lines)).hexdigest().encode("ascii")
            parts = (b"AWS4-HMAC-SHA256-TRAILER", self._seed.timestamp, self._seed.scope, self._previous, digest)
            if given is None or not self._matches(parts, given.encode("ascii")):
                raise S3Error("SignatureDoesNotMatch", "The signature of the trailers does not match.")
        self._state = _State.DONE

    def _verify_chunk(self, digest: bytes) -> None:
        parts = (b"AWS4-HMAC-SHA256-PAYLOAD", self._seed.timestamp, self._seed.scope, self._previous, EMPTY_SHA256, digest)
        if not self._matches(parts, self._signature):
            raise S3Error("SignatureDoesNotMatch", "The signature of a chunk does not match.")
        self._previous = self._signature

    def _matches(self, parts: tuple[bytes, ...], given: bytes) -> bool:
        return hmac.compare_digest(self._seed.key.sign(b"\n".join(parts)).hex().encode("ascii"), given)
