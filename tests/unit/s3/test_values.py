"""The small pure parts: targets, names, ranges, versions, tokens, checksums, texts."""

from __future__ import annotations

import binascii

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3 import checksum, target
from s3.attributes import decode_text, encode_text
from s3.byterange import parse_copy_range, parse_range
from s3.condition import parse_etags
from s3.errors import CODES, S3Error, error_document
from s3.moment import http_date, iso_date
from s3.tags import check_tags
from s3.target import bucket_of_host, decode_key, is_bucket_name, split_path
from s3.token import decode_token, encode_token
from s3.version import encode_version, parse_version


@pytest.mark.parametrize(
    ("host", "bucket"),
    [
        (b"localhost", ""),
        (b"localhost:80", ""),
        (b"a.localhost:80", "a"),
        (b"A.B.LocalHost.", "a.b"),
        (b".localhost", ""),
        (b"alocalhost", ""),
        (b"127.0.0.1:1", ""),
        (b"[::1]:80", ""),
        (b"a.s3.example.com", "a"),
        (b"s3.example.com", ""),
        (b"", ""),
        (b"\xff.localhost", "\xff"),
    ],
)
def test_hosts_name_buckets(host: bytes, bucket: str) -> None:
    assert bucket_of_host(host, ("localhost", "s3.example.com")) == bucket


@pytest.mark.parametrize(
    ("path", "host", "expected"),
    [
        (b"/", b"x", ("", "")),
        (b"/b", b"x", ("b", "")),
        (b"/b/", b"x", ("b", "")),
        (b"/b//", b"x", ("b", "/")),
        (b"/b/../c", b"x", ("b", "../c")),
        (b"/b/k", b"c.localhost", ("c", "b/k")),
        (b"/", b"c.localhost", ("c", "")),
    ],
)
def test_paths_are_split_and_not_tidied(path: bytes, host: bytes, expected: tuple[str, str]) -> None:
    assert split_path(path, host, ("localhost",)) == expected


def test_long_names_are_not_remembered() -> None:
    hosts, names = target._remembered_below.cache_info().currsize, target._follows_rules.cache_info().currsize
    assert bucket_of_host(b"a" * target.HOST_BYTES_MAX + b".localhost", ("localhost",)) == "a" * target.HOST_BYTES_MAX
    assert not is_bucket_name("a" * (target.BUCKET_CHARACTERS_MAX + 1))
    assert (target._remembered_below.cache_info().currsize, target._follows_rules.cache_info().currsize) == (hosts, names)


@pytest.mark.parametrize("key", [b"\xff", b"\xed\xa0\x80", b"\xc0\xae", b"a\0b", b"x" * 1025])
def test_impossible_keys_are_refused(key: bytes) -> None:
    with pytest.raises(S3Error):
        decode_key(key)


@pytest.mark.parametrize("name", ["abc", "a-b.c-d", "0" * 63, "a.b", "1.2.3"])
def test_bucket_names(name: str) -> None:
    assert is_bucket_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "ab", "A-b", "a_b", "a" * 64, "-abc", "abc-", ".abc", "abc.", "a..b", "a.-b", "a-.b", "1.2.3.4", "xn--abc", "abc-s3alias",
     "../..", "a/b", "abc\n", "ä"],
)  # fmt: skip
def test_no_bucket_names(name: str) -> None:
    assert not is_bucket_name(name)


@given(st.binary(max_size=40), st.integers(0, 1_000))
def test_a_range_is_within_the_object_or_refused(header: bytes, size: int) -> None:
    for prefix in (b"", b"bytes="):
        try:
            found = parse_range(prefix + header, size)
        except S3Error as error:
            assert error.status == 416
            continue
        if found is not None:
            assert 0 <= found[0] < found[1] <= size


@pytest.mark.parametrize("text", ["", "bytes=1-", "bytes=-1", "bytes=5-4", "bytes=0-10", "0-1"])
def test_copy_ranges_must_lie_within_the_source(text: str) -> None:
    with pytest.raises(S3Error):
        parse_copy_range(text, 10)


@given(st.integers(1, 2**63 - 1))
def test_versions_round_trip(version: int) -> None:
    assert parse_version(encode_version(version, null=False)) == version
    assert parse_version(encode_version(version, null=True)) == 0


@pytest.mark.parametrize("text", ["", "0" * 16, "f" * 16, "1", "NULL", "0x00000000000001", "../../../../etc/x", "١" * 16])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(S3Error):
        parse_version(text)


