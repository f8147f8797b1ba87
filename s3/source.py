"""The incoming bytes of one PUT as the store takes them: length, what to compute over them, and the verdict at the end."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from typing import Protocol

from node.errors import BodyIncomplete, BodyTooLarge
from s3 import checksum
from s3.call import Call
from s3.chunked import ChunkedDecoder
from s3.errors import S3Error, invalid_argument
from s3.payload import Payload, check_content, payload_of
from s3.xml import DOCUMENT_BYTES_MAX, Element, XmlRefused, parse

OBJECT_BYTES_MAX = 5 << 30
"""Largest single PUT and largest part."""
FRAMING_BYTES = 4 << 10
"""How much is read at once where a chunk's size line is expected; what of it is data is copied, the rest of the chunk is not."""
_CHECKSUM_PREFIX = b"x-amz-checksum-"
_NO_CHECKSUM = frozenset((b"x-amz-checksum-algorithm", b"x-amz-checksum-type", b"x-amz-checksum-mode"))
_DIGITS = re.compile(rb"[0-9]{1,18}")


class Expected:
    """What the request says its body will be."""

    __slots__ = ("algorithm", "content_md5", "content_sha256", "trailer", "value")

    def __init__(self, call: Call, *, of_body: bool = True) -> None:
        """of_body: x-amz-checksum-* headers speak of the body (at the completion of an upload they speak of the object).

        Raises: S3Error for values that can't be right whatever the body is.
        """
        self.content_md5 = _content_md5(call.header(b"content-md5"))
        content, payload = _content(call)
        self.content_sha256 = bytes.fromhex(content.decode("ascii")) if payload is Payload.SHA256 else None
        self.algorithm, self.value = _checksum_header(call) if of_body else ("", None)
        self.trailer = ""
        announced = call.header(b"x-amz-trailer")
        if announced is not None:
            algorithm = checksum.HEADERS.get(announced.strip().lower())
            if algorithm is None or self.algorithm:
                raise S3Error("InvalidRequest", "The value specified in the x-amz-trailer header is not supported")
            self.trailer = announced.strip().lower().decode("ascii")
            self.algorithm = algorithm
        named = call.request.headers.get(b"x-amz-sdk-checksum-algorithm")  # as a parameter it is what an SDK would do by itself
        if named is not None:
            wanted = checksum.parse_algorithm(named.decode("latin-1"))
            if not self.algorithm:
                raise S3Error(
                    "InvalidRequest",
                    "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.",
                )
            if wanted != self.algorithm:
                raise S3Error("InvalidRequest", "Value for x-amz-sdk-checksum-algorithm header is invalid.")

    @property
    def has_checksum(self) -> bool:
        return bool(self.content_md5 or self.algorithm)

    def verify(self, digests: dict[str, bytes], trailers: dict[str, str]) -> None:
        """Raises: S3Error BadDigest, XAmzContentSHA256Mismatch, MalformedTrailerError."""
        if self.content_sha256 is not None and not hmac.compare_digest(self.content_sha256, digests["sha256"]):
            raise S3Error(
                "XAmzContentSHA256Mismatch",
                ClientComputedContentSHA256=self.content_sha256.hex(),
                S3ComputedContentSHA256=digests["sha256"].hex(),
            )
        if self.content_md5 is not None and not hmac.compare_digest(self.content_md5, digests["md5"]):
            raise S3Error("BadDigest", ExpectedDigest=checksum.encode(self.content_md5), CalculatedDigest=checksum.encode(digests["md5"]))
        value = self.value
        if self.trailer:
            if list(trailers) != [self.trailer]:
                raise S3Error("MalformedTrailerError")
            value = _checksum_value(self.algorithm, trailers[self.trailer])
        elif trailers:  # what was not announced was not computed, so it can't be verified
            raise S3Error("MalformedTrailerError")
        if value is not None and not hmac.compare_digest(value, digests[self.algorithm]):
            raise S3Error("BadDigest", f"The {self.algorithm.upper()} you specified did not match the calculated checksum.")


def _content(call: Call) -> tuple[bytes, Payload]:
    """What the request says of its payload, as it was signed or, when nobody signed it with version 4, as it stands there.

    Raises: InvalidArgument.
    """
    claim = call.signed.claim
    if claim is not None:
        return claim.content, claim.payload
    content = call.header(b"x-amz-content-sha256") or Payload.UNSIGNED.value
    check_content(content)
    return content, payload_of(content)


