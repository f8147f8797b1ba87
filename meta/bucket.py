"""A bucket's life and its settings."""

from __future__ import annotations

import apsw
import msgspec

from meta.lock import check_default
from meta.protocol.bucket import QUOTA_BYTES_MAX, BucketSettings, LockSettings
from meta.transaction import SETTINGS_KEY, ContainerTransaction, decode_settings
from meta.upload import abort_all
from node.errors import BucketNotEmpty, BucketNotFound, BucketOwned, BucketTaken, InvalidArgument, InvalidBucketState

_VERSIONING = ("Enabled", "Suspended")
_CONTENTS = "SELECT EXISTS (SELECT 1 FROM objects)"
_TO_DO = "SELECT EXISTS (SELECT 1 FROM deletions) OR EXISTS (SELECT 1 FROM stale_records) OR EXISTS (SELECT 1 FROM cold)"


def check_created(found_us: int, wanted_us: int) -> None:
    """wanted_us: 0 for whichever bucket there is. Raises: BucketNotFound when another one has the name now."""
    if wanted_us not in (0, found_us):
        raise BucketNotFound("the bucket is gone; another one has its name")


def create(transaction: ContainerTransaction, settings: BucketSettings) -> None:
    """A removed bucket is revived: its pending deletions and its numbers go on. Raises: BucketOwned, BucketTaken, InvalidBucketState."""
    found = transaction.db.execute("SELECT value FROM settings WHERE removed = 0").get
    if found is not None:
        if decode_settings(found).account == settings.account:
            raise BucketOwned("the bucket is yours already")
        raise BucketTaken("the bucket belongs to another account")
    if settings.object_lock and settings.versioning != "Enabled":
        raise InvalidBucketState("object lock needs versioning")
    transaction.write_settings(settings)
    _changed(transaction)


def change_settings(
    transaction: ContainerTransaction,
    versioning: str | None,
    acl: str | None,
    documents: dict[str, str | None] | None,
    lock: LockSettings | None = None,
    quota_bytes: int | None = None,
) -> BucketSettings:
    """A document of None is removed, a quota by 0; versioning never goes back to "", for versions may be there. Raises: InvalidArgument,
    InvalidBucketState."""
    settings = transaction.settings
    if versioning is not None:
        if versioning not in _VERSIONING:
            raise InvalidArgument("versioning is Enabled or Suspended")
        if settings.object_lock and versioning != "Enabled":
            raise InvalidBucketState("An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.")
    if lock is not None:
        settings = _with_lock(settings, lock)
    if quota_bytes is not None:
        settings = _with_quota(settings, quota_bytes)
    new = msgspec.structs.replace(
        settings,
        versioning=settings.versioning if versioning is None else versioning,
        acl=settings.acl if acl is None else acl,
        documents={name: text for name, text in {**settings.documents, **(documents or {})}.items() if text is not None},
    )
    if new != transaction.settings:
        transaction.write_settings(new)
        _changed(transaction)
    return new


def _with_lock(settings: BucketSettings, lock: LockSettings) -> BucketSettings:
    """Raises: InvalidArgument, InvalidBucketState."""
    if settings.versioning != "Enabled":
        raise InvalidBucketState("Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration")
    if lock.default is not None:
        check_default(lock.default)
    return msgspec.structs.replace(settings, object_lock=True, default_retention=lock.default)


def _with_quota(settings: BucketSettings, quota_bytes: int) -> BucketSettings:
    """Raises: InvalidArgument."""
    if not 0 <= quota_bytes <= QUOTA_BYTES_MAX:
        raise InvalidArgument(f"a quota is 1 to {QUOTA_BYTES_MAX} bytes, or 0 for none")
    return msgspec.structs.replace(settings, quota_bytes=quota_bytes)


def destroy(transaction: ContainerTransaction) -> None:
    """Uploads in progress go with their bucket, as S3 has it. The base stays for what is still to be deleted.

    Raises: BucketNotFound, BucketNotEmpty.
    """
    settings = transaction.settings
    if transaction.db.execute(_CONTENTS).get:
        raise BucketNotEmpty("the bucket still has objects, versions or delete markers")
    abort_all(transaction)
    # Nothing can be repeated or found by its content in a bucket that is gone.
    transaction.write("DELETE FROM completed")
    transaction.write("DELETE FROM stale_records")
    transaction.write_settings(settings, removed=True)
    _changed(transaction)


def _changed(transaction: ContainerTransaction) -> None:
    """The settings are repeated in a chunk, which is out of date now."""
    transaction.changed("settings", "", 0)
    transaction.stale(SETTINGS_KEY, 0)


def removed_settings(db: apsw.Connection) -> BucketSettings | None:
    """Of a bucket that was removed; None when it is there or never was."""
    found = db.execute("SELECT value FROM settings WHERE removed = 1").get
    return None if found is None else decode_settings(found)


def has_work(db: apsw.Connection) -> bool:
    """Whether deletions or records are to be done, or bytes to be moved."""
    return bool(db.execute(_TO_DO).get)
