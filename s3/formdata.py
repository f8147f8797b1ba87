"""multipart/form-data as browsers send it. Sans-IO: fields are read from bytes as they come, the file's end is searched in the caller's.

Source: RFC 7578, RFC 2046 5.1.1; https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTForms.html
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from s3.errors import S3Error

FIELDS_BYTES_MAX = 20 << 10
"""All that comes before the file, as AWS has it, and all that comes after it."""
FIELDS_MAX = 100
FILE_FIELD = "file"
_BOUNDARY = re.compile(
    rb"multipart/form-data[ \t]*;(?:[^\"]*;)?[ \t]*boundary=(?:\"([^\"\\\x00-\x1f]{1,70})\"|([^\s\";,]{1,70}))[ \t]*(?:;.*)?", re.IGNORECASE
)
_PARAMETER = re.compile(r"[ \t]*;[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*=[ \t]*(?:\"((?:[^\"\\\r\n]|\\.)*)\"|([^\s\";]*))")
_AFTER_DELIMITER = re.compile(rb"[ \t]*\r\n")
_PLAIN_ENCODINGS = ("7bit", "8bit", "binary")


def malformed() -> S3Error:
    return S3Error("MalformedPOSTRequest")


def boundary_of(content_type: bytes) -> bytes:
    """What separates the parts. Raises: PreconditionFailed when it is no such form, MalformedPOSTRequest."""
    if not content_type.lower().startswith(b"multipart/form-data"):
        wanted = "Bucket POST must be of the enclosure-type multipart/form-data"
        raise S3Error("PreconditionFailed", Condition=wanted)
    match = _BOUNDARY.fullmatch(content_type.strip())
    if match is None:
        raise malformed()
    return match[1] or match[2]


class FieldReader:
    """Theory of operation: parts are taken one after the other until the one called "file" begins (`file`: then `rest` is its first
    bytes) or the closing boundary is there (`closed`). What `feed` was given and is no whole part yet is kept, FIELDS_BYTES_MAX at most.

    fields    by lower-case name
    filename  of the file, without folders
    Raises: S3Error MalformedPOSTRequest, MaxPostPreDataLengthExceededError, InvalidArgument.
    """

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._data = b"\r\n"  # so the first boundary looks like every other
        self._taken = 0
        self._begun = False
        self.fields: dict[str, str] = {}
        self.filename = ""
        self.file = False
        self.closed = False
        self.rest = b""

    def __repr__(self) -> str:
        state = "file" if self.file else "closed" if self.closed else "fields"
        return f"<FieldReader {state} fields={len(self.fields)}>"

    @property
    def done(self) -> bool:
        return self.file or self.closed

    def feed(self, data: bytes) -> None:
        self._data += data
        if not self._begun and not self._begin():
            return
        while not self.done and self._take_part():
            pass
        if self._taken + (0 if self.done else len(self._data)) > FIELDS_BYTES_MAX:
            raise S3Error("MaxPostPreDataLengthExceededError")

    def _begin(self) -> bool:
        """Whether the first boundary is there; nothing but a line's end may stand before it."""
        if len(self._data) < len(self._delimiter) + 2:
            return False
        if self._data.startswith(b"\r\n\r\n"):
            self._data = self._data[2:]
        if not self._data.startswith(self._delimiter):
            raise malformed()
        self._begun = True
        return True

    def _take_part(self) -> bool:
        """Takes what stands at the beginning: a boundary and the part after it, when all of it is there."""
        data = self._data
        at = len(self._delimiter)
        if data[at : at + 2] == b"--":
            self.closed = True
            self._keep(at + 2)
            return True
        start = _AFTER_DELIMITER.match(data, at)
        if start is None:
            if len(data) > at + 2:
                raise malformed()
            return False
        head_end = data.find(b"\r\n\r\n", start.end())
        if head_end < 0:
            return False
        name, filename = _read_head(data[start.end() : head_end])
        if name == FILE_FIELD:
            self.file = True
            self.filename = filename
            self._keep(head_end + 4)
            self.rest, self._data = self._data, b""
            return True
        end = data.find(self._delimiter, head_end + 2)
        if end < 0:
            return False
        self._add(name, data[head_end + 4 : end])
        self._keep(end)
        return True

    def _keep(self, at: int) -> None:
        self._taken += at
        self._data = self._data[at:]

    def _add(self, name: str, value: bytes) -> None:
        if name in self.fields:
            raise S3Error("InvalidArgument", "A form field must be there once.", ArgumentName=name)
        if len(self.fields) >= FIELDS_MAX:
            raise S3Error("MaxPostPreDataLengthExceededError")
        try:
            self.fields[name] = value.decode()
        except UnicodeDecodeError as error:
            raise S3Error("InvalidArgument", "A form field is not valid UTF-8.", ArgumentName=name) from error


def _read_head(head: bytes) -> tuple[str, str]:
    """A part's name in lower case and its file name, from its header lines."""
    disposition = ""
    for line in head.split(b"\r\n"):
        name, mark, value = line.partition(b":")
        if not mark:
            raise malformed()
        name = name.strip().lower()
        if name == b"content-disposition":
            if disposition:
                raise malformed()
            disposition = value.decode("utf-8", "replace").strip()
        elif name == b"content-transfer-encoding" and value.strip().lower().decode("latin-1") not in _PLAIN_ENCODINGS:
            raise malformed()
    parameters = _parameters(disposition)
    if "name" not in parameters:
        raise malformed()
    return parameters["name"].lower(), _base_name(parameters)


def _parameters(disposition: str) -> dict[str, str]:
    kind, _, _ = disposition.partition(";")
    if kind.strip().lower() != "form-data":
        raise malformed()
    found: dict[str, str] = {}
    at = len(kind)
    while at < len(disposition):
        match = _PARAMETER.match(disposition, at)
        if match is None or match[1].lower() in found:
            raise malformed()
        value = match[2].replace('\\"', '"') if match[2] is not None else match[3]
        found[match[1].lower()] = value
        at = match.end()
    return found


def _base_name(parameters: dict[str, str]) -> str:
    """The file's name after the last slash or backslash: some browsers send a path."""
    name = parameters.get("filename", "")
    extended = parameters.get("filename*", "")
    if extended.lower().startswith("utf-8''"):
        name = unquote(extended[7:])
    return re.split(r"[/\\]", name)[-1]


class EndFinder:
    """Finds where the file ends in bytes that come piece by piece."""

    __slots__ = ("_delimiter",)

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary

    @property
    def length(self) -> int:
        return len(self._delimiter)

    def find(self, data: bytes) -> tuple[int, bool]:
        """How many of the first bytes are surely the file's, and whether the delimiter comes right after them."""
        at = data.find(self._delimiter)
        if at >= 0:
            return at, True
        at = data.find(b"\r", max(0, len(data) - len(self._delimiter) + 1))
        while at >= 0:
            if self._delimiter.startswith(data[at:]):
                return at, False
            at = data.find(b"\r", at + 1)
        return len(data), False


def check_rest(boundary: bytes, rest: bytes) -> None:
    """What follows the file, from its delimiter on, to the end of the body: other parts are ignored, as AWS does.

    Raises: IncorrectNumberOfFilesInPostRequest, MalformedPOSTRequest, MaxPostPreDataLengthExceededError.
    """
    reader = FieldReader(boundary)
    reader.feed(rest.removeprefix(b"\r\n"))
    if reader.file:
        raise S3Error("IncorrectNumberOfFilesInPostRequest")
    if not reader.closed:
        raise malformed()
