"""Accounts, their access keys and their buckets: one base.

Secrets lie sealed in the base. Looking up a key is on the path of every request, so opened pairs are kept in memory for as long as
nobody, in no process of this host, wrote to the base: SQLite's data_version tells (4 us).
"""

from __future__ import annotations

import re
import secrets
import string
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any

import apsw
import msgspec

from meta.base import Base
from meta.kind import Kind, Transaction
from meta.listing import successor
from meta.protocol.accounts import KeyPair, Person
from meta.protocol.identities import Account
from meta.protocol.registry import BucketEntry
from node.auth import NamespaceKey
from node.errors import AlreadyExists, InvalidArgument, KeyPairNotFound, PolicyNotFound, RecordCorrupt

ACCOUNTS = Kind(name="accounts", format=3, tables=("accounts", "users", "keys", "policies", "buckets"), transaction=Transaction)

ACCESS_KEY_ALPHABET = string.ascii_uppercase + "234567"
ACCESS_KEY_CHARACTERS = 20
SECRET_ALPHABET = string.ascii_letters + string.digits
SECRET_CHARACTERS = 40
"""238 random bits."""
BUCKETS_PAGE_MAX = 10_000
OPENED_PAIRS_MAX = 10_000
DUMP_VERSION = 1
_ACCESS_KEY = re.compile(r"[A-Za-z0-9_.-]{3,128}")
_SECRET = re.compile(r"[\x21-\x7e]{8,256}")
_COLUMNS = "access_key, account, name, user_id, display_name, email, created_us, suspended, admin, policy, sealed"


class LocalAccounts:
    """Implements meta.protocol.accounts.Accounts on a base of this host."""

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

    async def dump(self) -> bytes:
        return self._base.read(_dump)

    async def restore(self, dump: bytes) -> None:
        try:
            tables = msgspec.json.decode(dump, type=_Dump)
        except msgspec.DecodeError as error:
            raise RecordCorrupt(f"the dump of the accounts is not readable: {error}") from error
        await self._base.write(_restore, tables)

    def _look_up(self, db: apsw.Connection, access_key: str) -> KeyPair:
        opened_from = (db, db.execute("PRAGMA data_version").get)
        if opened_from != self._opened_from or len(self._opened) > OPENED_PAIRS_MAX:
            self._opened.clear()
            self._opened_from = opened_from
        pair = self._opened.get(access_key)
        if pair is None:
            found = db.execute(_FIND_KEYS + " WHERE access_key = ?", (access_key,)).get
            if found is None:
                raise KeyPairNotFound("there is no such access key")
            secret = self._key.unseal(found[_SEALED], _context(access_key)).decode()
            pair = msgspec.structs.replace(_pair(found, secret), boundaries=_boundaries(db, found[-1], found[_POLICY]))
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
    check_policies(db, pair.policies)
    account = ensure_account(transaction, pair)
    # All keys of an account are one user to S3 unless told otherwise.
    pair = msgspec.structs.replace(
        pair,
        user_id=pair.user_id or account.user_id,
        display_name=pair.display_name or account.display_name,
        created_us=pair.created_us or transaction.now_us,
        suspended_by="key" if pair.suspended else "",
    )
    transaction.write("INSERT OR IGNORE INTO users VALUES (?, ?, ?, 0, '')", (pair.account, pair.name, transaction.now_us))
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
            encode_names(pair.policies),
            sealed,
        ),
    )
    return pair


def ensure_account(transaction: Transaction, pair: KeyPair) -> Account:
    """The account of a new key, made when it is new; its first key gives it its canonical id, display name and e-mail address."""
    found = transaction.db.execute(f"{FIND_ACCOUNTS} WHERE account = ?", (pair.account,)).get
    if found is not None and found[1]:
        return account_of(found)
    account = Account(
        pair.account,
        pair.user_id or secrets.token_hex(32),
        pair.display_name or pair.account,
        pair.email,
        transaction.now_us if found is None else found[4],
    )
    write_account(transaction, account)
    return account


FIND_ACCOUNTS = "SELECT account, user_id, display_name, email, created_us, suspended FROM accounts"


def account_of(found: Any) -> Account:
    account, user_id, display_name, email, created_us, suspended = found
    return Account(account, user_id, display_name, email, created_us, suspended == 1)


def write_account(transaction: Transaction, account: Account) -> None:
    transaction.write(
        "INSERT OR REPLACE INTO accounts(account, user_id, display_name, email, created_us, suspended) VALUES (?, ?, ?, ?, ?, ?)",
        (account.account, account.user_id, account.display_name, account.email, account.created_us, account.suspended),
    )


def check_policies(db: apsw.Connection, names: Sequence[str]) -> None:
    """Raises: PolicyNotFound."""
    for name in names:
        if db.execute("SELECT 1 FROM policies WHERE name = ?", (name,)).get is None:
            raise PolicyNotFound(f"there is no policy {name}")


