"""Forms in pieces: the same fields and the same file however the bytes come, and nothing that is no form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3.errors import S3Error
from s3.formbody import FormBody
from s3.formdata import FIELDS_BYTES_MAX, FIELDS_MAX, FieldReader, boundary_of
from s3.postpolicy import Policy
from tests.support.form import BOUNDARY, CONTENT_TYPE, encode
from tests.unit.s3.test_source import FakeBody

NAMES = st.text(st.characters(codec="ascii", categories=["Ll", "Nd"]), min_size=1, max_size=10).filter(lambda name: name != "file")
VALUES = st.text(st.characters(codec="utf-8"), max_size=30).filter(lambda text: BOUNDARY.decode() not in text)
TRICKS = [b"\r\n", b"\r", b"\n", b"--", BOUNDARY, b"\r\n--", b"\r\n--" + BOUNDARY[:-1], b"--" + BOUNDARY, b"x" * 9_000]
FILES = st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(TRICKS), max_size=12).map(b"".join)).filter(
    lambda data: b"\r\n--" + BOUNDARY not in b"\r\n" + data
)
CUTS = st.lists(st.integers(1, 9_000), max_size=40)


def read_fields(data: bytes, sizes: list[int]) -> FieldReader:
    reader = FieldReader(BOUNDARY)
    sizes = list(sizes)
    while data and not reader.done:
        size = sizes.pop() if sizes else len(data)
        reader.feed(data[:size])
        data = data[size:]
    reader.rest += data
    return reader


async def read_file(
    data: bytes, *, held: bytes = b"", pieces: list[int] | None = None, buffer_bytes: int = 64 << 10, limit: int | None = None
) -> bytes:
    body = FormBody(FakeBody(data, pieces or []), BOUNDARY, held)  # type: ignore[arg-type]
    body.limit(Policy(0, (), 0, limit))
    found = b""
    while True:
        buffer = bytearray(buffer_bytes)
        count = await body.fill(memoryview(buffer))
        found += buffer[:count]
        if count < buffer_bytes:
            return found


@given(st.dictionaries(NAMES, VALUES, max_size=5), FILES, CUTS)
def test_any_cut_gives_the_same_fields(fields: dict[str, str], file: bytes, sizes: list[int]) -> None:
    reader = read_fields(encode(fields.items(), file, "a/b\\näme.txt"), sizes)
    assert reader.fields == fields
    assert reader.filename == "näme.txt"
    assert reader.rest.startswith(file + b"\r\n--" + BOUNDARY)


@given(FILES, CUTS, st.sampled_from([1, 7, 100, 8_191, 8_192, 9_000, 70_000]), st.integers(0, 200))
async def test_any_cut_gives_the_same_file(file: bytes, sizes: list[int], buffer_bytes: int, held: int) -> None:
    data = file + b"\r\n--" + BOUNDARY + b"--\r\n"
    assert await read_file(data[held:], held=data[:held], pieces=sizes, buffer_bytes=buffer_bytes) == file


@given(FILES, st.integers(1, 60))
async def test_a_form_that_is_cut_off_is_refused(file: bytes, missing: int) -> None:
    data = file + b"\r\n--" + BOUNDARY + b"--"
    with pytest.raises(S3Error, match="MalformedPOSTRequest"):
        await read_file(data[: max(0, len(data) - missing)])


async def test_a_file_is_refused_with_the_first_byte_too_many() -> None:
    with pytest.raises(S3Error, match="EntityTooLarge"):
        await read_file(b"x" * 1_000_000, limit=100, buffer_bytes=101)


async def test_what_follows_the_file_is_ignored_unless_it_is_another_file() -> None:
    more = b'\r\nContent-Disposition: form-data; name="submit"\r\n\r\nUpload\r\n--' + BOUNDARY + b"--\r\n"
    assert await read_file(b"data\r\n--" + BOUNDARY + more) == b"data"
    second = more.replace(b'"submit"', b'"File"; filename="x"')
    with pytest.raises(S3Error, match="IncorrectNumberOfFilesInPostRequest"):
        await read_file(b"data\r\n--" + BOUNDARY + second)
    with pytest.raises(S3Error, match="MaxPostPreDataLengthExceededError"):
        await read_file(b"data\r\n--" + BOUNDARY + more + b"x" * 3 * FIELDS_BYTES_MAX)


HEAD = b"--" + BOUNDARY + b"\r\n"
REFUSED: dict[str, tuple[bytes, str]] = {
    "another boundary": (b"--other\r\n" + b" " * 100, "MalformedPOSTRequest"),
    "text before the first boundary": (b"preamble\r\n" + HEAD * 3, "MalformedPOSTRequest"),
    "no disposition": (HEAD + b"Content-Type: a/b\r\n\r\nvalue\r\n" + HEAD, "MalformedPOSTRequest"),
    "another disposition": (HEAD + b'Content-Disposition: attachment; name="a"\r\n\r\nvalue\r\n' + HEAD, "MalformedPOSTRequest"),
    "no name": (HEAD + b"Content-Disposition: form-data\r\n\r\nvalue\r\n" + HEAD, "MalformedPOSTRequest"),
    "two names": (HEAD + b'Content-Disposition: form-data; name="a"; name="key"\r\n\r\nvalue\r\n' + HEAD, "MalformedPOSTRequest"),
    "two dispositions": (
        HEAD + b'Content-Disposition: form-data; name="a"\r\nContent-Disposition: form-data; name="b"\r\n\r\nv\r\n' + HEAD,
        "MalformedPOSTRequest",
    ),
    "open quote": (HEAD + b'Content-Disposition: form-data; name="a\r\n\r\nvalue\r\n' + HEAD, "MalformedPOSTRequest"),
    "base64": (
        HEAD + b'Content-Disposition: form-data; name="a"\r\nContent-Transfer-Encoding: base64\r\n\r\nYQ==\r\n' + HEAD,
        "MalformedPOSTRequest",
    ),
    "a field twice": (encode([("key", "a"), ("KEY", "b")], b""), "InvalidArgument"),
    "not UTF-8": (encode([("key", "a")], b"").replace(b"\r\na\r\n", b"\r\n\xff\r\n"), "InvalidArgument"),
    "long field": (encode([("key", "a" * FIELDS_BYTES_MAX)], b""), "MaxPostPreDataLengthExceededError"),
    "a field without end": (
        HEAD + b'Content-Disposition: form-data; name="a"\r\n\r\n' + b"x" * 50_000,
        "MaxPostPreDataLengthExceededError",
    ),
    "a head without end": (HEAD + b"a: b\r\n" * 10_000, "MaxPostPreDataLengthExceededError"),
    "many fields": (encode([(f"f{n}", "") for n in range(FIELDS_MAX + 1)], b""), "MaxPostPreDataLengthExceededError"),
}


@pytest.mark.parametrize(("data", "code"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("size", [1, 1_000, 1_000_000])
def test_what_is_no_form_is_refused(data: bytes, code: str, size: int) -> None:
    with pytest.raises(S3Error) as caught:
        read_fields(data, [size] * (len(data) // size))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        (CONTENT_TYPE, BOUNDARY),
        (b'Multipart/Form-Data; boundary="a b"', b"a b"),
        (b"multipart/form-data; charset=utf-8; boundary=x", b"x"),
        (b"multipart/form-data;boundary=x; charset=utf-8", b"x"),
    ],
)
def test_boundaries_are_read(content_type: bytes, boundary: bytes) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    ("content_type", "code"),
    [
        (b"", "PreconditionFailed"),
        (b"application/x-www-form-urlencoded", "PreconditionFailed"),
        (b"multipart/form-data", "MalformedPOSTRequest"),
        (b"multipart/form-data; boundary=", "MalformedPOSTRequest"),
        (b"multipart/form-data; boundary=" + b"x" * 71, "MalformedPOSTRequest"),
    ],
)
def test_other_types_are_refused(content_type: bytes, code: str) -> None:
    with pytest.raises(S3Error) as caught:
        boundary_of(content_type)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("disposition", "filename"),
    [
        ('name="file"; filename="C:\\dir\\a.txt"', "a.txt"),
        ('name="file"; filename="a \\"b\\".txt"', 'a "b".txt'),
        ("name=file; filename=a.txt", "a.txt"),
        ("name=file; filename*=utf-8''%C3%BC.txt", "ü.txt"),
        ('name="file"', ""),
        ('name="FILE"; filename="../../etc/passwd"', "passwd"),
    ],
)
def test_file_names_lose_their_folders(disposition: str, filename: str) -> None:
    reader = FieldReader(BOUNDARY)
    reader.feed(HEAD + f"content-disposition:form-data; {disposition}\r\n\r\n".encode())
    assert (reader.file, reader.filename) == (True, filename)
