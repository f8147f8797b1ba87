"""Server-side encryption with boto3: what is stored is sealed, what comes back is plain, and every refusal has AWS's code."""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from s3.call import GatewayOptions
from tests.component.s3.conftest import OWNER, Served, client_for
from tests.component.s3.test_post import Page

KEY_A, KEY_B = b"a" * 32, b"b" * 32
MARK = b"plain text that must not be found on any disk. "


def customer(key: bytes) -> dict[str, str]:
    return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key.decode("latin-1")}


def encoded_customer(key: bytes) -> dict[str, str]:
    """For operations of which boto3 does not know that it must encode the key."""
    digest = base64.b64encode(hashlib.md5(key).digest()).decode()
    return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": base64.b64encode(key).decode(), "SSECustomerKeyMD5": digest}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Takes customers' keys over HTTP."""
    served = Served(GatewayOptions(allow_ssec_http=True))
    served.path = tmp_path_factory.mktemp("store")  # type: ignore[attr-defined]
    with served.running(served.path) as running:  # type: ignore[attr-defined]
        yield running


def code_of(call: Any, **arguments: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def on_disk(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.rglob("*") if file.is_file())


MODES: list[dict[str, Any]] = [{}, {"ServerSideEncryption": "AES256"}, {"ServerSideEncryption": "aws:kms"}, customer(KEY_A)]


def key_of(mode: dict[str, Any]) -> dict[str, Any]:
    """What a read needs of what a write said."""
    return mode if "SSECustomerKey" in mode else {}


@pytest.mark.parametrize("mode", MODES[1:])
@pytest.mark.parametrize("size", [0, 1, 65_536, 131_072, 131_073, 3_000_001])
def test_what_was_put_comes_back_and_is_nowhere_in_the_clear(served: Served, s3: Any, bucket: str, mode: dict[str, Any], size: int) -> None:
    data = (MARK * (size // len(MARK) + 1))[:size]
    put = s3.put_object(Bucket=bucket, Key="k", Body=data, **mode)
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED", **key_of(mode))
    assert got["Body"].read() == data
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED", **key_of(mode))
    assert head["ContentLength"] == got["ContentLength"] == size
    assert got["ETag"] == head["ETag"] == put["ETag"]
    assert got["ChecksumCRC32"] == head["ChecksumCRC32"] == put["ChecksumCRC32"]
    assert (put["ETag"] == f'"{hashlib.md5(data).hexdigest()}"') == (mode.get("ServerSideEncryption") == "AES256")
    assert [entry["Size"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [size]
    for answer in (put, got, head):
        for name in ("ServerSideEncryption", "SSECustomerAlgorithm"):
            assert answer.get(name) == mode.get(name)
        if "SSECustomerKey" in mode:
            assert answer["SSECustomerKeyMD5"] == base64.b64encode(hashlib.md5(KEY_A).digest()).decode()
        elif mode["ServerSideEncryption"] == "aws:kms":
            assert answer["SSEKMSKeyId"].startswith("arn:aws:kms:us-east-1:000000000000:key/")
    if size > len(MARK):
        assert MARK not in on_disk(served.path / "volumes")  # type: ignore[attr-defined]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [100_000, 1_000_000])
def test_ranges_are_slices_of_the_plain_bytes(s3: Any, bucket: str, mode: dict[str, Any], size: int) -> None:
    data = os.urandom(size)
    s3.put_object(Bucket=bucket, Key="k", Body=data, **mode)
    for start, stop in [(0, 1), (0, 65_536), (65_535, 65_537), (65_536, 99_999), (99_990, size), (size - 1, size), (70_000, 70_001)]:
        got = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={start}-{stop - 1}", **key_of(mode))
        assert got["Body"].read() == data[start:stop]
        assert got["ContentRange"] == f"bytes {start}-{stop - 1}/{size}"
    got = s3.get_object(Bucket=bucket, Key="k", PartNumber=1, **key_of(mode))
    assert got["Body"].read() == data


def test_a_customers_key_is_needed_and_must_be_the_same(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="sealed", Body=b"x" * 10, **customer(KEY_A))
    s3.put_object(Bucket=bucket, Key="plain", Body=b"x" * 10)
    s3.put_object(Bucket=bucket, Key="managed", Body=b"x" * 10, ServerSideEncryption="AES256")
    attributes = {"ObjectAttributes": ["ETag"]}
    for call, code, encoded, more in (
        (s3.get_object, "InvalidRequest", customer, {}),
        (s3.head_object, "400", customer, {}),
        (s3.get_object_attributes, "InvalidRequest", encoded_customer, attributes),
    ):
        assert code_of(call, Bucket=bucket, Key="sealed", **more) == (code, 400)
        wrong = "403" if code == "400" else "AccessDenied"
        assert code_of(call, Bucket=bucket, Key="sealed", **encoded(KEY_B), **more) == (wrong, 403)
        for key in ("plain", "managed"):
            assert code_of(call, Bucket=bucket, Key=key, **encoded(KEY_A), **more) == (code, 400)
        assert call(Bucket=bucket, Key="sealed", **encoded(KEY_A), **more)


def raw_put(served: Served, s3: Any, bucket: str, headers: dict[str, str], method: str = "PUT", key: str = "k") -> tuple[int, str]:
    """Status and document of a request with headers that boto3 would not send."""
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    request = AWSRequest(method, f"{served.endpoint}/{bucket}/{key}", data=b"x" if method == "PUT" else b"", headers=headers)
    S3SigV4Auth(Credentials(OWNER.access_key, OWNER.secret), "s3", "us-east-1").add_auth(request)
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    connection.request(method, f"/{bucket}/{key}", b"x" if method == "PUT" else None, dict(request.headers))
    answer = connection.getresponse()
    document = answer.read().decode()
    connection.close()
    return answer.status, document


ALGORITHM, KEY, MD5 = (f"x-amz-server-side-encryption-customer-{name}" for name in ("algorithm", "key", "key-MD5"))
METHOD = "x-amz-server-side-encryption"
KEY_TEXT, MD5_TEXT = base64.b64encode(KEY_A).decode(), base64.b64encode(hashlib.md5(KEY_A).digest()).decode()
ALL = {ALGORITHM: "AES256", KEY: KEY_TEXT, MD5: MD5_TEXT}
SHORT = base64.b64encode(b"short").decode()
KMS_KEY, CONTEXT = f"{METHOD}-aws-kms-key-id", f"{METHOD}-context"

REFUSALS: list[tuple[dict[str, str], str, str]] = [
    ({KEY: KEY_TEXT, MD5: MD5_TEXT}, "InvalidArgument", "must provide a valid encryption algorithm."),
    ({ALGORITHM: "AES256", MD5: MD5_TEXT}, "InvalidArgument", "must provide an appropriate secret key."),
    ({ALGORITHM: "AES256"}, "InvalidArgument", "must provide an appropriate secret key."),
    ({ALGORITHM: "AES256", KEY: KEY_TEXT}, "InvalidArgument", "must provide the client calculated MD5 of the secret key."),
    ({**ALL, ALGORITHM: "AES128"}, "InvalidEncryptionAlgorithmError", "Supported value: AES256."),
    ({**ALL, ALGORITHM: "aes256"}, "InvalidEncryptionAlgorithmError", "Supported value: AES256."),
    ({**ALL, KEY: "no base64!"}, "InvalidArgument", "The secret key was invalid for the specified algorithm."),
    ({**ALL, KEY: SHORT}, "InvalidArgument", "The secret key was invalid for the specified algorithm."),
    ({**ALL, MD5: "no base64!"}, "InvalidArgument", "The calculated MD5 hash of the key did not match the hash that was provided."),
    ({**ALL, MD5: KEY_TEXT}, "InvalidArgument", "The calculated MD5 hash of the key did not match the hash that was provided."),
    ({**ALL, METHOD: "AES256"}, "InvalidArgument", "is incompatible with the encryption method specified"),
    ({METHOD: "aes256"}, "InvalidArgument", "The encryption method specified is not supported"),
    ({METHOD: "aws:kms:dsse"}, "NotImplemented", "aws:kms:dsse"),
    ({KMS_KEY: "x"}, "InvalidArgument", "requires HTTP header x-amz-server-side-encryption : aws:kms"),
    ({METHOD: "AES256", KMS_KEY: "x"}, "InvalidArgument", "requires HTTP header x-amz-server-side-encryption : aws:kms"),
    ({METHOD: "AES256", CONTEXT: "e30="}, "InvalidArgument", "requires HTTP header x-amz-server-side-encryption : aws:kms"),
    ({METHOD: "aws:kms", CONTEXT: "!"}, "InvalidArgument", "string-string map"),
    ({METHOD: "aws:kms", CONTEXT: base64.b64encode(b"[]").decode()}, "InvalidArgument", "string-string map"),
    ({METHOD: "aws:kms", CONTEXT: base64.b64encode(b'{"a": 1}').decode()}, "InvalidArgument", "string-string map"),
    ({METHOD: "aws:kms", f"{METHOD}-bucket-key-enabled": "yes"}, "InvalidArgument", "true or false"),
    ({METHOD: "aws:kms", KMS_KEY: "not-there"}, "KMS.NotFoundException", "does not exist"),
    ({METHOD: "aws:kms", KMS_KEY: "not a key"}, "KMS.NotFoundException", "Invalid keyId"),
    ({METHOD: "aws:kms", KMS_KEY: "sse:s3"}, "KMS.NotFoundException", "Invalid keyId"),
    ({METHOD: "aws:kms", KMS_KEY: "alias/other"}, "KMS.NotFoundException", "is not found"),
    ({METHOD: "aws:kms", KMS_KEY: "arn:aws:kms:eu-west-1:000000000000:key/x"}, "KMS.NotFoundException", "Invalid arn eu-west-1"),
    ({METHOD: "aws:kms", KMS_KEY: "arn:aws:kms:us-east-1:123456789012:key/x"}, "KMS.NotFoundException", "does not exist"),
]


@pytest.mark.parametrize(("headers", "code", "words"), REFUSALS)
def test_refusals_of_a_put(served: Served, s3: Any, bucket: str, headers: dict[str, str], code: str, words: str) -> None:
    status, document = raw_put(served, s3, bucket, headers)
    assert (status, f"<Code>{code}</Code>" in document) == (501 if code == "NotImplemented" else 400, True), document
    assert words in document
    assert KEY_TEXT not in document
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_a_read_takes_no_method(served: Served, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="AES256")
    status, document = raw_put(served, s3, bucket, {METHOD: "AES256"}, "GET")
    assert (status, "header is not supported for this operation" in document) == (400, True)


def test_without_tls_customers_keys_are_refused(tmp_path: Path) -> None:
    with Served().running(tmp_path) as served:
        s3 = client_for(served)
        s3.create_bucket(Bucket="bucket")
        with pytest.raises(ClientError) as caught:
            s3.put_object(Bucket="bucket", Key="k", Body=b"x", **customer(KEY_A))
        assert caught.value.response["Error"]["Code"] == "InvalidRequest"
        assert "must be made over a secure connection." in caught.value.response["Error"]["Message"]
        s3.put_object(Bucket="bucket", Key="k", Body=b"x")
        for call in (s3.get_object, s3.head_object):
            assert code_of(call, Bucket="bucket", Key="k", **customer(KEY_A))[1] == 400
        s3.close()


def test_over_tls_customers_keys_are_taken(tmp_path: Path) -> None:
    from tests.support.certificate import make_certificate

    make_certificate(tmp_path / "both.pem")
    with Served(certificate=tmp_path / "both.pem").running(tmp_path / "store") as served:
        s3 = client_for(served)
        s3.create_bucket(Bucket="bucket")
        data = os.urandom(2_000_000)
        s3.put_object(Bucket="bucket", Key="k", Body=data, **customer(KEY_A))
        assert s3.get_object(Bucket="bucket", Key="k", **customer(KEY_A))["Body"].read() == data
        s3.close()


def test_a_wrong_md5_of_the_body_is_refused(s3: Any, bucket: str) -> None:
    for mode in MODES[1:]:
        wrong = base64.b64encode(hashlib.md5(b"y").digest()).decode()
        assert code_of(s3.put_object, Bucket=bucket, Key="k", Body=b"x", ContentMD5=wrong, **mode) == ("BadDigest", 400)
        right = base64.b64encode(hashlib.md5(b"x" * 300_000).digest()).decode()
        s3.put_object(Bucket=bucket, Key="k", Body=b"x" * 300_000, ContentMD5=right, **mode)


def test_strangers_do_not_read_what_a_kms_key_encrypts(served: Served, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="kms", Body=b"x", ServerSideEncryption="aws:kms", ACL="public-read")
    s3.put_object(Bucket=bucket, Key="managed", Body=b"x", ServerSideEncryption="AES256", ACL="public-read")
    anonymous = client_for(served, None)
    assert anonymous.get_object(Bucket=bucket, Key="managed")["Body"].read() == b"x"
    assert code_of(anonymous.get_object, Bucket=bucket, Key="kms") == ("InvalidArgument", 400)
    anonymous.close()


PART = 5 << 20


def upload(s3: Any, bucket: str, key: str, parts: dict[int, bytes], **mode: Any) -> dict[str, Any]:
    started = s3.create_multipart_upload(Bucket=bucket, Key=key, **mode)
    done = []
    for number, data in parts.items():
        arguments = {"Bucket": bucket, "Key": key, "UploadId": started["UploadId"], "PartNumber": number, **key_of(mode)}
        s3.upload_part(Body=b"replaced " * 1000, **arguments)
        answer = s3.upload_part(Body=data, **arguments)
        assert answer.get("ServerSideEncryption") == started.get("ServerSideEncryption") == mode.get("ServerSideEncryption")
        assert answer.get("SSECustomerAlgorithm") == started.get("SSECustomerAlgorithm") == mode.get("SSECustomerAlgorithm")
        assert answer.get("SSEKMSKeyId") == started.get("SSEKMSKeyId")
        done.append({"ETag": answer["ETag"], "PartNumber": number})
    completed = s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=started["UploadId"], MultipartUpload={"Parts": done})
    assert completed.get("ServerSideEncryption") == mode.get("ServerSideEncryption")
    return completed  # type: ignore[no-any-return]


@pytest.mark.parametrize("mode", MODES[1:])
@pytest.mark.parametrize("numbers", [(1, 2, 3), (2, 7, 10_000)])
def test_uploads_in_parts(served: Served, s3: Any, bucket: str, mode: dict[str, Any], numbers: tuple[int, ...]) -> None:
    contents = [os.urandom(PART + 3), (MARK * (PART // len(MARK) + 1))[:PART], os.urandom(70_000)]
    whole = b"".join(contents)
    completed = upload(s3, bucket, "k", dict(zip(numbers, contents, strict=True)), **mode)
    got = s3.get_object(Bucket=bucket, Key="k", **key_of(mode))
    assert got["Body"].read() == whole
    assert got["ETag"] == completed["ETag"]
    assert got["ETag"].endswith('-3"')
    assert got["ContentLength"] == len(whole)
    for number, content in enumerate(contents, 1):
        part = s3.get_object(Bucket=bucket, Key="k", PartNumber=number, **key_of(mode))
        assert (part["Body"].read() == content, part["PartsCount"]) == (True, 3)
    for start, stop in [(0, 1), (PART, PART + 10), (PART + 2, PART + 5), (2 * PART - 1, 2 * PART + 4), (len(whole) - 70_001, len(whole))]:
        ranged = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={start}-{stop - 1}", **key_of(mode))
        assert ranged["Body"].read() == whole[start:stop]
    assert MARK not in on_disk(served.path / "volumes")  # type: ignore[attr-defined]
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k", **mode, **source_of(mode))
    copied = s3.get_object(Bucket=bucket, Key="copy", **key_of(mode))
    assert copied["Body"].read() == whole
    assert copied["ETag"] == completed["ETag"], "the sealed bytes were copied, not written anew"


def source_of(mode: dict[str, Any]) -> dict[str, Any]:
    return {f"CopySource{name}": value for name, value in key_of(mode).items()}


def test_parts_may_say_again_how_their_upload_is_encrypted(served: Served, s3: Any, bucket: str) -> None:
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key="k", ServerSideEncryption="aws:kms")["UploadId"]
    path = f"k?partNumber=1&uploadId={upload_id}"
    assert raw_put(served, s3, bucket, {METHOD: "aws:kms", KMS_KEY: "another"}, key=path)[0] == 200
    status, document = raw_put(served, s3, bucket, {METHOD: "AES256"}, key=path)
    assert (status, "header is not supported for this operation" in document) == (400, True)


def test_parts_need_the_uploads_key(s3: Any, bucket: str) -> None:
    started = s3.create_multipart_upload(Bucket=bucket, Key="k", **customer(KEY_A))
    plain = s3.create_multipart_upload(Bucket=bucket, Key="k")
    s3.put_object(Bucket=bucket, Key="source", Body=b"x" * 100)
    part = {"Bucket": bucket, "Key": "k", "PartNumber": 1}
    for call, more in ((s3.upload_part, {"Body": b"x"}), (s3.upload_part_copy, {"CopySource": f"{bucket}/source"})):
        for upload_id, key, words in (
            (started["UploadId"], {}, "must include the appropriate encryption parameters."),
            (started["UploadId"], customer(KEY_B), "The provided encryption parameters did not match the ones used originally."),
            (plain["UploadId"], customer(KEY_A), "The multipart upload initiate did not request encryption."),
        ):
            with pytest.raises(ClientError) as caught:
                call(UploadId=upload_id, **part, **more, **key)
            assert caught.value.response["Error"]["Code"] == "InvalidRequest"
            assert words in caught.value.response["Error"]["Message"]
    assert s3.list_parts(Bucket=bucket, Key="k", UploadId=started["UploadId"]).get("Parts") is None


@pytest.mark.parametrize("target", MODES)
@pytest.mark.parametrize("source", MODES)
@pytest.mark.parametrize("size", [0, 1000, 1_500_000])
def test_copies_between_all_modes(s3: Any, bucket: str, source: dict[str, Any], target: dict[str, Any], size: int) -> None:
    data = os.urandom(size)
    target = {**target, **customer(KEY_B)} if "SSECustomerKey" in target else target
    s3.put_object(Bucket=bucket, Key="a", Body=data, ChecksumAlgorithm="SHA256", **source)
    copied = s3.copy_object(Bucket=bucket, Key="b", CopySource=f"{bucket}/a", **target, **source_of(source))
    got = s3.get_object(Bucket=bucket, Key="b", ChecksumMode="ENABLED", **key_of(target))
    assert got["Body"].read() == data
    assert copied["CopyObjectResult"]["ETag"] == got["ETag"]
    assert got["ChecksumSHA256"] == copied["CopyObjectResult"]["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(data).digest()).decode()
    assert got.get("ServerSideEncryption") == copied.get("ServerSideEncryption") == target.get("ServerSideEncryption")
    if target.get("ServerSideEncryption") in (None, "AES256") and "SSECustomerKey" not in target:
        assert got["ETag"] == f'"{hashlib.md5(data).hexdigest()}"'
    started = s3.create_multipart_upload(Bucket=bucket, Key="c", **target)
    part = {"Bucket": bucket, "Key": "c", "UploadId": started["UploadId"], "PartNumber": 1, "CopySource": f"{bucket}/a"}
    if size > 10:
        part["CopySourceRange"] = f"bytes=3-{size - 2}"
    answer = s3.upload_part_copy(**part, **key_of(target), **source_of(source))
    parts = {"Parts": [{"ETag": answer["CopyPartResult"]["ETag"], "PartNumber": 1}]}
    s3.complete_multipart_upload(Bucket=bucket, Key="c", UploadId=started["UploadId"], MultipartUpload=parts)
    assert s3.get_object(Bucket=bucket, Key="c", **key_of(target))["Body"].read() == (data[3:-1] if size > 10 else data)


def test_a_copy_needs_the_sources_key(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="sealed", Body=b"x", **customer(KEY_A))
    s3.put_object(Bucket=bucket, Key="plain", Body=b"x")
    wrong = {"CopySourceSSECustomerAlgorithm": "AES256", "CopySourceSSECustomerKey": KEY_B.decode()}
    copy = {"Bucket": bucket, "Key": "copy"}
    assert code_of(s3.copy_object, CopySource=f"{bucket}/sealed", **copy) == ("InvalidRequest", 400)
    assert code_of(s3.copy_object, CopySource=f"{bucket}/sealed", **copy, **wrong) == ("AccessDenied", 403)
    assert code_of(s3.copy_object, CopySource=f"{bucket}/plain", **copy, **wrong) == ("InvalidRequest", 400)


def test_a_copy_onto_itself_may_change_the_encryption_only(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x" * 1000)
    itself = {"Bucket": bucket, "Key": "k", "CopySource": f"{bucket}/k"}
    assert code_of(s3.copy_object, **itself) == ("InvalidRequest", 400)
    s3.copy_object(**itself, ServerSideEncryption="aws:kms")
    assert code_of(s3.copy_object, **itself, ServerSideEncryption="aws:kms") == ("InvalidRequest", 400)
    s3.copy_object(**itself, ServerSideEncryption="aws:kms", SSEKMSEncryptionContext=base64.b64encode(b'{"a": "b"}').decode())
    s3.copy_object(**itself, **customer(KEY_A))
    s3.copy_object(**itself, **customer(KEY_B), CopySourceSSECustomerAlgorithm="AES256", CopySourceSSECustomerKey=KEY_A.decode())
    assert s3.get_object(Bucket=bucket, Key="k", **customer(KEY_B))["Body"].read() == b"x" * 1000
    assert code_of(s3.get_object, Bucket=bucket, Key="k", **customer(KEY_A)) == ("AccessDenied", 403)


def default(algorithm: str, key: str | None = None, **more: Any) -> dict[str, Any]:
    by_default = {"SSEAlgorithm": algorithm} | ({"KMSMasterKeyID": key} if key else {})
    return {"Rules": [{"ApplyServerSideEncryptionByDefault": by_default, **more}]}


def test_a_buckets_default_is_set_told_and_deleted(s3: Any, bucket: str) -> None:
    absent = ("ServerSideEncryptionConfigurationNotFoundError", 404)
    assert code_of(s3.get_bucket_encryption, Bucket=bucket) == absent
    for document in (default("AES256"), default("aws:kms"), default("aws:kms", "some-key", BucketKeyEnabled=True)):
        s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=document)
        expected = {"Rules": [{"BucketKeyEnabled": False, **document["Rules"][0]}]}
        assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"] == expected
    for _ in range(2):
        s3.delete_bucket_encryption(Bucket=bucket)
        assert code_of(s3.get_bucket_encryption, Bucket=bucket) == absent


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ({"Rules": []}, "MalformedXML"),
        ({"Rules": default("AES256")["Rules"] * 2}, "MalformedXML"),
        (default("AES512"), "MalformedXML"),
        (default("AES256", "key"), "InvalidArgument"),
        (default("aws:kms:dsse"), "NotImplemented"),
        (default("AES256", BlockedEncryptionTypes={"EncryptionType": ["SSE-S3"]}), "MalformedXML"),
        (default("AES256", BlockedEncryptionTypes={"EncryptionType": ["SSE-C", "NONE"]}), "MalformedXML"),
    ],
)
def test_documents_that_are_refused(s3: Any, bucket: str, document: dict[str, Any], code: str) -> None:
    assert code_of(s3.put_bucket_encryption, Bucket=bucket, ServerSideEncryptionConfiguration=document)[0] == code


@pytest.mark.parametrize("algorithm", ["AES256", "aws:kms"])
def test_what_says_nothing_of_encryption_is_encrypted_by_the_buckets_default(s3: Any, bucket: str, algorithm: str) -> None:
    s3.put_object(Bucket=bucket, Key="before", Body=b"x" * 100)
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=default(algorithm, BucketKeyEnabled=True))
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"x" * 100)
    copied = s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/before")
    started = s3.create_multipart_upload(Bucket=bucket, Key="parts")
    for answer in (put, copied, started):
        assert answer["ServerSideEncryption"] == algorithm
        assert answer.get("BucketKeyEnabled") == (True if algorithm == "aws:kms" else None)
    assert "ServerSideEncryption" not in s3.head_object(Bucket=bucket, Key="before")
    assert s3.head_object(Bucket=bucket, Key="k")["ServerSideEncryption"] == algorithm
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == b"x" * 100
    other = "AES256" if algorithm == "aws:kms" else "aws:kms"
    assert s3.put_object(Bucket=bucket, Key="k", Body=b"y", ServerSideEncryption=other)["ServerSideEncryption"] == other
    s3.put_object(Bucket=bucket, Key="k", Body=b"y", **customer(KEY_A))
    s3.abort_multipart_upload(Bucket=bucket, Key="parts", UploadId=started["UploadId"])
    s3.delete_bucket_encryption(Bucket=bucket)
    assert "ServerSideEncryption" not in s3.put_object(Bucket=bucket, Key="k", Body=b"x")


def test_a_default_with_a_key_that_is_not_there_refuses_writes(s3: Any, bucket: str) -> None:
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=default("aws:kms", "not-there"))
    assert code_of(s3.put_object, Bucket=bucket, Key="k", Body=b"x") == ("KMS.NotFoundException", 400)
    assert code_of(s3.create_multipart_upload, Bucket=bucket, Key="k") == ("KMS.NotFoundException", 400)


def test_a_bucket_may_block_customers_keys(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="before", Body=b"x", **customer(KEY_A))
    document = default("AES256", BlockedEncryptionTypes={"EncryptionType": ["SSE-C"]})
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=document)
    assert code_of(s3.put_object, Bucket=bucket, Key="k", Body=b"x", **customer(KEY_A)) == ("AccessDenied", 403)
    assert code_of(s3.create_multipart_upload, Bucket=bucket, Key="k", **customer(KEY_A)) == ("AccessDenied", 403)
    assert s3.get_object(Bucket=bucket, Key="before", **customer(KEY_A))["Body"].read() == b"x"
    document = default("AES256", BlockedEncryptionTypes={"EncryptionType": ["NONE"]})
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=document)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", **customer(KEY_A))


