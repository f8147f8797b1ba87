"""Server-side encryption in requests and answers: what headers ask for, which key they bring, what is echoed.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/serv-side-encryption.html, and AWS's answers, whose words these are.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode

import msgspec

from meta.protocol.object import Attributes
from node.errors import CustomerKeyWrong, EncryptionKeyDisabled, EncryptionKeyNotFound
from s3.call import Call, Header
from s3.customer_key import METHOD, OF_OBJECT, OF_SOURCE, CustomerKey, KeyHeaders, customer_key, wrong_key
from s3.default_encryption import DOUBLE, Rule, blocks_customer_keys, rule_of
from s3.errors import S3Error, invalid_argument, not_implemented
from store.copy import CopyKeys
from store.envelope import CUSTOMER, KMS, MANAGED, Envelope, envelope_of, without_envelope

KMS_ACCOUNT = "000000000000"
"""The account in the names of keys: they are the namespace's."""
CONTEXT_BYTES_MAX = 8 << 10
KMS_KEY = METHOD + b"-aws-kms-key-id"
CONTEXT = METHOD + b"-context"
BUCKET_KEY = METHOD + b"-bucket-key-enabled"
_ARN = re.compile(r"arn:aws:kms:([a-z0-9-]+):([0-9]{12}):(key|alias)/([A-Za-z0-9/_-]{1,256})")
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DEFAULT_ALIAS = "aws/s3"
_contexts = msgspec.json.Decoder(dict[str, str])


class Wish(msgspec.Struct, frozen=True):
    """How a new object is to be encrypted. customer: for SSE-C."""

    envelope: Envelope
    customer: CustomerKey | None = None


def wish_of(call: Call) -> Wish | None:
    """What the headers ask for, else the bucket's default; None for no encryption. Raises: S3Error."""
    customer = customer_key(call)
    method = call.header(METHOD)
    if customer is not None:
        return _of_customer(call, customer, method)
    if method is not None:
        return Wish(_of_method(call, method.decode("latin-1")))
    for header in (KMS_KEY, CONTEXT):
        if call.header(header) is not None:
            raise _needs_kms(header)
    rule = rule_of(call.settings)
    default = rule.apply_server_side_encryption_by_default
    if default is None:
        return None
    key = parse_key(call, default.key) if default.key is not None else ""
    return Wish(Envelope(default.algorithm, "", key=key, bucket_key=default.algorithm == KMS and _bucket_key(call, rule)))


def _of_customer(call: Call, customer: CustomerKey, method: bytes | None) -> Wish:
    if method is not None or call.header(KMS_KEY) is not None:
        raise invalid_argument(
            "Server Side Encryption with Customer provided key is incompatible with the encryption method specified",
            METHOD.decode("ascii"),
            call.text(METHOD, "null"),
        )
    if blocks_customer_keys(rule_of(call.settings)):
        raise S3Error("AccessDenied", "Server Side Encryption with Customer provided keys is blocked for this bucket.")
    return Wish(Envelope(CUSTOMER, ""), customer)


def _of_method(call: Call, method: str) -> Envelope:
    if method == MANAGED:
        for header in (KMS_KEY, CONTEXT):
            if call.header(header) is not None:
                raise _needs_kms(header)
        return Envelope(MANAGED, "")
    if method == DOUBLE:
        raise not_implemented("Encryption in two layers (aws:kms:dsse)")
    if method != KMS:
        raise invalid_argument("The encryption method specified is not supported", METHOD.decode("ascii"), method)
    named = call.header(KMS_KEY)
    return Envelope(
        KMS,
        "",
        key="" if named is None else parse_key(call, named.decode("latin-1")),
        context=_context(call.header(CONTEXT)),
        bucket_key=_bucket_key(call, rule_of(call.settings)),
    )


def _needs_kms(header: bytes) -> S3Error:
    return invalid_argument(
        "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms",
        header.decode("ascii"),
        "null",
    )


def _bucket_key(call: Call, rule: Rule) -> bool:
    """What the request says of S3 bucket keys, else the bucket."""
    text = call.text(BUCKET_KEY, str(bool(rule.bucket_key_enabled))).lower()
    if text not in ("true", "false"):
        raise invalid_argument("The value of the header must be true or false.", BUCKET_KEY.decode("ascii"), text)
    return text == "true"


