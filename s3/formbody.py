"""The file of a POST form: everything between its fields and the delimiter that ends it, as the body of a PUT. Pure but for the reading."""

from __future__ import annotations

import msgspec

from node.http.body import Body
from s3 import postpolicy
from s3.errors import S3Error
from s3.formdata import FIELDS_BYTES_MAX, EndFinder, check_rest, malformed

READ_BYTES = 16 << 10
"""Read at once while fields are expected, and near the file's end."""
DIRECT_BYTES = 8 << 10
"""From this size on the file is received into the store's own buffer."""


class FormBody:
    """The file of a form, read once and in order, as a Body is. Its end is known when it comes; then the rest of the form is read, too."""

    def __init__(self, body: Body, boundary: bytes, held: bytes) -> None:
        """held: bytes of the file that came with the fields."""
        self._body = body
        self._boundary = boundary
        self._finder = EndFinder(boundary)
        self._held = held
        self._count = 0
        self._bytes_min = 0
        self._bytes_max: int | None = None
        self.ended = False

    def __repr__(self) -> str:
        return f"<FormBody {'ended' if self.ended else 'open'} bytes={self._count}>"

    def limit(self, policy: postpolicy.Policy) -> None:
        self._bytes_min, self._bytes_max = policy.bytes_min, policy.bytes_max

    async def read_into(self, buffer: memoryview) -> int:
        """At least one byte into `buffer`; 0 at the end. Raises: S3Error EntityTooLarge, EntityTooSmall, MalformedPOSTRequest."""
        while not self.ended and len(buffer):
            direct = len(buffer) >= DIRECT_BYTES and len(self._held) < self._finder.length
            count = await (self._direct(buffer) if direct else self._copied(buffer))
            self._count += count
            if self._bytes_max is not None and self._count > self._bytes_max:
                raise S3Error("EntityTooLarge", ProposedSize=str(self._count), MaxSizeAllowed=str(self._bytes_max))
            if self.ended:
                await self._read_rest()
            if count:
                return count
        return 0

    async def fill(self, buffer: memoryview) -> int:
        filled = 0
        while filled < len(buffer) and not self.ended:
            filled += await self.read_into(buffer[filled:])
        return filled

    async def _direct(self, buffer: memoryview) -> int:
        """Received into the caller's buffer; what may belong to the delimiter is taken back out of it."""
        held = len(self._held)
        buffer[:held] = self._held
        data = bytes(buffer[: held + await self._receive(buffer[held:])])
        sure, self.ended = self._finder.find(data)
        self._held = data[sure:]
        return sure

    async def _copied(self, buffer: memoryview) -> int:
        """For small buffers, and while bytes are held that came with the fields: received beside the buffer."""
        sure, ended = self._finder.find(self._held)
        while not sure and not ended:
            piece = bytearray(READ_BYTES)
            count = await self._receive(memoryview(piece))
            self._held += piece[:count]
            sure, ended = self._finder.find(self._held)
        count = min(sure, len(buffer))
        buffer[:count] = self._held[:count]
        self._held = self._held[count:]
        self.ended = ended and count == sure
        return count

    async def _receive(self, buffer: memoryview) -> int:
        count = await self._body.read_into(buffer)
        if not count:
            raise malformed()
        return count

    async def _read_rest(self) -> None:
        """From the delimiter on, so that the form is known to be whole before its file counts."""
        if self._count < self._bytes_min:
            raise S3Error("EntityTooSmall", ProposedSize=str(self._count), MinSizeAllowed=str(self._bytes_min))
        piece = memoryview(bytearray(READ_BYTES))
        while len(self._held) <= 2 * FIELDS_BYTES_MAX and (count := await self._body.read_into(piece)):
            self._held += piece[:count]
        if len(self._held) > 2 * FIELDS_BYTES_MAX:
            raise S3Error("MaxPostPreDataLengthExceededError")
        check_rest(self._boundary, self._held)
        self._held = b""


class Form(msgspec.Struct, frozen=True):
    """fields: by lower-case name, with the file's name where they asked for it."""

    fields: dict[str, str]
    body: FormBody