def test_a_key_with_an_id_of_its_own_is_called_by_it(served: Served, s3: Any, bucket: str) -> None:
    served.run(served.store.vault.keys.create_encryption_key, f"{bucket}-key")
    for name in (f"{bucket}-key", f"arn:aws:kms:us-east-1:000000000000:key/{bucket}-key"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId=name)
        assert s3.head_object(Bucket=bucket, Key="k")["SSEKMSKeyId"] == f"{bucket}-key"


def test_keys_of_the_namespace(served: Served, s3: Any, bucket: str) -> None:
    keys = served.store.vault.keys
    made = served.run(keys.create_encryption_key)
    arn = f"arn:aws:kms:us-east-1:000000000000:key/{made.id}"
    context = base64.b64encode(b'{"project": "ice"}').decode()
    for name in (made.id, arn):
        put = s3.put_object(
            Bucket=bucket, Key="k", Body=b"x" * 9, ServerSideEncryption="aws:kms", SSEKMSKeyId=name, SSEKMSEncryptionContext=context
        )
        assert put["SSEKMSKeyId"] == arn
        assert base64.b64decode(put["SSEKMSEncryptionContext"]) == b'{"project":"ice"}'
        assert s3.head_object(Bucket=bucket, Key="k")["SSEKMSKeyId"] == arn
    for version in (2, 3):
        assert served.run(keys.rotate_encryption_key, made.id).version == version
        assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x" * 9
        s3.put_object(Bucket=bucket, Key=f"v{version}", Body=b"y", ServerSideEncryption="aws:kms", SSEKMSKeyId=made.id)

    async def switch(enabled: bool) -> None:
        await keys.enable_encryption_key(made.id, enabled=enabled)

    served.run(switch, False)
    disabled = ("KMS.DisabledException", 400)
    assert code_of(s3.get_object, Bucket=bucket, Key="k") == disabled
    assert code_of(s3.put_object, Bucket=bucket, Key="n", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId=made.id) == disabled
    assert code_of(s3.copy_object, Bucket=bucket, Key="n", CopySource=f"{bucket}/k") == disabled
    served.run(switch, True)
    for key in ("k", "v2", "v3"):
        assert s3.get_object(Bucket=bucket, Key=key)["SSEKMSKeyId"] == arn


