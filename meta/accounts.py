"""Accounts, their access keys and their buckets: one base.

Secrets lie sealed in the base. Looking up a key is on the path of every request, so opened pairs are kept in memory for as long as
nobody, in no process of this host, wrote to the base: SQLite's data_version tells (4 us).
"""

from __future__ import annotations

import re
import secrets
import string
from typing import Any

import apsw
import msgspec

from meta.base import Base
from meta.kind import Kind, Transaction
from meta.listing import successor
from meta.protocol import BucketEntry, KeyPair, Person
from node.auth import NamespaceKey
from node.errors import AlreadyExists, InvalidArgument, KeyPairNotFound

ACCOUNTS = Kind(name="accounts", format=2, tables=("accounts", "keys", "buckets"), transaction=Transaction)

ACCESS_KEY_ALPHABET = string.ascii_uppercase + "234567"
ACCESS_KEY_CHARACTERS = 20
SECRET_ALPHABET = string.ascii_letters + string.digits
SECRET_CHARACTERS = 40
"""238 random bits."""
BUCKETS_PAGE_MAX = 10_000
OPENED_PAIRS_MAX = 10_000
_ACCESS_KEY = re.compile(r"[A-Za-z0-9_.-]{3,128}")
_SECRET = re.compile(r"[\x21-\x7e]{8,256}")
_COLUMNS = "access_key, account, name, user_id, display_name, email, created_us, suspended, admin, policy, sealed"


class LocalAccounts:
    """Implements meta.protocol.Accounts on a base of this host."""

    def __init__(self, base: Base[Transaction], key: NamespaceKey) -> None:
        self._base = base
        self._key = key
        self._opened: dict[str, KeyPair] = {}
        self._opened_from: tuple[apsw.Connection | None, int] = (None, 0)

    def __repr__(self) -> str:
        return f"<LocalAccounts opened={len(self._opened)}>"

    async def create_key(self, pair: KeyPair) -> KeyPair:
        made = completed(pair)
        sealed = self._key.seal(made.secret.encode(), _context(made.access_key))
        return await self._base.write(_create_key, made, sealed)

    async def key(self, access_key: str) -> KeyPair:
        return self._base.read(self._look_up, access_key)

    async def keys(self) -> list[KeyPair]:
        """Without secrets."""
        return self._base.read(_keys)

    async def people(self, *, user_id: str = "", email: str = "") -> list[Person]:
        return self._base.read(_people, user_id, email)

    async def revoke_key(self, access_key: str) -> None:
        await self._base.write(_revoke_key, access_key)

    async def add_bucket(self, entry: BucketEntry) -> None:
        await self._base.write(_add_bucket, entry)

    async def remove_bucket(self, account: str, bucket: str) -> None:
        await self._base.write(_remove_bucket, account, bucket)

    async def buckets(self, account: str, *, prefix: str = "", after: str = "", limit: int = BUCKETS_PAGE_MAX) -> list[BucketEntry]:
        return self._base.read(_buckets, account, prefix, after, min(limit, BUCKETS_PAGE_MAX))

    def _look_up(self, db: apsw.Connection, access_key: str) -> KeyPair:
        opened_from = (db, db.execute("PRAGMA data_version").get)
        if opened_from != self._opened_from or len(self._opened) > OPENED_PAIRS_MAX:
            self._opened.clear()
            self._opened_from = opened_from
        pair = self._opened.get(access_key)
        if pair is None:
            found = db.execute(f"SELECT {_COLUMNS} FROM keys WHERE access_key = ?", (access_key,)).get
            if found is None:
                raise KeyPairNotFound("there is no such access key")
            pair = _pair(found, self._key.unseal(found[-1], _context(access_key)).decode())
            self._opened[access_key] = pair
        return pair


