"""Folders moved, exchanged and removed as a file system does it: each in one transaction, with its conditions decided inside.

A folder is every current object under a prefix that ends in a slash; an object with the prefix as its very key, if there is one, is the
folder's own.
"""

from __future__ import annotations

from meta.browse import find_folder, has_others
from meta.protocol.folder import FOLDER_END, Moved
from meta.protocol.object import NO_CONDITION, DeleteRequest, DeleteResult, Dropped
from meta.rename import rename, rename_prefix
from meta.row import find
from meta.transaction import ContainerTransaction
from meta.version import delete
from node.errors import AlreadyExists, FolderNotEmpty, InvalidArgument, ObjectNotFound

_ASIDE = "\0"
"""Where what is exchanged lies for a moment; no transaction ends with anything there."""


def move_folder(transaction: ContainerTransaction, source: str, target: str, replace: bool, owner: str) -> Moved:
    """Raises: BucketNotFound, ObjectNotFound, AlreadyExists, FolderNotEmpty, Locked, InvalidArgument."""
    _check_folder(source, target)
    if target.startswith(source):
        raise InvalidArgument("a folder can't be moved into itself")
    if not find_folder(transaction.db, source)[0]:
        _ = transaction.settings
        raise ObjectNotFound("there is no such folder")
    there, marker = find_folder(transaction.db, target)
    if there and not replace:
        raise AlreadyExists("there is a folder of that name")
    if there and has_others(transaction.db, target):
        raise FolderNotEmpty("the folder to be replaced is not empty")
    dropped: tuple[Dropped, ...] = ()
    if marker is not None:
        dropped = delete(transaction, DeleteRequest(target, owner=owner)).dropped
    return Moved(rename_prefix(transaction, source, target, False), dropped)


def exchange(transaction: ContainerTransaction, one: str, other: str) -> Moved:
    """Raises: BucketNotFound, ObjectNotFound, AlreadyExists, Locked, InvalidArgument."""
    if one == other or (one.endswith(FOLDER_END) and other.startswith(one)) or (other.endswith(FOLDER_END) and one.startswith(other)):
        raise InvalidArgument("what is exchanged must not lie in each other")
    for key in (one, other):
        if key.endswith(FOLDER_END) and not find_folder(transaction.db, key)[0]:
            raise ObjectNotFound("there is no such folder")
    if one.endswith(FOLDER_END) != other.endswith(FOLDER_END):
        for key in (_as(one, other), _as(other, one)):
            _check_free(transaction, key)
    aside = _ASIDE + (FOLDER_END if one.endswith(FOLDER_END) else "")
    return Moved(_move(transaction, one, aside) + _move(transaction, other, _as(one, other)) + _move(transaction, aside, _as(other, one)))


def remove_folder(transaction: ContainerTransaction, prefix: str, owner: str) -> DeleteResult:
    """Raises: BucketNotFound, ObjectNotFound, FolderNotEmpty, Locked."""
    _check_folder(prefix)
    there, marker = find_folder(transaction.db, prefix)
    if not there:
        _ = transaction.settings
        raise ObjectNotFound("there is no such folder")
    if has_others(transaction.db, prefix):
        raise FolderNotEmpty("the folder is not empty")
    assert marker is not None
    return delete(transaction, DeleteRequest(prefix, owner=owner))


def _check_free(transaction: ContainerTransaction, key: str) -> None:
    """A key may be an object and, with a slash, a folder as well; what comes there must cover neither. Raises: AlreadyExists."""
    there = find_folder(transaction.db, key)[0] if key.endswith(FOLDER_END) else _is_there(transaction, key)
    if there:
        raise AlreadyExists("beside one of the two there is something that has the other's name already")


def _is_there(transaction: ContainerTransaction, key: str) -> bool:
    found = find(transaction.db, key, None)
    return found is not None and not found.marker


def _as(place: str, what: str) -> str:
    """The key that the second has in the place of the first: a folder's ends in a slash."""
    bare = place.removesuffix(FOLDER_END)
    return bare + FOLDER_END if what.endswith(FOLDER_END) else bare


def _move(transaction: ContainerTransaction, source: str, target: str) -> int:
    if source.endswith(FOLDER_END):
        return rename_prefix(transaction, source, target, False)
    rename(transaction, source, target, NO_CONDITION, NO_CONDITION)
    return 1


def _check_folder(*prefixes: str) -> None:
    for prefix in prefixes:
        if not prefix.endswith(FOLDER_END):
            raise InvalidArgument("a folder's key ends in a slash")
