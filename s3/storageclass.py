"""Storage classes by S3's names, and what answers say of restores. Pure.

STANDARD_IA, ONEZONE_IA, INTELLIGENT_TIERING, REDUCED_REDUNDANCY and GLACIER_IR are read like STANDARD. GLACIER and DEEP_ARCHIVE are read
after a restore only, also while their bytes are still, or only, on the volumes: clients meet one behaviour, whatever the tier below does.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-class-intro.html, API_HeadObject.html, API_RestoreStatus.html
"""

from __future__ import annotations

from meta.protocol.object import ObjectRow
from meta.protocol.restore import COLD_CLASSES, Restore, is_readable, restore_of
from s3.errors import S3Error
from s3.moment import http_date, iso_date

STANDARD = "STANDARD"
STORAGE_CLASSES = COLD_CLASSES | {STANDARD, "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"}
_RESTORE = b"x-amz-restore"


def parse_class(name: str) -> str:
    """Raises: InvalidStorageClass."""
    if name not in STORAGE_CLASSES:
        raise S3Error("InvalidStorageClass", StorageClassRequested=name)
    return name


def require_readable(row: ObjectRow, now_us: int) -> None:
    """Raises: InvalidObjectState for an object that must be restored first."""
    if row.storage_class in COLD_CLASSES and not is_readable(row, now_us):
        raise S3Error("InvalidObjectState", "The operation is not valid for the object's storage class", StorageClass=row.storage_class)


def class_headers(row: ObjectRow, now_us: int) -> list[tuple[bytes, bytes]]:
    """x-amz-storage-class of what is not STANDARD, and x-amz-restore of what is being restored or is."""
    headers = [(b"x-amz-storage-class", row.storage_class.encode("ascii"))]
    restore = current_restore(restore_of(row.attributes), now_us)
    if restore is not None and restore.ongoing:
        headers.append((_RESTORE, b'ongoing-request="true"'))
    elif restore is not None:
        headers.append((_RESTORE, b'ongoing-request="false", expiry-date="%b"' % http_date(restore.until_us)))
    return headers


def restore_status(restore: Restore | None, now_us: int) -> str:
    """<RestoreStatus> of a listing."""
    restore = current_restore(restore, now_us)
    if restore is None:
        return ""
    if restore.ongoing:
        return "<RestoreStatus><IsRestoreInProgress>true</IsRestoreInProgress></RestoreStatus>"
    return (
        "<RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress>"
        f"<RestoreExpiryDate>{iso_date(restore.until_us)}</RestoreExpiryDate></RestoreStatus>"
    )


def current_restore(restore: Restore | None, now_us: int) -> Restore | None:
    """None for one whose copy has had its time, though nobody has taken it away yet."""
    return None if restore is None or (not restore.ongoing and restore.until_us <= now_us) else restore