@given(st.text(st.characters(codec="utf-8")), st.text(), st.text())
def test_tokens_belong_to_their_listing(after: str, binding: str, other: str) -> None:
    token = encode_token(after, binding)
    assert decode_token(token, binding) == after
    if other != binding:
        with pytest.raises(S3Error):
            decode_token(token, other)


@given(st.text(max_size=60))
def test_any_text_is_no_token(text: str) -> None:
    with pytest.raises(S3Error):
        decode_token(text, "listing")


@pytest.mark.parametrize("algorithm", ["crc32", "crc32c", "crc64nvme"])
@given(data=st.lists(st.binary(max_size=50), max_size=6))
def test_checksums_of_parts_combine_to_that_of_the_whole(algorithm: str, data: list[bytes]) -> None:
    parts = [(checksum.digest_of(algorithm, piece), len(piece)) for piece in data]
    assert checksum.combine_full(algorithm, parts) == checksum.digest_of(algorithm, b"".join(data))


def test_checksums_are_the_known_ones() -> None:
    assert checksum.digest_of("crc32", b"123456789") == binascii.unhexlify("cbf43926")
    assert checksum.digest_of("crc32c", b"123456789") == binascii.unhexlify("e3069283")
    assert checksum.digest_of("crc64nvme", b"123456789") == binascii.unhexlify("ae8b14860a799888")


@pytest.mark.parametrize("text", ["", "AAAA", "AAAAAAA=", "AAAAAA==\n", "!!!!!!=="])
def test_malformed_checksums_are_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        checksum.parse_value("crc32", text)


@given(st.text(st.characters(codec="utf-8"), max_size=60).filter(lambda text: "=?" not in text))
def test_texts_survive_headers_and_can_not_break_out(text: str) -> None:
    encoded = encode_text(text)
    assert not set(b"\r\n\0") & set(encoded)
    assert decode_text(encoded) == text


@pytest.mark.parametrize(
    "value",
    [b"=?x?B?YQ==?=", b"=?UTF-8?B?!!!?=", b"=?", b"=?UTF-8?Q?=zz?=", b"=?UTF-8?B?YQ?=", b"\xff\xfe", b"=?utf-8?b?a?=",
     b"=?utf-7?q?+2AA-?=", b"=?\xc3\xa9?q?a?=", b"=?unicode_escape?q?\\ud800?="],
)  # fmt: skip
def test_malformed_words_of_mail_are_just_text(value: bytes) -> None:
    decode_text(value).encode()


def test_words_of_mail_are_decoded_in_charsets_of_mail_only() -> None:
    assert decode_text(b"=?UTF-8?B?w7xiZXI=?=") == decode_text(b"=?iso-8859-1?q?=FCber?=") == "\u00fcber"
    for value in (b"=?punycode?q?ber-goa?=", b"=?utf-7?q?+APw-ber?=", b"=?UTF-8?B?" + b"YWFh" * 1_000 + b"?="):
        assert decode_text(value) == value.decode()


@given(st.from_regex(rb"=\?[^?\r\n\0]{0,12}\?[bqBQ]\?[^\r\n\0]{0,20}\?=", fullmatch=True))
def test_no_word_of_mail_fails(value: bytes) -> None:
    decode_text(value).encode()


def test_etags_are_read_with_and_without_quotes() -> None:
    assert parse_etags(b'"a", W/"b" ,c,*') == ("a", "b", "c", "*")


@pytest.mark.parametrize(
    "tags",
    [[("", "v")], [("k" * 129, "v")], [("k", "v" * 257)], [("aws:x", "v")], [("k", "1"), ("k", "2")], [(str(i), "") for i in range(11)]],
)
def test_impossible_tags_are_refused(tags: list[tuple[str, str]]) -> None:
    with pytest.raises(S3Error):
        check_tags(tags)


def test_dates_are_whole_seconds() -> None:
    assert http_date(784_111_777_999_999) == b"Sun, 06 Nov 1994 08:49:37 GMT"
    assert iso_date(784_111_777_999_999) == "1994-11-06T08:49:37.000Z"


def test_errors_hold_no_markup_of_the_caller() -> None:
    error = S3Error("AccessDenied", "<b>", Region="&", Key="\x01")
    document = error_document(error, resource="/<x>", request_id="1", host_id="h")
    assert b"<b>" not in document
    assert b"<x>" not in document
    assert all(200 <= status < 600 for status, _ in CODES.values())
