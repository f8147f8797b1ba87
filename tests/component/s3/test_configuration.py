"""A bucket's settings documents through boto3: what is put is got, what is not set answers as AWS does, what is wrong is refused."""

from __future__ import annotations

import base64
import hashlib
import zlib
from typing import Any

import pytest
from botocore.exceptions import ClientError

from meta.protocol.accounts import KeyPair
from tests.component.s3.conftest import OWNER, STRANGER, Served, client_for
from tests.support.client import Client, Credentials

CREDENTIALS = Credentials(OWNER.access_key, OWNER.secret)


def refusal(call: Any, **arguments: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def tag(key: str, value: str = "v") -> dict[str, str]:
    return {"Key": key, "Value": value}


CORS_RULE = {
    "AllowedMethods": ["GET", "PUT"],
    "AllowedOrigins": ["http://*.example.com", "*"],
    "AllowedHeaders": ["*"],
    "ExposeHeaders": ["ETag"],
}

REDIRECT = {"RedirectAllRequestsTo": {"HostName": "h", "Protocol": "https"}}
WEBSITE = {
    "IndexDocument": {"Suffix": "index.html"},
    "ErrorDocument": {"Key": "errors/404.html"},
    "RoutingRules": [
        {"Condition": {"KeyPrefixEquals": "a/", "HttpErrorCodeReturnedEquals": "404"}, "Redirect": {"ReplaceKeyPrefixWith": "b/"}},
        {"Redirect": {"HostName": "h", "HttpRedirectCode": "307", "Protocol": "https", "ReplaceKeyWith": "k"}},
    ],
}

NOT_SET: list[tuple[str, dict[str, Any], str]] = [
    ("get_bucket_tagging", {}, "NoSuchTagSet"),
    ("get_bucket_cors", {}, "NoSuchCORSConfiguration"),
    ("get_bucket_lifecycle_configuration", {}, "NoSuchLifecycleConfiguration"),
    ("get_bucket_website", {}, "NoSuchWebsiteConfiguration"),
    ("get_bucket_replication", {}, "ReplicationConfigurationNotFoundError"),
    ("get_bucket_analytics_configuration", {"Id": "x"}, "NoSuchConfiguration"),
    ("get_bucket_inventory_configuration", {"Id": "x"}, "NoSuchConfiguration"),
    ("get_bucket_metrics_configuration", {"Id": "x"}, "NoSuchConfiguration"),
    ("get_bucket_intelligent_tiering_configuration", {"Id": "x"}, "NoSuchConfiguration"),
    ("delete_bucket_analytics_configuration", {"Id": "x"}, "NoSuchConfiguration"),
    ("delete_bucket_inventory_configuration", {"Id": "x"}, "NoSuchConfiguration"),
    ("delete_bucket_metrics_configuration", {"Id": "x"}, "NoSuchConfiguration"),
    ("delete_bucket_intelligent_tiering_configuration", {"Id": "x"}, "NoSuchConfiguration"),
]

DEFAULTS: list[tuple[str, dict[str, Any]]] = [
    ("get_bucket_request_payment", {"Payer": "BucketOwner"}),
    ("get_bucket_accelerate_configuration", {}),
    ("list_bucket_analytics_configurations", {"IsTruncated": False}),
    ("list_bucket_inventory_configurations", {"IsTruncated": False}),
    ("list_bucket_metrics_configurations", {"IsTruncated": False}),
    ("list_bucket_intelligent_tiering_configurations", {"IsTruncated": False}),
]  # fmt: skip

TAGGING = ("put_bucket_tagging", "get_bucket_tagging", "delete_bucket_tagging")
CORS = ("put_bucket_cors", "get_bucket_cors", "delete_bucket_cors")
WEBSITE_OPERATIONS = ("put_bucket_website", "get_bucket_website", "delete_bucket_website")
PAYMENT = ("put_bucket_request_payment", "get_bucket_request_payment")
ACCELERATION = ("put_bucket_accelerate_configuration", "get_bucket_accelerate_configuration")

ROUND_TRIPS: list[tuple[tuple[str, ...], str, dict[str, Any], str]] = [
    # put, get and delete; argument of put, its value, code once it is deleted
    (TAGGING, "Tagging", {"TagSet": [tag("ä + ", "é="), tag("b", ""), tag("k" * 128, "v" * 256)]}, "NoSuchTagSet"),
    (TAGGING, "Tagging", {"TagSet": [tag(f"k{i}") for i in range(50)]}, "NoSuchTagSet"),
    (CORS, "CORSConfiguration", {"CORSRules": [CORS_RULE, {**CORS_RULE, "ID": "2", "MaxAgeSeconds": 0}]}, "NoSuchCORSConfiguration"),
    (CORS, "CORSConfiguration", {"CORSRules": [CORS_RULE] * 100}, "NoSuchCORSConfiguration"),
    (WEBSITE_OPERATIONS, "WebsiteConfiguration", REDIRECT, "NoSuchWebsiteConfiguration"),
    (WEBSITE_OPERATIONS, "WebsiteConfiguration", WEBSITE, "NoSuchWebsiteConfiguration"),
    (PAYMENT, "RequestPaymentConfiguration", {"Payer": "BucketOwner"}, ""),
    (ACCELERATION, "AccelerateConfiguration", {"Status": "Suspended"}, ""),
]  # fmt: skip

REFUSED: list[tuple[str, str, Any, str]] = [
    # operation, argument, value, code
    ("put_bucket_tagging", "Tagging", {"TagSet": [tag(f"k{i}") for i in range(51)]}, "InvalidTag"),
    ("put_bucket_tagging", "Tagging", {"TagSet": [tag("k"), tag("k", "w")]}, "InvalidTag"),
    ("put_bucket_tagging", "Tagging", {"TagSet": [tag("k" * 129)]}, "InvalidTag"),
    ("put_bucket_tagging", "Tagging", {"TagSet": [tag("")]}, "InvalidTag"),
    ("put_bucket_tagging", "Tagging", {"TagSet": [tag("k", "v" * 257)]}, "InvalidTag"),
    ("put_bucket_tagging", "Tagging", {"TagSet": [tag("aws:k")]}, "InvalidTag"),
    ("put_bucket_tagging", "Tagging", {"TagSet": [{"Key": "k"}]}, "MalformedXML"),
    ("put_bucket_tagging", "Tagging", {}, "MalformedXML"),
    ("put_bucket_cors", "CORSConfiguration", {"CORSRules": []}, "MalformedXML"),
    ("put_bucket_cors", "CORSConfiguration", {"CORSRules": [CORS_RULE] * 101}, "MalformedXML"),
    ("put_bucket_cors", "CORSConfiguration", {"CORSRules": [{"AllowedMethods": ["GET"]}]}, "MalformedXML"),
    ("put_bucket_cors", "CORSConfiguration", {"CORSRules": [{**CORS_RULE, "MaxAgeSeconds": -1}]}, "MalformedXML"),
    ("put_bucket_cors", "CORSConfiguration", {"CORSRules": [{**CORS_RULE, "ID": "x" * 256}]}, "MalformedXML"),
    ("put_bucket_cors", "CORSConfiguration", {"CORSRules": [{**CORS_RULE, "AllowedMethods": ["PATCH"]}]}, "InvalidRequest"),
    ("put_bucket_cors", "CORSConfiguration", {"CORSRules": [{**CORS_RULE, "AllowedOrigins": ["*.*"]}]}, "InvalidRequest"),
    ("put_bucket_cors", "CORSConfiguration", {"CORSRules": [{**CORS_RULE, "AllowedHeaders": ["*.*"]}]}, "InvalidRequest"),
    ("put_bucket_cors", "CORSConfiguration", {"CORSRules": [{**CORS_RULE, "ExposeHeaders": ["*"]}]}, "InvalidRequest"),
    ("put_bucket_website", "WebsiteConfiguration", {}, "InvalidArgument"),
    ("put_bucket_website", "WebsiteConfiguration", {**WEBSITE, "RedirectAllRequestsTo": {"HostName": "h"}}, "InvalidArgument"),
    ("put_bucket_website", "WebsiteConfiguration", {**WEBSITE, "ErrorDocument": {"Key": ""}}, "MalformedXML"),
    ("put_bucket_website", "WebsiteConfiguration", {"RedirectAllRequestsTo": {"HostName": "h", "Protocol": "ftp"}}, "MalformedXML"),
    ("put_bucket_website", "WebsiteConfiguration", {**WEBSITE, "RoutingRules": [{"Redirect": {"HostName": "h"}}] * 51}, "MalformedXML"),
    ("put_bucket_request_payment", "RequestPaymentConfiguration", {"Payer": "Nobody"}, "MalformedXML"),
    ("put_bucket_request_payment", "RequestPaymentConfiguration", {"Payer": "Requester"}, "NotImplemented"),
    ("put_bucket_accelerate_configuration", "AccelerateConfiguration", {"Status": "Fast"}, "MalformedXML"),
    ("put_bucket_accelerate_configuration", "AccelerateConfiguration", {"Status": "Enabled"}, "NotImplemented"),
    ("put_bucket_replication", "ReplicationConfiguration", {"Role": "r", "Rules": []}, "NotImplemented"),
]  # fmt: skip


@pytest.fixture(scope="module")
def client(served: Served) -> Any:
    """Without boto3's own checks, so that ours are met."""
    s3 = client_for(served, parameter_validation=False)
    s3.create_bucket(Bucket="configured")
    yield s3
    s3.close()


@pytest.mark.parametrize(("operation", "arguments", "code"), NOT_SET)
def test_what_is_not_set(s3: Any, bucket: str, operation: str, arguments: dict[str, Any], code: str) -> None:
    assert refusal(getattr(s3, operation), Bucket=bucket, **arguments) == (code, 404)


@pytest.mark.parametrize(("operation", "answer"), DEFAULTS)
def test_defaults(s3: Any, bucket: str, operation: str, answer: dict[str, Any]) -> None:
    got = getattr(s3, operation)(Bucket=bucket)
    del got["ResponseMetadata"]
    assert got == answer


@pytest.mark.parametrize(("names", "argument", "value", "code"), ROUND_TRIPS)
def test_put_get_delete(s3: Any, bucket: str, names: tuple[str, ...], argument: str, value: dict[str, Any], code: str) -> None:
    put, get, *delete = (getattr(s3, name) for name in names)
    put(Bucket=bucket, **{argument: value})
    got = get(Bucket=bucket)
    del got["ResponseMetadata"]
    assert got == value
    for each in delete:
        assert each(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"] == 204
        assert refusal(get, Bucket=bucket) == (code, 404)
        each(Bucket=bucket)  # once more is no error


def test_no_replication_is_deleted_with_success(s3: Any, bucket: str) -> None:
    assert s3.delete_bucket_replication(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"] == 204


@pytest.mark.parametrize(("operation", "argument", "value", "code"), REFUSED)
def test_refused_and_nothing_kept(client: Any, operation: str, argument: str, value: Any, code: str) -> None:
    assert refusal(getattr(client, operation), Bucket="configured", **{argument: value}) == (code, 501 if code == "NotImplemented" else 400)


def test_what_was_refused_left_nothing(client: Any, served: Served) -> None:
    assert served.run(served.store.meta.container("configured").settings).documents == {}


@pytest.mark.parametrize("pair", [STRANGER, None])
@pytest.mark.parametrize("verb", ["get", "put", "delete"])
def test_strangers_may_not(served: Served, client: Any, pair: KeyPair | None, verb: str) -> None:
    stranger = client_for(served, pair)
    arguments = {"Tagging": {"TagSet": []}} if verb == "put" else {}
    assert refusal(getattr(stranger, f"{verb}_bucket_tagging"), Bucket="configured", **arguments) == ("AccessDenied", 403)
    stranger.close()


def test_a_document_must_come_with_a_checksum(served: Served, client: Any) -> None:
    body = b"<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>"
    sums = [
        ([], 400, "InvalidRequest"),
        ([("Content-MD5", md5(b""))], 400, "BadDigest"),
        ([("x-amz-checksum-crc32", "AAAAAA==")], 400, "BadDigest"),
        ([("Content-MD5", md5(body))], 204, ""),
        ([("x-amz-checksum-crc32", base64.b64encode(zlib.crc32(body).to_bytes(4)).decode())], 204, ""),
    ]
    with Client(served.endpoint, CREDENTIALS) as raw:
        for headers, status, code in sums:
            answer = raw.call("PUT", "configured", query=[("tagging", "")], headers=headers, body=body)
            assert (answer.status, answer.code) == (status, code)
    client.delete_bucket_tagging(Bucket="configured")


def md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data).digest()).decode()