def update(s3: Any, bucket: str, arn: str | None, **more: Any) -> Any:
    kms = {} if arn is None else {"KMSKeyArn": arn}
    return s3.update_object_encryption(Bucket=bucket, Key="k", ObjectEncryption={"SSEKMS": {**kms, **more}})


def test_an_objects_key_is_changed_without_moving_the_object(served: Served, s3: Any, bucket: str) -> None:
    made = served.run(served.store.vault.keys.create_encryption_key)
    arn = f"arn:aws:kms:us-east-1:000000000000:key/{made.id}"
    contents = [os.urandom(PART), os.urandom(10)]
    upload(s3, bucket, "k", dict(zip((3, 8), contents, strict=True)), ServerSideEncryption="AES256")
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    before = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    layout = served.run(served.store.get_row, bucket, "k").layout
    for bucket_key in (False, True):
        update(s3, bucket, arn, BucketKeyEnabled=bucket_key)
        after = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
        assert (after["ServerSideEncryption"], after["SSEKMSKeyId"], after.get("BucketKeyEnabled", False)) == ("aws:kms", arn, bucket_key)
        for name in ("ETag", "LastModified", "ContentLength", "TagCount", "ChecksumCRC32"):
            assert after.get(name) == before.get(name)
    assert served.run(served.store.get_row, bucket, "k").layout == layout
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"".join(contents)