def completed(pair: KeyPair) -> KeyPair:
    """With an access key, a secret and an account. Raises: InvalidArgument when what is given can't be used."""
    if bool(pair.access_key) != bool(pair.secret):
        raise InvalidArgument("an imported key needs both its access key and its secret")
    access_key = pair.access_key or "".join(secrets.choice(ACCESS_KEY_ALPHABET) for _ in range(ACCESS_KEY_CHARACTERS))
    secret = pair.secret or "".join(secrets.choice(SECRET_ALPHABET) for _ in range(SECRET_CHARACTERS))
    if not _ACCESS_KEY.fullmatch(access_key):
        raise InvalidArgument("an access key has 3 to 128 characters of A-Z a-z 0-9 _ . -")
    if not _SECRET.fullmatch(secret):
        raise InvalidArgument("a secret has 8 to 256 printable ASCII characters without spaces")
    account = pair.account or pair.name
    if not account:
        raise InvalidArgument("a key needs an account or a name")
    return msgspec.structs.replace(pair, access_key=access_key, secret=secret, account=account)


def _context(access_key: str) -> bytes:
    """Binds a sealed secret to its row: moved to another access key it does not open."""
    return b"access key " + access_key.encode()


def _create_key(transaction: Transaction, pair: KeyPair, sealed: bytes) -> KeyPair:
    db = transaction.db
    if db.execute("SELECT 1 FROM keys WHERE access_key = ?", (pair.access_key,)).get is not None:
        raise AlreadyExists(f"there is an access key {pair.access_key} already")
    transaction.write("INSERT OR IGNORE INTO accounts VALUES (?, ?)", (pair.account, transaction.now_us))
    # All keys of an account are one user to S3 unless told otherwise.
    user_id = (
        pair.user_id
        or db.execute("SELECT user_id FROM keys WHERE account = ? ORDER BY created_us LIMIT 1", (pair.account,)).get
        or secrets.token_hex(32)
    )
    pair = msgspec.structs.replace(
        pair, user_id=user_id, display_name=pair.display_name or pair.account, created_us=pair.created_us or transaction.now_us
    )
    transaction.write(
        f"INSERT INTO keys({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            pair.access_key,
            pair.account,
            pair.name,
            pair.user_id,
            pair.display_name,
            pair.email,
            pair.created_us,
            pair.suspended,
            pair.admin,
            pair.policy,
            sealed,
        ),
    )
    return pair


def _revoke_key(transaction: Transaction, access_key: str) -> None:
    if not transaction.write("DELETE FROM keys WHERE access_key = ?", (access_key,)):
        raise KeyPairNotFound("there is no such access key")


def _keys(db: apsw.Connection) -> list[KeyPair]:
    return [_pair(found, "") for found in db.execute(f"SELECT {_COLUMNS} FROM keys ORDER BY account, created_us, access_key")]


def _people(db: apsw.Connection, user_id: str, email: str) -> list[Person]:
    """The oldest key of a canonical id speaks for it."""
    found = db.execute(
        "SELECT user_id, account, display_name, email FROM keys"
        " WHERE (user_id = ?1 AND ?1 != '') OR (lower(email) = lower(?2) AND ?2 != '') ORDER BY created_us, access_key",
        (user_id, email),
    )
    return list({row[0]: Person(*row) for row in reversed(found.fetchall())}.values())


def _pair(found: Any, secret: str) -> KeyPair:
    access_key, account, name, user_id, display_name, email, created_us, suspended, admin, policy, _ = found
    return KeyPair(access_key, account, name, user_id, display_name, email, secret, created_us, suspended == 1, admin == 1, policy)


def _add_bucket(transaction: Transaction, entry: BucketEntry) -> None:
    transaction.write("INSERT OR IGNORE INTO accounts VALUES (?, ?)", (entry.account, transaction.now_us))
    transaction.write("INSERT OR IGNORE INTO buckets VALUES (?, ?, ?, ?)", (entry.account, entry.bucket, entry.created_us, entry.region))


def _remove_bucket(transaction: Transaction, account: str, bucket: str) -> None:
    transaction.write("DELETE FROM buckets WHERE account = ? AND bucket = ?", (account, bucket))


def _buckets(db: apsw.Connection, account: str, prefix: str, after: str, limit: int) -> list[BucketEntry]:
    stop = successor(prefix)
    found = db.execute(
        "SELECT bucket, account, created_us, region FROM buckets WHERE (?1 = '' OR account = ?1)"
        " AND bucket >= ?2 AND bucket > ?3 AND (?4 IS NULL OR bucket < ?4) ORDER BY bucket LIMIT ?5",
        (account, prefix, after, stop, limit),
    )
    return [BucketEntry(*row) for row in found]
