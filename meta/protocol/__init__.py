"""What the metadata services answer, and in which words; the same in this process and over HTTP.

A module for each door, and one for each noun that several doors speak of. Values are msgspec structs (msgpack on the wire). `layout` is the
encoded content layout: opaque here, store/layout.py reads it.
"""

from meta.protocol.accounts import Accounts, KeyPair, Person
from meta.protocol.bucket import SYSTEM_BUCKET, BucketSettings, Counters, DefaultRetention, LockSettings
from meta.protocol.container import Container, DeleteResults, Deletions, Holders, Holdings, RecordsToSync
from meta.protocol.door import Meta
from meta.protocol.encryption import EncryptionKey, EncryptionKeys
from meta.protocol.folder import BROWSE_LIMIT_MAX, FOLDER_END, BrowsePage, Moved, Node, Peek
from meta.protocol.holding import BEGIN, Claim, Cursor, Holding, RecordToSync, Refill, Restored
from meta.protocol.identities import Account, Identities, NamedPolicy, Subject, User
from meta.protocol.jobs import Job, Jobs
from meta.protocol.listing import LIST_LIMIT_MAX, Listed, ListPage, ListRequest
from meta.protocol.object import (
    DELETE_MANY_MAX,
    NO_CONDITION,
    Append,
    Attributes,
    Change,
    Condition,
    DeleteRequest,
    DeleteResult,
    Dropped,
    ObjectRow,
    PutResult,
)
from meta.protocol.registry import BucketEntry, BucketRegistry
from meta.protocol.upload import PARTS_MAX, Complete, PartPage, PartRow, UploadPage, UploadRow, parts_digest

__all__ = [
    "BEGIN",
    "BROWSE_LIMIT_MAX",
    "DELETE_MANY_MAX",
    "FOLDER_END",
    "LIST_LIMIT_MAX",
    "NO_CONDITION",
    "PARTS_MAX",
    "SYSTEM_BUCKET",
    "Account",
    "Accounts",
    "Append",
    "Attributes",
    "BrowsePage",
    "BucketEntry",
    "BucketRegistry",
    "BucketSettings",
    "Change",
    "Claim",
    "Complete",
    "Condition",
    "Container",
    "Counters",
    "Cursor",
    "DefaultRetention",
    "DeleteRequest",
    "DeleteResult",
    "DeleteResults",
    "Deletions",
    "Dropped",
    "EncryptionKey",
    "EncryptionKeys",
    "Holders",
    "Holding",
    "Holdings",
    "Identities",
    "Job",
    "Jobs",
    "KeyPair",
    "ListPage",
    "ListRequest",
    "Listed",
    "LockSettings",
    "Meta",
    "Moved",
    "NamedPolicy",
    "Node",
    "ObjectRow",
    "PartPage",
    "PartRow",
    "Peek",
    "Person",
    "PutResult",
    "RecordToSync",
    "RecordsToSync",
    "Refill",
    "Restored",
    "Subject",
    "UploadPage",
    "UploadRow",
    "User",
    "parts_digest",
]
