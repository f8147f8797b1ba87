"""How a command ends: the exit codes, and the translation of every error into one of them and into words."""

from __future__ import annotations

import enum
import errno
from collections.abc import Iterator, Sequence

from node import errors


class Exit(enum.IntEnum):
    """Exit codes are interface: scripts branch on them, so a number never changes its meaning."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    DENIED = 4
    TEMPORARY = 5
    PARTIAL = 6
    DAMAGED = 7
    CONFLICT = 8
    NOTHING_DONE = 9
    NEEDS_RESTORE = 10
    WARNINGS = 11
    INTERRUPTED = 130
    PIPE = 141


class NeedsRestore(errors.Conflict):
    """The object lies in the cold tier; its bytes have to be asked for first."""


class RestoreUnderWay(errors.Conflict):
    """The object is being restored already."""


class Hinted(errors.FrazilError):
    """An error with its next step: `str()` is the cause, `hint` what to do, `exit` the code."""

    def __init__(self, message: str, hint: str = "", *, code: Exit = Exit.FAILED) -> None:
        super().__init__(message)
        self.hint = hint
        self.exit = code


_BY_KIND: tuple[tuple[type[BaseException], Exit], ...] = (  # the first that fits
    (NeedsRestore, Exit.NEEDS_RESTORE),
    (errors.ChecksumMismatch, Exit.DAMAGED),
    (errors.Damaged, Exit.DAMAGED),
    (errors.NotFound, Exit.NOT_FOUND),
    (errors.Denied, Exit.DENIED),
    (errors.Locked, Exit.DENIED),
    (errors.Conflict, Exit.CONFLICT),
    (errors.DiskFailed, Exit.FAILED),
    (errors.Unavailable, Exit.TEMPORARY),
    (errors.ConfigError, Exit.USAGE),
    (FileNotFoundError, Exit.NOT_FOUND),
    (PermissionError, Exit.DENIED),
    (FileExistsError, Exit.CONFLICT),
    (BrokenPipeError, Exit.PIPE),
    (TimeoutError, Exit.TEMPORARY),
    (ConnectionError, Exit.TEMPORARY),
    (KeyboardInterrupt, Exit.INTERRUPTED),
)

_TEMPORARY_ERRNO = {errno.EAGAIN, errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM}

_HINTS: tuple[tuple[type[BaseException], str], ...] = (
    (NeedsRestore, "bring it back with `frazil restore --wait`, then try again"),
    (errors.BucketNotFound, "list the buckets with `frazil ls`, or make it with `frazil mb`"),
    (errors.ObjectNotFound, "list what is there with `frazil ls`"),
    (errors.BucketNotEmpty, "remove its objects too with `frazil rb --force`"),
    (errors.CallNotAuthenticated, "check that this user may read secret.key of the store"),
    (errors.Denied, "check the key with `frazil key list`, or use another with --profile"),
    (errors.Damaged, "see what is affected with `frazil verify`"),
    (errors.ChecksumMismatch, "run it again; if it stays, see `frazil verify` and the memory of this host"),
    (errors.PeerUnreachable, "check that the store runs: `frazil status`"),
    (errors.VolumeFull, "free space or add a volume; see `frazil status`"),
    (errors.DiskNotFound, "list the disks with `frazil freezer list`"),
    (errors.DiskFailed, "see `frazil freezer show`; when its cause is gone, `frazil freezer power on --force` tries again"),
    (errors.PowerBudgetSpent, "switch another off with `frazil freezer power off`, or wait until its worker does"),
    (errors.DiskAsleep, "switch it on with `frazil freezer power on`"),
    (errors.Unavailable, "try again; `frazil status` shows what is wrong"),
)


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors inside (nested) exception groups, in order; the error itself when it is no group."""
    if isinstance(error, BaseExceptionGroup):
        for child in error.exceptions:
            yield from leaves(child)
    else:
        yield error


def main_cause(error: BaseException) -> BaseException:
    """The one error of a group that the user should read: an interrupt or a closed pipe first, then deliberate errors, then the rest."""
    found = list(leaves(error))
    for kind in (KeyboardInterrupt, BrokenPipeError, errors.FrazilError, OSError):
        for leaf in found:
            if isinstance(leaf, kind):
                return leaf
    return found[0]


def to_exit(error: BaseException) -> Exit:
    """The exit code for an error."""
    cause = main_cause(error)
    if isinstance(cause, Hinted):
        return cause.exit
    for kind, code in _BY_KIND:
        if isinstance(cause, kind):
            return code
    if isinstance(cause, OSError) and cause.errno in _TEMPORARY_ERRNO:
        return Exit.TEMPORARY
    return Exit.FAILED


def to_words(error: BaseException) -> tuple[str, str]:
    """(cause, next step) of an error, each one line; the next step may be ""."""
    cause = main_cause(error)
    if isinstance(cause, Hinted):
        return str(cause), cause.hint
    hint = next((text for kind, text in _HINTS if isinstance(cause, kind)), "")
    if isinstance(cause, OSError) and cause.strerror:
        names = [str(name) for name in (cause.filename, cause.filename2) if name is not None]
        return ": ".join([*names, cause.strerror]), hint
    if isinstance(cause, errors.FrazilError):
        return " ".join(str(cause).split()) or cause.code, hint
    return f"unexpected {type(cause).__name__}: {' '.join(str(cause).split())}", "set FRAZIL_DEBUG=1 to see where, and report it"


def combined(codes: Sequence[Exit], successes: int) -> Exit:
    """One exit code for many operations of which those in `codes` failed.

    Some succeeded: PARTIAL. None did: what they failed of when that is the same for all, else FAILED.
    """
    if not codes:
        return Exit.OK
    if successes:
        return Exit.PARTIAL
    return codes[0] if len(set(codes)) == 1 else Exit.FAILED
