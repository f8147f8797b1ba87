"""UpdateObjectEncryption: another key for an object that is encrypted, without moving it.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_UpdateObjectEncryption.html
"""

from __future__ import annotations

import msgspec

from node.errors import EncryptionKeyDisabled, EncryptionKeyNotFound, ObjectNotFound
from s3.call import Call
from s3.encryption import about_key, is_key_arn, parse_key
from s3.errors import S3Error
from s3.handlers.read import current_row
from s3.shape import Shape, read
from s3.source import read_document
from s3.version import parse_version
from s3.xml import Element, XmlRefused
from store.envelope import CUSTOMER, KMS, Envelope


class SseKms(Shape, frozen=True):
    key_arn: str | None = msgspec.field(name="KMSKeyArn", default=None)
    bucket_key_enabled: bool | None = None


class ObjectEncryption(Shape, frozen=True):
    kms: SseKms | None = msgspec.field(name="SSE-KMS", default=None)


def _refusal(words: str) -> S3Error:
    return S3Error("InvalidRequest", words)


async def update(call: Call) -> None:
    if call.signed.claim is None:
        raise _refusal(
            "Requests that modify an object encryption configuration require AWS Signature Version 4. "
            "Modify the request to use AWS Signature Version 4, and then try again."
        )
    document = await read_document(call, "ObjectEncryption")
    await current_row(call)  # refuses what is no object as a GET does
    wish = _wish(call, _parsed(document))

    def wanted(envelope: Envelope | None) -> Envelope | None:
        if envelope is None:
            raise _refusal(
                "The UpdateObjectEncryption operation doesn't support unencrypted source objects. "
                "Only source objects encrypted with SSE-S3 or SSE-KMS are supported."
            )
        if envelope.mode == CUSTOMER:
            raise _refusal(
                "The UpdateObjectEncryption operation doesn't support source objects with the encryption type DSSE-KMS or SSE-C. "
                "Only source objects encrypted with SSE-S3 or SSE-KMS are supported."
            )
        return msgspec.structs.replace(wish, context=envelope.context)

    text = call.query.get("versionId") if call.query else None
    version = None if text is None else parse_version(text)
    try:
        await call.store.rewrap(call.bucket, call.key, version, wanted, expect_content=call.content)
    except (EncryptionKeyNotFound, EncryptionKeyDisabled) as error:
        raise about_key(call, wish.key, error) from error
    except ObjectNotFound as error:
        raise S3Error("NoSuchKey", Key=call.key) from error
    await call.answer(200)


def _parsed(document: Element) -> SseKms:
    try:
        kms = read(document, ObjectEncryption).kms
    except XmlRefused as error:
        raise S3Error("MalformedXML") from error
    if kms is None:
        raise _refusal(
            "Requests that modify an object encryption configuration require a valid new encryption type. Valid values are SSEKMS. "
            "Modify the request to specify SSE-KMS for the updated encryption type, and then try again."
        )
    return kms


def _wish(call: Call, kms: SseKms) -> Envelope:
    if not kms.key_arn:
        raise _refusal(
            "Requests that modify an object's encryption type to SSE-KMS require an AWS KMS key Amazon Resource Name (ARN). "
            "Modify the request to specify a KMS key ARN, and then try again."
        )
    if not is_key_arn(kms.key_arn):
        raise _refusal(
            "Requests that modify an object's encryption type to SSE-KMS require a valid AWS KMS key Amazon Resource Name (ARN). "
            "Confirm that you have a correctly formatted KMS key ARN in your request, and then try again."
        )
    return Envelope(KMS, "", key=parse_key(call, kms.key_arn), bucket_key=bool(kms.bucket_key_enabled))