def test_what_a_change_of_key_refuses(served: Served, s3: Any, bucket: str) -> None:
    arn = f"arn:aws:kms:us-east-1:000000000000:key/{served.store.vault.default_key}"
    assert code_of(update, s3=s3, bucket=bucket, arn=arn) == ("NoSuchKey", 404)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert code_of(update, s3=s3, bucket=bucket, arn=arn) == ("InvalidRequest", 400)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", **customer(KEY_A))
    assert code_of(update, s3=s3, bucket=bucket, arn=arn) == ("InvalidRequest", 400)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="AES256")
    for name in ("not-an-arn-but-long-enough", "arn:aws:kms:us-east-1:000000000000:alias/aws/s3"):
        assert code_of(update, s3=s3, bucket=bucket, arn=name) == ("InvalidRequest", 400)
    missing = "arn:aws:kms:us-east-1:000000000000:key/not-there"
    assert code_of(update, s3=s3, bucket=bucket, arn=missing) == ("KMS.NotFoundException", 400)
    assert s3.head_object(Bucket=bucket, Key="k")["ServerSideEncryption"] == "AES256"


@pytest.mark.parametrize("mode", MODES[1:])
@pytest.mark.parametrize("versioned", [False, True])
def test_what_is_appended_is_sealed_as_the_object_is(served: Served, s3: Any, bucket: str, mode: dict[str, Any], versioned: bool) -> None:
    if versioned:
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    pieces = [MARK * 10, b"", MARK * 50_000, b"end"]
    offset = 0
    for piece in pieces:
        put = s3.put_object(Bucket=bucket, Key="k", Body=piece, WriteOffsetBytes=offset, **(mode if not offset else key_of(mode)))
        offset += len(piece)
        assert (put["Size"], put.get("ServerSideEncryption"), put.get("SSECustomerAlgorithm")) == (
            offset,
            mode.get("ServerSideEncryption"),
            mode.get("SSECustomerAlgorithm"),
        )
    whole = b"".join(pieces)
    got = s3.get_object(Bucket=bucket, Key="k", **key_of(mode))
    assert (got["Body"].read(), got["ChecksumCRC32"]) == (whole, put["ChecksumCRC32"])
    ranged = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes=400-{len(whole) - 2}", **key_of(mode))
    assert ranged["Body"].read() == whole[400:-1]
    copied = {f"CopySource{name}": value for name, value in key_of(mode).items()}
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k", **mode, **copied)
    assert s3.get_object(Bucket=bucket, Key="copy", **key_of(mode))["Body"].read() == whole
    assert MARK not in on_disk(served.path)  # type: ignore[attr-defined]


