"""Errors of the store as system calls return them: this edge's one translation."""

from __future__ import annotations

import errno

from fs.name import NameTooLong, NameUnusable
from node import errors

_BY_KIND: tuple[tuple[type[BaseException], int], ...] = (  # the first that fits
    (NameTooLong, errno.ENAMETOOLONG),
    (NameUnusable, errno.EILSEQ),
    (UnicodeDecodeError, errno.EILSEQ),
    (errors.BucketNotEmpty, errno.ENOTEMPTY),
    (errors.FolderNotEmpty, errno.ENOTEMPTY),
    (errors.AlreadyExists, errno.EEXIST),
    (errors.BucketTaken, errno.EEXIST),
    (errors.BucketOwned, errno.EEXIST),
    (errors.PreconditionFailed, errno.EEXIST),
    (errors.QuotaExceeded, errno.EDQUOT),
    (errors.Locked, errno.EPERM),
    (errors.Superseded, errno.ESTALE),
    (errors.Conflict, errno.EBUSY),
    (errors.VolumeFull, errno.ENOSPC),
    (errors.VolumeReadOnly, errno.EROFS),
    (errors.NotFound, errno.ENOENT),
    (errors.Denied, errno.EACCES),
    (errors.BadRequest, errno.EINVAL),
    (errors.NotImplementedYet, errno.EOPNOTSUPP),
    (errors.FrazilError, errno.EIO),
)


def to_errno(error: BaseException) -> int:
    """Damage and a store that doesn't answer are EIO: a program must not take them for something that it can wait for."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    for kind, number in _BY_KIND:
        if isinstance(error, kind):
            return number
    return errno.EIO
