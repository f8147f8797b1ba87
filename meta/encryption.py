"""How the namespace's encryption keys stand: one base. Never a key's bytes, which are derived (store/vault.py)."""

from __future__ import annotations

import re
import uuid
from typing import Any

import apsw

from meta.base import Base
from meta.kind import Kind, Transaction
from meta.protocol.encryption import EncryptionKey
from node.errors import AlreadyExists, EncryptionKeyNotFound, InvalidArgument

ENCRYPTION = Kind(name="encryption", format=2, tables=("encryption_keys",), transaction=Transaction)

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_COLUMNS = "id, description, created_us, enabled, version, rotated_us"


class LocalEncryptionKeys:
    """Implements meta.protocol.encryption.EncryptionKeys on a base of this host."""

    def __init__(self, base: Base[Transaction]) -> None:
        self._base = base

    def __repr__(self) -> str:
        return f"<LocalEncryptionKeys {self._base!r}>"

    async def create_encryption_key(self, key: str = "", description: str = "") -> EncryptionKey:
        if key and not _ID.fullmatch(key):
            raise InvalidArgument("an encryption key's id is 1 to 128 letters, digits, _ and -")
        return await self._base.write(_create, key or str(uuid.uuid4()), description)

    async def encryption_key(self, key: str, *, implied: bool = False) -> EncryptionKey:
        return self._base.read(_find, key, implied)

    async def encryption_keys(self) -> list[EncryptionKey]:
        return self._base.read(_list)

    async def enable_encryption_key(self, key: str, *, enabled: bool) -> EncryptionKey:
        return await self._base.write(_enable, key, enabled)

    async def rotate_encryption_key(self, key: str, *, implied: bool = False) -> EncryptionKey:
        return await self._base.write(_rotate, key, implied)

    async def restore_encryption_keys(self, keys: list[EncryptionKey]) -> None:
        await self._base.write(_restore, keys)


def _create(transaction: Transaction, key: str, description: str) -> EncryptionKey:
    made = EncryptionKey(key, description, transaction.now_us, True, 1, transaction.now_us)
    try:
        _insert(transaction, made)
    except apsw.ConstraintError as error:
        raise AlreadyExists(f"there is an encryption key {key} already") from error
    return made


def _insert(transaction: Transaction, key: EncryptionKey) -> None:
    row = (key.id, key.description, key.created_us, int(key.enabled), key.version, key.rotated_us)
    transaction.write("INSERT INTO encryption_keys VALUES (?, ?, ?, ?, ?, ?)", row)


def _find(db: apsw.Connection, key: str, implied: bool) -> EncryptionKey:
    found = db.execute(f"SELECT {_COLUMNS} FROM encryption_keys WHERE id = ?", (key,)).fetchone()
    if found is not None:
        return _key(found)
    if implied:
        return EncryptionKey(key)
    raise EncryptionKeyNotFound(f"there is no encryption key {key}")


def _list(db: apsw.Connection) -> list[EncryptionKey]:
    return [_key(found) for found in db.execute(f"SELECT {_COLUMNS} FROM encryption_keys ORDER BY created_us, id")]


def _enable(transaction: Transaction, key: str, enabled: bool) -> EncryptionKey:
    db = transaction.db
    transaction.write("UPDATE encryption_keys SET enabled = ? WHERE id = ? AND created_us > 0", (int(enabled), key))
    found = _find(db, key, False)
    if found.created_us == 0:
        raise InvalidArgument(f"the encryption key {key} is the namespace's own and always enabled")
    return found


def _rotate(transaction: Transaction, key: str, implied: bool) -> EncryptionKey:
    db = transaction.db
    found = _find(db, key, implied)
    if found.version == 1 and found.created_us == 0 and found.rotated_us == 0:
        transaction.write("INSERT OR IGNORE INTO encryption_keys VALUES (?, '', 0, 1, 1, 0)", (key,))
    transaction.write("UPDATE encryption_keys SET version = version + 1, rotated_us = ? WHERE id = ?", (transaction.now_us, key))
    return _find(db, key, False)


def _restore(transaction: Transaction, keys: list[EncryptionKey]) -> None:
    for key in keys:
        transaction.write("DELETE FROM encryption_keys WHERE id = ?", (key.id,))
        _insert(transaction, key)


def _key(found: Any) -> EncryptionKey:
    key, description, created_us, enabled, version, rotated_us = found
    return EncryptionKey(key, description, created_us, enabled == 1, version, rotated_us)
