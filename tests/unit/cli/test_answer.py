"""S3's answers as values."""

from __future__ import annotations

import pytest

from cli import answer
from cli.exit import Exit, NeedsRestore, to_exit
from node import errors

PAGE = b"""<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><EncodingType>url</EncodingType>
<IsTruncated>true</IsTruncated><NextContinuationToken>abc%20</NextContinuationToken>
<Contents><Key>a%20b%0A</Key><LastModified>2026-01-02T03:04:05.678Z</LastModified><ETag>"ff"</ETag><Size>7</Size></Contents>
<CommonPrefixes><Prefix>c%2F</Prefix></CommonPrefixes></ListBucketResult>"""


def test_a_page_of_a_listing() -> None:
    page = answer.parse_page(PAGE)
    (entry,) = page.entries
    assert (entry.key, entry.size, entry.etag, entry.storage_class) == ("a b\n", 7, "ff", "STANDARD")
    assert entry.modified.isoformat() == "2026-01-02T03:04:05.678000+00:00"
    assert page.prefixes == ["c/"]
    assert page.continuation == "abc%20"


@pytest.mark.parametrize("body", [b"", b"<html>", b"not xml at all", b"<a><b></a>"])
def test_an_answer_that_is_no_xml(body: bytes) -> None:
    with pytest.raises(errors.Unavailable):
        answer.parse_page(body)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "NoSuchKey", errors.ObjectNotFound),
        (404, "NoSuchBucket", errors.BucketNotFound),
        (404, "Unheard", errors.NotFound),
        (403, "AccessDenied", errors.Denied),
        (403, "SignatureDoesNotMatch", errors.Denied),
        (403, "InvalidObjectState", NeedsRestore),
        (400, "BadDigest", errors.ChecksumMismatch),
        (400, "InvalidArgument", errors.BadRequest),
        (409, "BucketNotEmpty", errors.BucketNotEmpty),
        (412, "PreconditionFailed", errors.PreconditionFailed),
        (503, "SlowDown", errors.Busy),
        (500, "InternalError", errors.Unavailable),
        (501, "NotImplemented", errors.NotImplementedYet),
        (507, "", errors.VolumeFull),
    ],
)
def test_errors(status: int, code: str, kind: type[errors.FrazilError]) -> None:
    body = f"<Error><Code>{code}</Code><Message>words.</Message></Error>".encode() if code else b""
    error = answer.error_of(status, body)
    assert type(error) is kind
    assert str(error)
    assert to_exit(error) is not Exit.OK


def test_a_proxys_page_is_told_as_such() -> None:
    assert "not S3" in str(answer.error_of(502, b"<html><p>Bad gateway</html>"))


def test_an_error_hidden_in_a_200() -> None:
    with pytest.raises(errors.Unavailable):
        answer.raise_hidden_error(answer.parse_xml(b"<Error><Code>InternalError</Code></Error>"))


def test_versions_and_where_to_go_on() -> None:
    body = b"""<ListVersionsResult><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><NextKeyMarker>k%20</NextKeyMarker>
    <NextVersionIdMarker>v2</NextVersionIdMarker><Version><Key>k%20</Key><VersionId>v1</VersionId></Version>
    <DeleteMarker><Key>k%20</Key><VersionId>v2</VersionId></DeleteMarker></ListVersionsResult>"""
    versions, after = answer.parse_versions(body)
    assert versions == [answer.Version("k ", "v1"), answer.Version("k ", "v2")]
    assert after == ("k ", "v2")
