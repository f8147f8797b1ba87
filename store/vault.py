"""Keys that encrypt: derives the namespace's, wraps and unwraps data keys.

A data key is 32 random bytes, made for one PUT or one upload, and kept only wrapped, in the envelope. What wraps it:

- for SSE-S3 and SSE-KMS, a version of a key of the namespace. Its bytes are derived from the namespace's secret, the key's id and the
  version; nothing of them is stored, so that chunks and secret alone decrypt everything, and metadata (which keys there are, whether
  they are enabled, the newest version) can be lost;
- for SSE-C, the customer's key, of which only a salted hash under a key of the namespace is kept, to tell a wrong one.

Wrapped: version 1 (1 byte), salt (16), AES-256-GCM of the data key (32 + 16) under HMAC-SHA256(wrapping key, "frazil wrap 1" + salt) with
a nonce of zeros: each such key is used once. The associated data is `Envelope.binding`.
"""

from __future__ import annotations

import hmac
import os
from base64 import b64decode, b64encode

import msgspec

from meta.protocol.encryption import EncryptionKeys
from node.auth import NamespaceKey
from node.errors import CustomerKeyWrong, EncryptionKeyDisabled, RecordCorrupt, SealBroken
from store.cipher import DATA_KEY_BYTES
from store.envelope import CUSTOMER, KMS, MANAGED, Envelope

MANAGED_KEY = "sse:s3"
"""Id of the key behind SSE-S3; no request can name it, for no id has a colon."""
WRAP_VERSION = b"\x01"
WRAP_SALT_BYTES = 16
CHECK_SALT_BYTES = 16
_NONCE = bytes(12)


class Vault:
    """One per process."""

    def __init__(self, secret: NamespaceKey, keys: EncryptionKeys) -> None:
        self._secret = secret
        self._keys = keys
        self._check = secret.derive(b"customer key check 1")

    def __repr__(self) -> str:
        return "<Vault>"

    @property
    def keys(self) -> EncryptionKeys:
        return self._keys

    @property
    def managed_key(self) -> str:
        """Id of the key behind SSE-S3."""
        return MANAGED_KEY

    @property
    def default_key(self) -> str:
        """Id of the key that SSE-KMS uses where none is named (alias aws/s3): always there, the same for ever."""
        text = self._secret.derive(b"default encryption key id 1").hex()
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-8{text[17:20]}-{text[20:32]}"

    async def check_key(self, key: str) -> int:
        """The newest version of a key that may be used. Raises: EncryptionKeyNotFound, EncryptionKeyDisabled."""
        found = await self._keys.encryption_key(key, implied=key in (MANAGED_KEY, self.default_key))
        if not found.enabled:
            raise EncryptionKeyDisabled(f"the encryption key {key} is disabled")
        return found.version

    async def seal(self, wish: Envelope, customer_key: bytes = b"", data_key: bytes = b"") -> tuple[Envelope, bytes]:
        """The envelope as it is to be kept, and its data key: the one given, else a new one.

        wish: mode, and for KMS key, context and bucket_key. Raises: EncryptionKeyNotFound, EncryptionKeyDisabled.
        """
        data_key = data_key or os.urandom(DATA_KEY_BYTES)
        if wish.mode == CUSTOMER:
            envelope = msgspec.structs.replace(wish, check=self._new_check(customer_key))
            wrapping = customer_key
        else:
            key = MANAGED_KEY if wish.mode == MANAGED else wish.key or self.default_key
            envelope = msgspec.structs.replace(wish, key=key, version=await self.check_key(key))
            wrapping = self._derived(envelope)
        wrapped = b64encode(_wrap(wrapping, data_key, envelope.binding)).decode("ascii")
        return msgspec.structs.replace(envelope, wrapped=wrapped), data_key

    async def open(self, envelope: Envelope, customer_key: bytes = b"") -> bytes:
        """The data key. Raises: CustomerKeyWrong, EncryptionKeyDisabled, EncryptionKeyNotFound, RecordCorrupt."""
        if envelope.mode == KMS:
            await self.check_key(envelope.key)
        try:
            if envelope.mode != CUSTOMER:
                wrapping = self._derived(envelope)
            elif self._is_customers(envelope.check, customer_key):
                wrapping = customer_key
            else:
                raise CustomerKeyWrong("the object is encrypted with another customer's key")
            return _unwrap(wrapping, b64decode(envelope.wrapped, validate=True), envelope.binding)
        except ValueError as error:
            raise RecordCorrupt("the wrapped data key is not readable") from error

    def _derived(self, envelope: Envelope) -> bytes:
        return self._secret.derive(b"encryption key 1\n%b\n%d" % (envelope.key.encode(), envelope.version))

    def _new_check(self, customer_key: bytes) -> str:
        salt = os.urandom(CHECK_SALT_BYTES)
        return b64encode(salt + hmac.digest(self._check, salt + customer_key, "sha256")).decode("ascii")

    def _is_customers(self, check: str, customer_key: bytes) -> bool:
        raw = b64decode(check, validate=True)
        salt, expected = raw[:CHECK_SALT_BYTES], raw[CHECK_SALT_BYTES:]
        return hmac.compare_digest(hmac.digest(self._check, salt + customer_key, "sha256"), expected)


def _wrap(key: bytes, data_key: bytes, binding: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # as in store/cipher.py

    salt = os.urandom(WRAP_SALT_BYTES)
    return WRAP_VERSION + salt + AESGCM(_once(key, salt)).encrypt(_NONCE, data_key, binding)


def _unwrap(key: bytes, wrapped: bytes, binding: bytes) -> bytes:
    """Raises: SealBroken, RecordCorrupt."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    begin = 1 + WRAP_SALT_BYTES
    if wrapped[:1] != WRAP_VERSION or len(wrapped) <= begin:
        raise RecordCorrupt("a wrapped data key of a version this Frazil does not know")
    try:
        return AESGCM(_once(key, wrapped[1:begin])).decrypt(_NONCE, wrapped[begin:], binding)
    except InvalidTag as error:
        raise SealBroken("the data key does not unwrap with this key, or what it is bound to was changed") from error


def _once(key: bytes, salt: bytes) -> bytes:
    return hmac.digest(key, b"frazil wrap 1" + salt, "sha256")
