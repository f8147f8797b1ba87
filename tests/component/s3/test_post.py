"""POST of forms: what a policy allows is stored as a PUT would store it, with the answers that pages want; all else leaves nothing."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import random
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import pytest
from botocore.exceptions import ClientError

from tests.component.s3.conftest import OWNER, STRANGER, Served, client_for
from tests.support import form

Conditions = list[Any]


class Page:
    """Posts forms to one bucket, signed as the test says."""

    def __init__(self, served: Served, bucket: str) -> None:
        self._served = served
        self.bucket = bucket
        self.headers: dict[str, str] = {}

    def post(self, fields: dict[str, str], file: bytes | None = b"bar", filename: str = "foo.txt") -> tuple[int, bytes]:
        return self.send(form.encode(fields.items(), file, filename))

    def send(self, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._served.port, timeout=10)
        connection.request("POST", f"/{self.bucket}", body, {"Content-Type": form.CONTENT_TYPE.decode(), **(headers or {})})
        response = connection.getresponse()
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        result = response.status, response.read()
        connection.close()
        return result

    def signed(self, fields: dict[str, str], conditions: Conditions | None = None, *, old: bool = False, **more: Any) -> dict[str, str]:
        """The fields with a policy; without `conditions` it allows just these."""
        wanted = form.covering(fields, self.bucket) if conditions is None else [{"bucket": self.bucket}, *conditions]
        if old:
            return {**fields, **form.sign_old(OWNER.access_key, OWNER.secret, form.policy(wanted, **more))}
        return {**fields, **form.sign(OWNER.access_key, OWNER.secret, wanted, **more)}


@pytest.fixture
def page(served: Served, bucket: str) -> Page:
    return Page(served, bucket)


def code(answer: tuple[int, bytes]) -> tuple[int, str]:
    text = answer[1].decode()
    return answer[0], text.partition("<Code>")[2].partition("</Code>")[0]


@pytest.mark.parametrize("old", [False, True], ids=["v4", "hmac-sha1"])
def test_a_form_is_stored_as_a_put_would_be(page: Page, s3: Any, old: bool) -> None:
    fields = {
        "key": "a b/ü.txt",
        "Content-Type": "text/plain",
        "Cache-Control": "no-cache",
        "x-amz-meta-foo": "barclamp",
        "x-amz-storage-class": "STANDARD_IA",
        "acl": "public-read",
        "tagging": "<Tagging><TagSet><Tag><Key>a</Key><Value>b &#43; c</Value></Tag></TagSet></Tagging>",
        "x-amz-checksum-sha256": base64.b64encode(hashlib.sha256(b"bar").digest()).decode(),
    }
    status, body = page.post(page.signed(fields, old=old))
    assert (status, body) == (204, b"")
    assert page.headers["etag"] == f'"{hashlib.md5(b"bar").hexdigest()}"'
    assert page.headers["location"].endswith(f"/{page.bucket}/a%20b/%C3%BC.txt")
    head = s3.get_object(Bucket=page.bucket, Key="a b/ü.txt", ChecksumMode="ENABLED")
    assert head["Body"].read() == b"bar"
    assert (head["ContentType"], head["CacheControl"], head["Metadata"]) == ("text/plain", "no-cache", {"foo": "barclamp"})
    assert (head["StorageClass"], head["ChecksumSHA256"]) == ("STANDARD_IA", fields["x-amz-checksum-sha256"])
    assert s3.get_object_tagging(Bucket=page.bucket, Key="a b/ü.txt")["TagSet"] == [{"Key": "a", "Value": "b + c"}]
    assert len(s3.get_object_acl(Bucket=page.bucket, Key="a b/ü.txt")["Grants"]) == 2


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_boto3s_presigned_posts(served: Served, page: Page, s3: Any, version: str) -> None:
    client = client_for(served, OWNER, signature_version=version)
    made = client.generate_presigned_post(
        page.bucket,
        "up/${filename}",
        Fields={"acl": "private", "success_action_status": "201"},
        Conditions=[{"acl": "private"}, {"success_action_status": "201"}, ["content-length-range", 1, 10]],
    )
    client.close()
    status, body = page.post(made["fields"])
    assert status == 201, body
    answer = ElementTree.fromstring(body)
    assert [answer.findtext(name) for name in ("Bucket", "Key", "ETag")] == [page.bucket, "up/foo.txt", page.headers["etag"]]
    assert answer.findtext("Location") == page.headers["location"] == f"{served.endpoint}/{page.bucket}/up/foo.txt"
    assert s3.get_object(Bucket=page.bucket, Key="up/foo.txt")["Body"].read() == b"bar"
    assert code(page.post(made["fields"], b"x" * 11)) == (400, "EntityTooLarge")
    assert code(page.post(made["fields"], b"")) == (400, "EntityTooSmall")


@pytest.mark.parametrize(("wanted", "status"), [("200", 200), ("201", 201), ("204", 204), ("404", 204), ("", 204)])
def test_the_answers_status(page: Page, wanted: str, status: int) -> None:
    assert page.post(page.signed({"key": "k", "success_action_status": wanted}))[0] == status


@pytest.mark.parametrize("field", ["success_action_redirect", "redirect"])
def test_the_browser_is_sent_on(page: Page, field: str) -> None:
    assert page.post(page.signed({"key": "a&b", field: "http://example.com/done?x=1#here"}))[0] == 303
    parts = urlsplit(page.headers["location"])
    assert (parts.netloc, parts.path, parts.fragment) == ("example.com", "/done", "here")
    assert parse_qs(parts.query) == {"x": ["1"], "bucket": [page.bucket], "key": ["a&b"], "etag": [page.headers["etag"]]}


@pytest.mark.parametrize("url", ["javascript:alert(1)", "http://", "http://a/\r\nSet-Cookie: a=b", "//a", "http://ü/"])
def test_what_is_no_url_is_no_redirect(page: Page, url: str) -> None:
    assert page.post(page.signed({"key": "k", "success_action_redirect": url}))[0] == 204
    assert "set-cookie" not in page.headers


def test_names_of_fields_have_no_case(page: Page, s3: Any) -> None:
    conditions: Conditions = [["StArTs-WiTh", "$KeY", "foo"], {"AcL": "private"}, ["StArTs-WiTh", "$CoNtEnT-TyPe", "text/plain"]]
    signed = page.signed({"kEy": "foo.txt", "aCl": "private", "cOnTeNt-TyPe": "text/plain"}, conditions, old=True)
    signed["pOLICy"] = signed.pop("policy")
    assert page.post(signed)[0] == 204
    assert s3.head_object(Bucket=page.bucket, Key="foo.txt")["ContentType"] == "text/plain"


@pytest.mark.parametrize("size", [0, 1, 8_191, 8_192, 16_384, 1 << 20, (3 << 20) + 17])
def test_files_of_many_sizes(page: Page, s3: Any, size: int) -> None:
    data = random.Random(size).randbytes(size)
    assert page.post(page.signed({"key": "k"}), data)[0] == 204
    assert s3.get_object(Bucket=page.bucket, Key="k")["Body"].read() == data


REFUSED: dict[str, tuple[dict[str, str], Conditions | None, int, str]] = {
    "no condition for the key": ({"key": "k"}, [], 403, "AccessDenied"),
    "another key": ({"key": "k"}, [{"key": "j"}], 403, "AccessDenied"),
    "key outside of the prefix": ({"key": "other/k"}, [["starts-with", "$key", "user/"]], 403, "AccessDenied"),
    "key by file name outside of the prefix": ({"key": "${filename}"}, [["starts-with", "$key", "user/"]], 403, "AccessDenied"),
    "acl that nobody allowed": ({"key": "k", "acl": "public-read"}, [{"key": "k"}], 403, "AccessDenied"),
    "another acl": ({"key": "k", "acl": "public-read"}, [{"key": "k"}, {"acl": "private"}], 403, "AccessDenied"),
    "metadata that nobody allowed": ({"key": "k", "x-amz-meta-a": "b"}, [{"key": "k"}], 403, "AccessDenied"),
    "a field that must be there": ({"key": "k"}, [{"key": "k"}, ["starts-with", "$x-amz-meta-foo", "bar"]], 403, "AccessDenied"),
    "too large": ({"key": "k"}, [{"key": "k"}, ["content-length-range", 0, 2]], 400, "EntityTooLarge"),
    "too small": ({"key": "k"}, [{"key": "k"}, ["content-length-range", 4, 9]], 400, "EntityTooSmall"),
    "a bad policy": ({"key": "k"}, [{"key": "k"}, {}], 400, "InvalidPolicyDocument"),
    "no key": ({"acl": "private"}, None, 400, "InvalidArgument"),
    "an empty key": ({"key": ""}, None, 400, "UserKeyMustBeSpecified"),
    "a long key": ({"key": "k" * 1_025}, None, 400, "KeyTooLongError"),
    "a key with NUL": ({"key": "a\0b"}, None, 400, "InvalidURI"),
    "a bad checksum": ({"key": "k", "x-amz-checksum-crc32": "AAAAAA=="}, None, 400, "BadDigest"),
    "a bad MD5": ({"key": "k", "Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}, None, 400, "BadDigest"),
    "tags that are no XML": ({"key": "k", "tagging": "a=b"}, None, 400, "MalformedXML"),
    "a header in a value": ({"key": "k", "x-amz-meta-a": "b\r\nx-amz-acl: public-read"}, None, 400, "InvalidArgument"),
    "a copy": ({"key": "k", "x-amz-copy-source": "/other/secret"}, None, 501, "NotImplemented"),
    "a chunked body": ({"key": "k", "x-amz-decoded-content-length": "1"}, None, 501, "NotImplemented"),
    "another payload hash": ({"key": "k", "x-amz-content-sha256": "0" * 64}, None, 501, "NotImplemented"),
}  # fmt: skip


@pytest.mark.parametrize(("fields", "conditions", "status", "name"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("old", [False, True], ids=["v4", "hmac-sha1"])
def test_what_the_policy_does_not_allow_leaves_nothing(
    page: Page, s3: Any, fields: dict[str, str], conditions: Conditions | None, status: int, name: str, old: bool
) -> None:
    assert code(page.post(page.signed(fields, conditions, old=old))) == (status, name)
    assert "Contents" not in s3.list_objects_v2(Bucket=page.bucket)


def test_metadata_in_the_query_passes_by_no_policy(served: Served, page: Page, s3: Any) -> None:
    assert Page(served, f"{page.bucket}?x-amz-meta-evil=1").post(page.signed({"key": "k"}))[0] == 204
    assert s3.head_object(Bucket=page.bucket, Key="k")["Metadata"] == {}


def spoiled(fields: dict[str, str], **changes: str | None) -> dict[str, str]:
    changed = {**fields, **{name.replace("_", "-"): value for name, value in changes.items()}}
    return {name: value for name, value in changed.items() if value is not None}  # type: ignore[misc]


def test_a_spoiled_signature_is_refused(page: Page, s3: Any) -> None:
    new, old = page.signed({"key": "k"}), page.signed({"key": "k"}, old=True)
    other = form.policy([["starts-with", "$key", ""], {"bucket": page.bucket}, ["starts-with", "$x-amz-date", ""]])
    table: list[tuple[dict[str, str], int, str]] = [
        (spoiled(new, policy=other), 403, "SignatureDoesNotMatch"),
        (spoiled(old, policy=other), 403, "SignatureDoesNotMatch"),
        (spoiled(new, x_amz_signature="0" * 64), 403, "SignatureDoesNotMatch"),
        (spoiled(new, x_amz_signature=new["x-amz-signature"].upper()), 403, "SignatureDoesNotMatch"),
        (spoiled(old, signature=old["signature"][::-1]), 403, "SignatureDoesNotMatch"),
        (spoiled(old, signature="\u00fc"), 403, "SignatureDoesNotMatch"),
        (spoiled(new, x_amz_credential=new["x-amz-credential"].replace(OWNER.access_key, "NOBODY")), 403, "InvalidAccessKeyId"),
        (spoiled(new, x_amz_credential=new["x-amz-credential"].replace("us-east-1", "mars-1")), 400, "InvalidArgument"),
        (spoiled(new, x_amz_credential=new["x-amz-credential"].replace("/s3/", "/sts/")), 400, "InvalidArgument"),
        (spoiled(new, x_amz_date="20200101T000000Z"), 400, "InvalidArgument"),
        (spoiled(new, x_amz_algorithm="AWS4-HMAC-SHA1"), 400, "InvalidArgument"),
        (spoiled(new, x_amz_algorithm="AWS4-ECDSA-P256-SHA256"), 501, "NotImplemented"),
        (spoiled(old, AWSAccessKeyId="NOBODY"), 403, "InvalidAccessKeyId"),
        (spoiled(old, AWSAccessKeyId=STRANGER.access_key), 403, "SignatureDoesNotMatch"),
        (spoiled(old, signature=None), 400, "InvalidArgument"),
        (spoiled(old, policy=None), 400, "InvalidArgument"),
        (spoiled(old, AWSAccessKeyId=None), 400, "InvalidArgument"),
        (spoiled(new, x_amz_signature=None), 400, "InvalidArgument"),
        (spoiled(new, policy=None), 400, "InvalidArgument"),
        (new | old, 400, "InvalidArgument"),
        (spoiled(new, x_amz_security_token="x"), 400, "InvalidToken"),
        ({"key": "k", "policy": new["policy"]}, 400, "InvalidArgument"),
        ({"key": "k"}, 403, "AccessDenied"),
        (page.signed({"key": "k"}, lasts_s=-1), 403, "AccessDenied"),
    ]
    for fields, status, name in table:
        assert code(page.post(fields)) == (status, name), fields
    assert "Contents" not in s3.list_objects_v2(Bucket=page.bucket)


def test_missing_fields_are_named(page: Page) -> None:
    for name, fields in (
        ("key", page.signed({"acl": "private"})),
        ("signature", spoiled(page.signed({"key": "k"}, old=True), signature=None)),
    ):
        assert f"Bucket POST must contain a field named &apos;{name}&apos;".replace("&apos;", "'") in page.post(fields)[1].decode()


def test_a_form_for_one_bucket_is_none_for_another(served: Served, page: Page, s3: Any) -> None:
    s3.create_bucket(Bucket=f"{page.bucket}-other")
    fields = page.signed({"key": "k"})
    assert code(Page(served, f"{page.bucket}-other").post(fields)) == (403, "AccessDenied")
    assert code(Page(served, f"{page.bucket}-none").post(fields))[0] == 403
    strangers = {"key": "k", **form.sign(STRANGER.access_key, STRANGER.secret, form.covering({"key": "k"}, page.bucket))}
    assert code(page.post(strangers)) == (403, "AccessDenied")
    with pytest.raises(ClientError):
        s3.head_object(Bucket=page.bucket, Key="k")


def test_what_is_no_form_of_one_file_is_refused(page: Page, s3: Any) -> None:
    fields = page.signed({"key": "k"})
    whole = form.encode(fields.items(), b"bar")
    assert code(page.post(fields, None)) == (400, "IncorrectNumberOfFilesInPostRequest")
    assert code(page.send(whole[:-20])) == (400, "MalformedPOSTRequest")
    assert code(page.send(whole, {"Content-Type": "text/plain"})) == (412, "PreconditionFailed")
    assert code(page.send(b"")) == (400, "MalformedPOSTRequest")
    assert code(page.post({**fields, "x-ignore-long": "x" * 21_000})) == (400, "MaxPostPreDataLengthExceededError")
    two = whole.removesuffix(b"--\r\n") + b"\r\n" + form.encode([], b"second").split(b"\r\n", 1)[1]
    assert code(page.send(two)) == (400, "IncorrectNumberOfFilesInPostRequest")
    assert code(page.send(whole, {"Authorization": "AWS4-HMAC-SHA256 Credential=x"}))[0] == 400
    assert "Contents" not in s3.list_objects_v2(Bucket=page.bucket)


def test_fields_after_the_file_count_for_nothing(page: Page, s3: Any) -> None:
    whole = form.encode(page.signed({"key": "k"}).items(), b"bar").removesuffix(b"--\r\n") + b"\r\n"
    late = whole + form.encode([("acl", "public-read"), ("key", "j")], None).split(b"\r\n", 1)[1]
    assert page.send(late)[0] == 204
    assert [row["Key"] for row in s3.list_objects_v2(Bucket=page.bucket)["Contents"]] == ["k"]
    assert len(s3.get_object_acl(Bucket=page.bucket, Key="k")["Grants"]) == 1


def test_the_policy_is_in_the_answer_to_a_wrong_signature_and_the_secret_is_not(page: Page) -> None:
    fields = spoiled(page.signed({"key": "k"}), x_amz_signature="0" * 64)
    _, body = page.post(fields)
    assert fields["policy"] in body.decode()
    assert OWNER.secret not in body.decode()
    assert "expiration" in json.loads(base64.b64decode(fields["policy"]))


@pytest.fixture
def open_page(page: Page, s3: Any) -> Page:
    """Anybody may write to its bucket."""
    s3.put_bucket_ownership_controls(Bucket=page.bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]})
    s3.delete_public_access_block(Bucket=page.bucket)
    s3.put_bucket_acl(Bucket=page.bucket, ACL="public-read-write")
    return page


def test_anybody_may_post_where_anybody_may_write(open_page: Page, served: Served, s3: Any) -> None:
    tagging = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
    fields = {"key": "${filename}", "acl": "public-read", "Content-Type": "text/plain", "tagging": tagging, "success_action_status": "201"}
    status, body = open_page.post(fields)
    assert status == 201, body
    assert ElementTree.fromstring(body).findtext("Key") == "foo.txt"
    reader = client_for(served, None)
    assert reader.get_object(Bucket=open_page.bucket, Key="foo.txt")["Body"].read() == b"bar"
    reader.close()
    assert open_page.post({"key": "second", "x-ignore-foo": "bar", "unknown": "field"})[0] == 204
    assert code(open_page.post({"key": "third", "policy": "", "AWSAccessKeyId": ""}))[0] == 400
    assert code(open_page.post(spoiled(open_page.signed({"key": "third"}), x_amz_signature="0" * 64)))[0] == 403


def test_a_strangers_form_is_his_where_anybody_may_write(open_page: Page, s3: Any) -> None:
    fields = {"key": "his"}
    fields |= form.sign(STRANGER.access_key, STRANGER.secret, form.covering(fields, open_page.bucket))
    assert open_page.post(fields)[0] == 204
    assert s3.list_objects_v2(Bucket=open_page.bucket, FetchOwner=True)["Contents"][0]["Owner"]["ID"] == STRANGER.user_id


def test_a_buckets_policy_decides_by_the_forms_key_and_fields(page: Page, s3: Any) -> None:
    def statement(effect: str, resource: str, **more: Any) -> dict[str, Any]:
        return {"Effect": effect, "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{page.bucket}/{resource}", **more}

    acl = {"StringEquals": {"s3:x-amz-acl": "public-read"}}
    document = {"Version": "2012-10-17", "Statement": [statement("Deny", "closed/*"), statement("Deny", "*", Condition=acl)]}
    s3.put_bucket_policy(Bucket=page.bucket, Policy=json.dumps(document))
    assert page.post(page.signed({"key": "open/k"}))[0] == 204
    assert code(page.post(page.signed({"key": "closed/k"}))) == (403, "AccessDenied")
    assert code(page.post(page.signed({"key": "closed/${filename}"}, [["starts-with", "$key", ""]]))) == (403, "AccessDenied")
    assert code(page.post(page.signed({"key": "open/k", "acl": "public-read"}))) == (403, "AccessDenied")


def test_a_page_of_another_origin_reads_the_answer_to_its_form(page: Page, s3: Any) -> None:
    rule = {"AllowedMethods": ["POST"], "AllowedOrigins": ["http://page.example"]}
    s3.put_bucket_cors(Bucket=page.bucket, CORSConfiguration={"CORSRules": [rule]})
    body = form.encode(page.signed({"key": "k"}).items(), b"bar")
    assert page.send(body, {"Origin": "http://page.example"})[0] == 204
    assert page.headers["access-control-allow-origin"] == "http://page.example"
    assert page.send(body, {"Origin": "http://other.example"})[0] == 204
    assert "access-control-allow-origin" not in page.headers


def test_a_form_is_encrypted_as_it_or_its_bucket_asks(page: Page, s3: Any) -> None:
    asked = {"key": "asked", "x-amz-server-side-encryption": "AES256"}
    assert page.post(page.signed(asked))[0] == 204
    assert page.headers["x-amz-server-side-encryption"] == "AES256"
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    s3.put_bucket_encryption(Bucket=page.bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    assert page.post(page.signed({"key": "default"}), b"x" * 70_000)[0] == 204
    for key, data in (("asked", b"bar"), ("default", b"x" * 70_000)):
        answer = s3.get_object(Bucket=page.bucket, Key=key)
        assert (answer["ServerSideEncryption"], answer["Body"].read()) == ("AES256", data)


def test_each_form_makes_a_version(page: Page, s3: Any) -> None:
    s3.put_bucket_versioning(Bucket=page.bucket, VersioningConfiguration={"Status": "Enabled"})
    versions = []
    for data in (b"first", b"second"):
        assert page.post(page.signed({"key": "k"}), data)[0] == 204
        versions.append(page.headers["x-amz-version-id"])
    assert [s3.get_object(Bucket=page.bucket, Key="k", VersionId=version)["Body"].read() for version in versions] == [b"first", b"second"]