def encode_names(names: Sequence[str]) -> str:
    return msgspec.json.encode(list(names)).decode() if names else ""


def decode_names(text: str) -> tuple[str, ...]:
    return msgspec.json.decode(text, type=tuple[str, ...]) if text else ()


def _boundaries(db: apsw.Connection, *attached: str | None) -> tuple[tuple[str, ...], ...]:
    """Texts of the policies of each group that has any. A policy that is not there has no text, and so allows nothing."""
    groups = []
    for text in attached:
        if text:
            found = dict(db.execute("SELECT name, text FROM policies"))
            groups.append(tuple(found.get(name, "") for name in decode_names(text)))
    return tuple(groups)


def _revoke_key(transaction: Transaction, access_key: str) -> None:
    if not transaction.write("DELETE FROM keys WHERE access_key = ?", (access_key,)):
        raise KeyPairNotFound("there is no such access key")


def _keys(db: apsw.Connection) -> list[KeyPair]:
    return [_pair(found, "") for found in db.execute(_FIND_KEYS + " ORDER BY keys.account, keys.created_us, access_key")]


def _people(db: apsw.Connection, user_id: str, email: str) -> list[Person]:
    """An account speaks for its canonical id; for one that only keys have, the oldest of them does."""
    if email:
        condition, value = "lower(email) = lower(?1)", email
    elif user_id:
        condition, value = "user_id = ?1", user_id
    else:
        return []
    found = db.execute(
        f"SELECT user_id, account, display_name, email, 0, created_us, '' AS access_key FROM accounts WHERE {condition}"
        f" UNION ALL SELECT user_id, account, display_name, email, 1, created_us, access_key FROM keys WHERE {condition} ORDER BY 5, 6, 7",
        (value,),
    )
    return list({row[0]: Person(*row[:4]) for row in reversed(found.fetchall())}.values())


_FIND_KEYS = (
    "SELECT access_key, keys.account, name, keys.user_id, keys.display_name, keys.email, keys.created_us, keys.suspended, admin, policy,"
    " sealed, coalesce(users.suspended, 0), coalesce(accounts.suspended, 0), users.policies"
    " FROM keys LEFT JOIN users ON users.account = keys.account AND users.user = keys.name"
    " LEFT JOIN accounts ON accounts.account = keys.account"
)
_POLICY, _SEALED = 9, 10


def _pair(found: Any, secret: str) -> KeyPair:
    access_key, account, name, user_id, display_name, email, created_us, suspended, admin, policy, _, by_user, by_account, _ = found
    by = "account" if by_account else "user" if by_user else "key" if suspended else ""
    return KeyPair(
        access_key,
        account,
        name,
        user_id,
        display_name,
        email,
        secret,
        created_us,
        suspended=bool(by),
        admin=admin == 1,
        policies=decode_names(policy),
        suspended_by=by,
    )


class _Dump(msgspec.Struct, frozen=True):
    """Table by table: names of the columns, then rows. Blobs are written {"base64": text}."""

    tables: dict[str, tuple[list[str], list[list[str | int | dict[str, str] | None]]]]
    v: int = DUMP_VERSION


def _dump(db: apsw.Connection) -> bytes:
    """Every table that replicates but `buckets`, which the buckets' own settings tell."""
    db.execute("BEGIN")
    try:
        tables = {}
        for table in ACCOUNTS.tables:
            if table != "buckets":
                cursor = db.execute(f"SELECT * FROM {table} ORDER BY 1, 2")
                rows: list[Any] = cursor.fetchall()
                columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
                tables[table] = (columns, [[_plain(value) for value in row] for row in rows])
    finally:
        db.execute("COMMIT")
    return msgspec.json.format(msgspec.json.encode(_Dump(tables)), indent=1)


def _plain(value: Any) -> Any:
    return {"base64": b64encode(value).decode()} if isinstance(value, bytes) else value


def _restore(transaction: Transaction, dump: _Dump) -> None:
    db = transaction.db
    for table, (columns, rows) in dump.tables.items():
        known = {row[1] for row in db.execute("SELECT * FROM pragma_table_info(?)", (table,))} if table in ACCOUNTS.tables else set()
        if not columns or not known.issuperset(columns):
            raise RecordCorrupt(f"the dump of the accounts has a table {table} that this Frazil does not know")
        places = ", ".join("?" * len(columns))
        for row in rows:
            values = tuple([b64decode(value["base64"]) if isinstance(value, dict) else value for value in row])
            transaction.write(f"INSERT OR IGNORE INTO {table}({', '.join(columns)}) VALUES ({places})", values)


def _add_bucket(transaction: Transaction, entry: BucketEntry) -> None:
    transaction.write("INSERT OR IGNORE INTO accounts(account, created_us) VALUES (?, ?)", (entry.account, transaction.now_us))
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