def _context(header: bytes | None) -> dict[str, str]:
    if header is None:
        return {}
    try:
        return _contexts.decode(b64decode(header[:CONTEXT_BYTES_MAX], validate=True))
    except (binascii.Error, msgspec.DecodeError) as error:
        raise S3Error(
            "InvalidArgument",
            "The header 'x-amz-server-side-encryption-context' shall be Base64-encoded UTF-8 string holding JSON which represents a "
            "string-string map",
            ArgumentName=CONTEXT.decode("ascii"),
        ) from error


def parse_key(call: Call, name: str) -> str:
    """The id of the key that a request names. Raises: KMS.NotFoundException."""
    return key_of(name, region=call.services.options.region, default=call.store.vault.default_key)


def key_of(name: str, *, region: str, default: str) -> str:
    """The id of a key that is named by id, ARN or alias; default: the one that the only alias names. Raises: KMS.NotFoundException."""
    kind, key = "key", name
    match = _ARN.fullmatch(name)
    if match is not None:
        named_region, account, kind, key = match.groups()
        if named_region != region:
            raise S3Error("KMS.NotFoundException", f"Invalid arn {named_region}")
        if account != KMS_ACCOUNT:
            raise S3Error("KMS.NotFoundException", f"Key '{name}' does not exist")
    elif name.startswith("alias/"):
        kind, key = "alias", name.removeprefix("alias/")
    if kind == "alias":
        if key != _DEFAULT_ALIAS:
            raise S3Error("KMS.NotFoundException", f"Alias '{name}' is not found.")
        return default
    if not _KEY_ID.fullmatch(key):
        raise S3Error("KMS.NotFoundException", f"Invalid keyId '{name}'")
    return key


def is_key_arn(name: str) -> bool:
    """Whether it is the ARN of a key, which no alias is."""
    match = _ARN.fullmatch(name)
    return match is not None and match[3] == "key"


def key_name(call: Call, key: str) -> str:
    """How answers name a key: by its ARN, as AWS does. One whose id a person chose, as AWS has none, by that id."""
    return key if _UUID.fullmatch(key) is None else f"arn:aws:kms:{call.services.options.region}:{KMS_ACCOUNT}:key/{key}"


async def begin(call: Call, wish: Wish | None, attributes: Attributes, data_key: bytes = b"") -> tuple[Attributes, bytes]:
    """The attributes with their envelope, and the data key ("" without encryption): a new one, unless it is given.

    Raises: KMS.NotFoundException, KMS.DisabledException.
    """
    if wish is None:
        return attributes, b""
    secret = wish.customer.secret if wish.customer is not None else b""
    try:
        envelope, data_key = await call.store.vault.seal(wish.envelope, secret, data_key)
    except (EncryptionKeyNotFound, EncryptionKeyDisabled) as error:
        raise about_key(call, wish.envelope.key, error) from error
    return envelope.into(attributes), data_key


def about_key(call: Call, key: str, error: EncryptionKeyNotFound | EncryptionKeyDisabled) -> S3Error:
    """The answer that says what is the matter with a key of the namespace."""
    name = key_name(call, key)
    if isinstance(error, EncryptionKeyDisabled):
        return S3Error("KMS.DisabledException", f"{name} is disabled.")
    return S3Error("KMS.NotFoundException", f"Key '{name}' does not exist")


async def unlock(call: Call, attributes: Attributes, names: KeyHeaders = OF_OBJECT) -> tuple[bytes, list[Header]]:
    """The data key of a stored object ("" when it is not encrypted) and the headers that an answer about it echoes.

    Raises: S3Error for a key that is missing, wrong, superfluous, disabled.
    """
    headers = call.request.headers
    if not attributes.extra and names.algorithm not in headers and names.key not in headers and names.md5 not in headers:
        return b"", []
    envelope = envelope_of(attributes)
    customer = customer_key(call, names)
    if customer is not None and (envelope is None or envelope.mode != CUSTOMER):
        raise S3Error("InvalidRequest", "The encryption parameters are not applicable to this object.")
    if envelope is None:
        return b"", []
    if envelope.mode == CUSTOMER and customer is None:
        raise S3Error(
            "InvalidRequest",
            "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.",
        )
    if envelope.mode == KMS and call.signed.claim is None:
        raise S3Error(
            "InvalidArgument",
            "Requests specifying Server Side Encryption with AWS KMS managed keys require AWS Signature Version 4.",
            ArgumentName="Authorization",
            ArgumentValue="null",
        )
    try:
        data_key = await call.store.vault.open(envelope, customer.secret if customer is not None else b"")
    except CustomerKeyWrong as error:
        raise wrong_key() from error
    except (EncryptionKeyNotFound, EncryptionKeyDisabled) as error:
        raise about_key(call, envelope.key, error) from error
    return data_key, echo(call, attributes)