def test_an_append_encrypts_neither_more_nor_less_than_the_object(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="plain", Body=b"x")
    s3.put_object(Bucket=bucket, Key="managed", Body=b"x", ServerSideEncryption="AES256")
    s3.put_object(Bucket=bucket, Key="customer", Body=b"x", **customer(KEY_A))
    rest = {"Bucket": bucket, "Body": b"y", "WriteOffsetBytes": 1}
    for key, mode in (("plain", MODES[1]), ("plain", MODES[3]), ("managed", MODES[2]), ("managed", MODES[3]), ("customer", MODES[1])):
        assert code_of(s3.put_object, Key=key, **rest, **mode) == ("EncryptionTypeMismatch", 400), (key, mode)
    assert code_of(s3.put_object, Key="customer", **rest) == ("InvalidRequest", 400)
    assert code_of(s3.put_object, Key="customer", **rest, **customer(KEY_B)) == ("AccessDenied", 403)
    for key, mode in (("plain", {}), ("managed", {}), ("managed", MODES[1]), ("customer", MODES[3])):
        assert s3.put_object(
            Key=key, **{**rest, "WriteOffsetBytes": s3.head_object(Bucket=bucket, Key=key, **key_of(mode))["ContentLength"]}, **mode
        )
    default = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=default)
    assert "ServerSideEncryption" not in s3.put_object(**{**rest, "WriteOffsetBytes": 2}, Key="plain")