def _content_md5(header: bytes | None) -> bytes | None:
    if header is None:
        return None
    try:
        digest = base64.b64decode(header, validate=True)
    except binascii.Error as error:
        raise S3Error("InvalidDigest") from error
    if len(digest) != 16:
        raise S3Error("InvalidDigest")
    return digest


def _checksum_value(algorithm: str, text: str) -> bytes:
    try:
        return checksum.parse_value(algorithm, text)
    except ValueError as error:
        raise S3Error("InvalidRequest", f"Value for x-amz-checksum-{algorithm} header is invalid.") from error


def _checksum_header(call: Call) -> tuple[str, bytes | None]:
    found: tuple[str, bytes | None] = ("", None)
    for name, value in call.items:
        if name.startswith(_CHECKSUM_PREFIX) and name not in _NO_CHECKSUM:
            algorithm = checksum.parse_algorithm(name[len(_CHECKSUM_PREFIX) :].decode("latin-1"))
            if found[0]:
                raise S3Error("InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
            found = (algorithm, _checksum_value(algorithm, value.decode("latin-1")))
    return found


class Readable(Protocol):
    """What bytes are read from: a Body, or the file of a form."""

    async def read_into(self, buffer: memoryview) -> int: ...

    async def fill(self, buffer: memoryview) -> int: ...


class BodySource:
    """A store.Source over a request's body.

    algorithm  of the checksum that is kept: what the client sent, else (or `always`) `keep`, "" for none
    """

    __slots__ = ("_body", "_decoder", "_expected", "_taken", "algorithm", "digests", "length")

    def __init__(
        self, body: Readable, expected: Expected, *, length: int | None, decoder: ChunkedDecoder | None, keep: str, always: bool = False
    ) -> None:
        self._body = body
        self._decoder = decoder
        self._expected = expected
        self.algorithm = keep if always else expected.algorithm or keep
        self._taken = 0
        self.length = length
        wanted = set() if expected.content_md5 is None else {"md5"}
        if expected.content_sha256 is not None:
            wanted.add("sha256")
        wanted |= {self.algorithm, expected.algorithm} - {""}
        self.digests = frozenset(wanted)

    @property
    def announced(self) -> bool:
        """Whether the request names a checksum of its body."""
        return self._expected.has_checksum

    async def fill(self, buffer: memoryview) -> int:
        """Fills the buffer unless the end comes first. Raises: S3Error, BodyIncomplete, BodyTooLarge, BodyTooSlow."""
        decoder = self._decoder
        if decoder is None:
            count = await self._body.fill(buffer)
            self._taken += count
            if self._taken > OBJECT_BYTES_MAX:
                raise BodyTooLarge(f"an upload may have {OBJECT_BYTES_MAX} bytes")
            if count < len(buffer) and self.length is not None and self._taken != self.length:
                raise BodyIncomplete(f"the body has {self._taken} bytes, {self.length} were announced")
            return count
        filled = 0
        while filled < len(buffer) and not decoder.done:
            if decoder.remaining:
                piece = buffer[filled : filled + decoder.remaining]
                count = await self._body.fill(piece)
                decoder.took(piece[:count])
                filled += count
                if count < len(piece):
                    decoder.end()
            else:
                filled += await self._read_framing(decoder, buffer[filled:])
        if filled < len(buffer) or self._taken + filled == self.length:
            await self._read_end(decoder)
        self._taken += filled
        return filled

    async def _read_framing(self, decoder: ChunkedDecoder, buffer: memoryview) -> int:
        """One read where a size line is expected. It asks for no more than the rest of the line's chunk could be copied to `buffer`."""
        scratch = bytearray(min(FRAMING_BYTES, max(len(buffer), 1)))
        count = await self._body.read_into(memoryview(scratch))
        if not count:
            decoder.end()
        data = bytes(scratch[:count])
        at = placed = 0
        while at < count and not decoder.done:
            if decoder.remaining:
                piece = data[at : at + decoder.remaining]
                buffer[placed : placed + len(piece)] = piece
                decoder.took(memoryview(piece))
                placed += len(piece)
                at += len(piece)
            else:
                at += decoder.feed(data[at:])
        if at < count:
            raise S3Error("InvalidRequest", "Bytes follow the end of the chunked body.")
        return placed

    async def _read_end(self, decoder: ChunkedDecoder) -> None:
        """The last size line, the trailers and the end of the outer body, so that the verdict is there when the last data byte is."""
        nowhere = memoryview(bytearray(FRAMING_BYTES))
        while not decoder.done:
            if decoder.remaining:
                raise S3Error("IncompleteBody", "The chunks hold more bytes than x-amz-decoded-content-length says.")
            await self._read_framing(decoder, nowhere)
        if await self._body.read_into(nowhere):
            raise S3Error("InvalidRequest", "Bytes follow the end of the chunked body.")

    def complete(self, digests: dict[str, bytes]) -> dict[str, str]:
        """Called once after the last byte, before anything is committed. Returns the checksum to keep with the object."""
        if self._decoder is not None:
            self._decoder.end()
        self._expected.verify(digests, self._decoder.trailers if self._decoder is not None else {})
        return {self.algorithm: checksum.encode(digests[self.algorithm])} if self.algorithm else {}


def source_of(call: Call, *, keep: str = checksum.DEFAULT_ALGORITHM, always: bool = False, of_body: bool = True) -> BodySource:
    """The body of a PUT. Everything that can be refused by the headers alone is refused here, before the body is asked for.

    Raises: S3Error MissingContentLength, EntityTooLarge, InvalidDigest, InvalidRequest.
    """
    request = call.request
    expected = Expected(call, of_body=of_body)
    _, payload = _content(call)
    length = request.content_length
    if length is None and not request.chunked:
        raise S3Error("MissingContentLength")
    decoder = None
    if payload in (Payload.STREAMING, Payload.STREAMING_TRAILER, Payload.STREAMING_UNSIGNED_TRAILER):
        length = _decoded_length(call)
        if expected.trailer and payload is Payload.STREAMING:
            raise S3Error("InvalidRequest", "The value specified in the x-amz-trailer header is not supported")
        decoder = ChunkedDecoder(payload, call.signed.seed, decoded_length=length)
    elif expected.trailer:
        raise S3Error("InvalidRequest", "x-amz-trailer needs a chunked body.")
    if length is not None and length > OBJECT_BYTES_MAX:
        raise S3Error("EntityTooLarge", ProposedSize=str(length), MaxSizeAllowed=str(OBJECT_BYTES_MAX))
    return BodySource(request.body, expected, length=length, decoder=decoder, keep=keep, always=always)


def _decoded_length(call: Call) -> int:
    header = call.header(b"x-amz-decoded-content-length")
    if header is None:
        raise S3Error("MissingContentLength")
    if not _DIGITS.fullmatch(header):
        raise invalid_argument("The decoded length is not a number.", "x-amz-decoded-content-length", header.decode("latin-1"))
    return int(header)


async def read_body(
    call: Call, most: int, *, checksum_required: bool = False, of_body: bool = True, too_large: S3Error | None = None
) -> bytes:
    """A whole body of at most `most` bytes, verified as the headers say. too_large: what to raise instead of MaxMessageLengthExceeded.

    Raises: S3Error MaxMessageLengthExceeded, InvalidRequest, BadDigest.
    """
    source = source_of(call, keep="", of_body=of_body)
    if checksum_required and not source.announced:
        raise S3Error("InvalidRequest", "Missing required header for this request: Content-MD5 OR x-amz-checksum-*")
    refusal = too_large or S3Error("MaxMessageLengthExceeded", MaxMessageLengthBytes=str(most))
    if source.length is not None and source.length > most:
        raise refusal
    buffer = bytearray((most if source.length is None else source.length) + 1)
    count = await source.fill(memoryview(buffer))
    if count > most:
        raise refusal
    data = bytes(memoryview(buffer)[:count])
    source.complete({name: checksum.digest_of(name, data) for name in source.digests})
    return data


async def read_document(call: Call, root: str, *, checksum_required: bool = False, empty: bool = False, of_body: bool = True) -> Element:
    """The XML body of a request, verified as the headers say. `empty`: no body gives {}. of_body: see Expected.

    Raises: S3Error MissingRequestBodyError, MalformedXML, MaxMessageLengthExceeded, InvalidRequest, BadDigest.
    """
    if call.document is not None:
        return call.document
    if not call.request.has_body:
        if empty:
            return {}
        raise S3Error("MissingRequestBodyError")
    data = await read_body(call, DOCUMENT_BYTES_MAX, checksum_required=checksum_required, of_body=of_body)
    if not data and empty:
        return {}
    try:
        return parse(data, root)
    except XmlRefused as error:
        raise S3Error("MalformedXML") from error