async def unlock_upload(call: Call, attributes: Attributes) -> bytes:
    """The data key of an upload, b"" when it is not encrypted. Raises: S3Error, as for `unlock`.

    A part is encrypted as its upload is. A header that asks for the same method is taken, whatever key it names: the answer tells which
    key it is.
    """
    envelope = envelope_of(attributes)
    mode = envelope.mode if envelope is not None else ""
    method = call.text(METHOD, mode)
    if method != mode:
        raise _not_supported(method)
    brought = customer_key(call) is not None
    if mode == CUSTOMER and not brought:
        raise S3Error(
            "InvalidRequest",
            "The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption "
            "parameters.",
        )
    if brought and mode != CUSTOMER:
        raise S3Error(
            "InvalidRequest",
            "The multipart upload initiate did not request encryption. Please resend the request without sending encryption parameters.",
        )
    try:
        return (await unlock(call, attributes))[0]
    except S3Error as error:
        if error.code != "AccessDenied":
            raise
        raise S3Error("InvalidRequest", "The provided encryption parameters did not match the ones used originally.") from error


async def unlock_for_append(call: Call, attributes: Attributes) -> bytes:
    """The data key of an object that is to grow. What is appended is encrypted as the object is, so a request may say nothing else.

    Raises: S3Error EncryptionTypeMismatch; and as for `unlock`.
    """
    envelope = envelope_of(attributes)
    asked = call.text(METHOD) or (CUSTOMER if call.request.headers.get(OF_OBJECT.algorithm) is not None else "")
    if asked and (envelope is None or asked != envelope.mode):
        raise S3Error("EncryptionTypeMismatch")
    return (await unlock(call, attributes))[0]


def changes(call: Call, wish: Wish | None, attributes: Attributes) -> bool:
    """Whether a copy by this wish is encrypted otherwise than an object with these attributes."""
    old = envelope_of(attributes)
    if wish is None or old is None:
        return (wish is None) != (old is None)
    new = wish.envelope
    if new.mode == KMS == old.mode:
        return (new.key or call.store.vault.default_key, new.context) != (old.key, old.context)
    return new.mode == CUSTOMER or new.mode != old.mode


async def begin_copy(call: Call, wish: Wish | None, source: Attributes, attributes: Attributes) -> tuple[Attributes, CopyKeys]:
    """The copy's attributes with their envelope, and the keys. Where the mode stays, so does the data key, only wrapped anew: the sealed
    bytes can be copied as they are.

    Between modes they are not, for the ETag of SSE-S3 is the MD5 of the plain bytes, which the others must not tell.
    Raises: S3Error, as `unlock` and `begin`.
    """
    source_key, _ = await unlock(call, source, OF_SOURCE)
    old = envelope_of(source)
    attributes = without_envelope(attributes)
    if wish is None:
        return attributes, CopyKeys(source_key)
    same = old is not None and old.mode == wish.envelope.mode
    if old is not None and same:
        wish = msgspec.structs.replace(wish, envelope=msgspec.structs.replace(wish.envelope, parts=old.parts))
    attributes, target_key = await begin(call, wish, attributes, source_key if same else b"")
    return attributes, CopyKeys(source_key, target_key)


def echo(call: Call, attributes: Attributes, *, context: bool = False) -> list[Header]:
    """What answers say of an object's encryption. context: where AWS shows the encryption context too."""
    envelope = envelope_of(attributes)
    if envelope is None:
        return []
    if envelope.mode == CUSTOMER:  # the key's MD5 is told as the request, which proved to have the key, said it: it is not kept
        md5 = call.request.headers.get(OF_OBJECT.md5)
        return [] if md5 is None else [(OF_OBJECT.algorithm, b"AES256"), (OF_OBJECT.md5, md5)]
    headers = [(METHOD, envelope.mode.encode("ascii"))]
    if envelope.mode == KMS:
        headers.append((KMS_KEY, key_name(call, envelope.key).encode("ascii")))
        if envelope.bucket_key:
            headers.append((BUCKET_KEY, b"true"))
        if context and envelope.context:
            headers.append((CONTEXT, b64encode(msgspec.json.encode(envelope.context))))
    return headers


def refuse_method(call: Call) -> None:
    """For operations that take no such header. Raises: InvalidArgument."""
    value = call.request.headers.get(METHOD)
    if value is not None:
        raise _not_supported(value.decode("latin-1"))


def _not_supported(value: str) -> S3Error:
    name = METHOD.decode("ascii")
    return invalid_argument(f"{name} header is not supported for this operation.", name, value)
