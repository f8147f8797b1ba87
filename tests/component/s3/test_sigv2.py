"""Signature version 2 at a served gateway: a day's work where it is switched on, one clear refusal where it isn't."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from s3.call import GatewayOptions
from tests.component.s3.conftest import OWNER, STRANGER, Served, client_for

NOT_SUPPORTED = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway that takes version 2."""
    with Served(GatewayOptions(sigv2=True)).running(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture(scope="module")
def s3(old: Served) -> Iterator[Any]:
    client = client_for(old, signature_version="s3")
    client.create_bucket(Bucket="old")
    yield client
    client.close()


def fetch(url: str, method: str = "GET", data: bytes | None = None, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    """As curl would: no header that wasn't asked for."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    connection.request(method, f"{parts.path}?{parts.query}", data, headers or {})
    response = connection.getresponse()
    result = response.status, response.read()
    connection.close()
    return result


def test_a_day(s3: Any) -> None:
    s3.put_object(Bucket="old", Key="a b/ü+%", Body=b"hello", ContentType="text/x", Metadata={"name": "value"}, ACL="public-read")
    head = s3.head_object(Bucket="old", Key="a b/ü+%")
    assert (head["ContentType"], head["Metadata"]) == ("text/x", {"name": "value"})
    s3.copy_object(Bucket="old", Key="copy", CopySource={"Bucket": "old", "Key": "a b/ü+%"})
    s3.put_object_tagging(Bucket="old", Key="copy", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    upload = s3.create_multipart_upload(Bucket="old", Key="parts")["UploadId"]
    part = s3.upload_part(Bucket="old", Key="parts", UploadId=upload, PartNumber=1, Body=b"part")
    s3.complete_multipart_upload(
        Bucket="old", Key="parts", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    )
    assert [row["Key"] for row in s3.list_objects(Bucket="old", Prefix="")["Contents"]] == ["a b/ü+%", "copy", "parts"]
    s3.delete_objects(Bucket="old", Delete={"Objects": [{"Key": "copy"}, {"Key": "parts"}]})
    assert s3.get_object(Bucket="old", Key="a b/ü+%", ResponseContentType="x/y")["ContentType"] == "x/y"


def test_what_version_2_can_not_sign_is_refused(s3: Any) -> None:
    s3.put_object(Bucket="old", Key="k", Body=b"hello")
    with pytest.raises(ClientError) as caught:
        s3.get_object_attributes(Bucket="old", Key="k", ObjectAttributes=["ETag"])
    assert caught.value.response["Error"]["Code"] == "AccessDenied"


def test_presigned_urls_of_boto3_as_it_makes_them_by_itself(old: Served, s3: Any) -> None:
    s3.put_object(Bucket="old", Key="k", Body=b"hello")
    url = s3.generate_presigned_url("get_object", {"Bucket": "old", "Key": "k", "ResponseContentType": "x/y"})
    assert "AWSAccessKeyId=" in url
    assert fetch(url) == (200, b"hello")
    assert fetch(url.replace("x%2Fy", "x%2Fz"))[0] == 403
    assert fetch(url + "&attributes")[0] == 403
    assert fetch(url, "PUT", b"other")[0] == 403
    expired = s3.generate_presigned_url("get_object", {"Bucket": "old", "Key": "k"}, ExpiresIn=-1)
    status, body = fetch(expired)
    assert status == 403
    assert b"Request has expired" in body


def test_a_presigned_put_carries_its_headers_in_the_query(s3: Any) -> None:
    wanted = {"Bucket": "old", "Key": "put", "Metadata": {"a": "b"}, "StorageClass": "STANDARD_IA"}
    url = s3.generate_presigned_url("put_object", wanted)
    assert fetch(url, "PUT", b"data")[0] == 200
    head = s3.head_object(Bucket="old", Key="put")
    assert (head["Metadata"], head["StorageClass"]) == ({"a": "b"}, "STANDARD_IA")
    assert fetch(url, "PUT", b"data", {"x-amz-acl": "public-read"})[0] == 403
    assert fetch(url.replace("meta-a=b", "meta-a=c"), "PUT", b"data")[0] == 403


def test_version_4_goes_on_beside_it_and_a_body_is_bound_when_its_hash_is_said(old: Served, s3: Any) -> None:
    new = client_for(old)
    assert new.list_buckets()["Buckets"]
    new.close()
    stranger = client_for(old, STRANGER, signature_version="s3")
    with pytest.raises(ClientError) as caught:
        stranger.list_objects(Bucket="old")
    assert caught.value.response["Error"]["Code"] == "AccessDenied"
    stranger.close()
    url = s3.generate_presigned_url("put_object", {"Bucket": "old", "Key": "bound"})
    assert fetch(url + "&x-amz-content-sha256=" + "0" * 64, "PUT", b"data")[0] == 403


@pytest.mark.parametrize("presigned", [False, True])
def test_where_it_is_off_it_is_refused_as_in_regions_of_aws_without_it(served: Served, presigned: bool) -> None:
    client = client_for(served, OWNER, signature_version="s3")
    if presigned:
        status, body = fetch(client.generate_presigned_url("get_object", {"Bucket": "errors", "Key": "k"}))
        assert (status, NOT_SUPPORTED.encode() in body) == (400, True)
    else:
        with pytest.raises(ClientError) as caught:
            client.list_buckets()
        error = caught.value.response["Error"]
        assert (error["Code"], error["Message"]) == ("InvalidRequest", NOT_SUPPORTED)
    client.close()