@pytest.mark.parametrize("fields", [{METHOD: "AES256"}, {METHOD: "aws:kms"}, ALL, {}])
def test_forms_are_encrypted_as_puts_are(served: Served, s3: Any, bucket: str, fields: dict[str, str]) -> None:
    if not fields:
        s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=default("AES256"))
    data = os.urandom(2_500_000)
    page = Page(served, bucket)
    status, _ = page.post(page.signed({"key": "k", **fields}), data)
    assert status == 204
    assert page.headers.get(METHOD) == fields.get(METHOD, None if fields else "AES256")
    assert page.headers.get(MD5.lower()) == fields.get(MD5)
    needed = customer(KEY_A) if fields is ALL else {}
    assert s3.get_object(Bucket=bucket, Key="k", **needed)["Body"].read() == data


def test_presigned_urls_bring_customers_keys_in_headers(served: Served, s3: Any, bucket: str) -> None:
    data = os.urandom(100_000)
    for call, method, body in (("put_object", "PUT", data), ("get_object", "GET", None)):
        url = s3.generate_presigned_url(call, {"Bucket": bucket, "Key": "k", **customer(KEY_A)})
        assert KEY_TEXT not in url
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
        connection.request(method, url.removeprefix(served.endpoint), body, ALL)
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"" if method == "PUT" else data)
        connection.close()


def test_versions_keep_their_own_encryption(s3: Any, bucket: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    versions = [(mode, s3.put_object(Bucket=bucket, Key="k", Body=f"{mode}".encode(), **mode)["VersionId"]) for mode in MODES]
    for mode, version in versions:
        got = s3.get_object(Bucket=bucket, Key="k", VersionId=version, **key_of(mode))
        assert (got["Body"].read(), got.get("ServerSideEncryption")) == (f"{mode}".encode(), mode.get("ServerSideEncryption"))
    assert [entry["Size"] for entry in s3.list_object_versions(Bucket=bucket)["Versions"]] == [len(f"{mode}") for mode in reversed(MODES)]
