"""Every error that Frazil raises on purpose; each is a situation, and knows whether trying again can help.

FrazilError
├── BadRequest                  the caller's fault; nothing was changed
│   ├── InvalidArgument         a value is out of its range or its form is wrong
│   ├── BodyTooLarge            more bytes than the limit of that body
│   ├── BodyIncomplete          the peer stopped before the length it announced
│   ├── BodyTooSlow             the peer sends below the least rate
│   ├── FrameMalformed          bytes that are no frame of the protocol, or none that may come now
│   └── ChecksumMismatch        the bytes that came are not the bytes that were announced
├── Denied                      the caller may not
│   ├── CallNotAuthenticated    an internal call without a valid proof of the namespace's key
│   ├── CustomerKeyWrong        an object is encrypted with another key than the one that the caller brings
│   └── EncryptionKeyDisabled   a key of the namespace that is switched off
├── NotFound
│   ├── AccountNotFound, UserNotFound, KeyPairNotFound, PolicyNotFound, BucketNotFound, ObjectNotFound, VersionNotFound, UploadNotFound
│   ├── EncryptionKeyNotFound
│   ├── ChunkNotFound, BaseNotFound, VolumeNotFound, JobNotFound, DiskNotFound
├── Conflict                    the state of things forbids it
│   ├── AlreadyExists, StillInUse, BucketTaken, BucketOwned, BucketNotEmpty, FolderNotEmpty
│   ├── PreconditionFailed      a condition of the request does not hold
│   ├── NotModified             If-None-Match / If-Modified-Since on a read
│   ├── Superseded              something newer is there (a part, an upload, a record)
│   ├── Locked                  retention or legal hold
│   ├── InvalidBucketState      the bucket's object lock or versioning does not go with it
│   ├── TokenReused             a token that makes a request repeatable came with another request before
│   ├── IsDeleteMarker          what only an object has is asked of a delete marker
│   ├── ChunkCold               the chunk's bytes lie on a sleeping disk
│   ├── ContentCold             too many of a content's chunks do; a thaw must be asked for
│   └── QuotaExceeded
├── Damaged                     stored bytes are not what was stored
│   ├── ChunkCorrupt, RecordCorrupt, BaseCorrupt
│   ├── ContentLost             more chunks of a metachunk are known to be missing or corrupt than its policy tolerates
│   ├── SealBroken              encrypted bytes are not what was sealed, or the key is another
│   └── VolumeForeign           a volume with another's identity
├── Unavailable                 the world is in the way now; transient unless said otherwise
│   ├── Busy, DeadlineExceeded, PeerUnreachable, ShuttingDown
│   │   └── NotConnected         a PeerUnreachable before anything was sent: the call was not made
│   ├── NotEnoughServices       fewer usable volumes than the policy needs
│   ├── ContentAway             too few chunks of a metachunk can be read now, but those that don't answer may be whole
│   ├── VolumeSick, VolumeFull, VolumeReadOnly
│   ├── DocumentUnreadable      what the services of a cluster agreed upon can't be read: what was known of it stands
│   ├── DiskAsleep              a cold disk has no power
│   ├── DiskFailed              a cold disk does not come up, or broke; trying again wears it out
│   ├── PowerBudgetSpent        as many cold disks are powered as may be
│   ├── BoardsMissing           bytes lie on cold disks of boards that this store was not started with
│   ├── NotLeader, Fenced, Behind
│   └── Undecided                a change that was sent to the peers of a base: whether it stays, the next leader finds out
│       └── Forgotten            whether a call was carried out can't be found out any more
├── ConfigError                 a configuration or option that can't be used
└── NotImplementedYet
"""

from __future__ import annotations

import msgspec


class FrazilError(Exception):
    """Base of all deliberate errors. `status` is the HTTP status between services; `transient` says that trying again can help."""

    status = 500
    transient = False
    detail = ""
    """What a program needs to know of it beside the words; crosses between services."""

    @property
    def code(self) -> str:
        return type(self).__name__


class BadRequest(FrazilError):
    status = 400


class InvalidArgument(BadRequest):
    pass


class BodyTooLarge(BadRequest):
    status = 413


class BodyIncomplete(BadRequest):
    pass


class BodyTooSlow(BadRequest):
    status = 408


class FrameMalformed(BadRequest):
    pass


class ChecksumMismatch(BadRequest):
    pass


class Denied(FrazilError):
    status = 403


class CallNotAuthenticated(Denied):
    status = 401


class CustomerKeyWrong(Denied):
    pass


class EncryptionKeyDisabled(Denied):
    pass


class NotFound(FrazilError):
    status = 404


class AccountNotFound(NotFound):
    pass


class UserNotFound(NotFound):
    pass


class KeyPairNotFound(NotFound):
    pass


class PolicyNotFound(NotFound):
    pass


class BucketNotFound(NotFound):
    pass


class ObjectNotFound(NotFound):
    pass


class VersionNotFound(NotFound):
    pass


class UploadNotFound(NotFound):
    pass


class EncryptionKeyNotFound(NotFound):
    pass


class JobNotFound(NotFound):
    pass


class ChunkNotFound(NotFound):
    pass


class BaseNotFound(NotFound):
    pass


class VolumeNotFound(NotFound):
    pass


class DiskNotFound(NotFound):
    pass


class Conflict(FrazilError):
    status = 409


class AlreadyExists(Conflict):
    pass


class StillInUse(Conflict):
    pass


class BucketTaken(Conflict):
    pass


class BucketOwned(Conflict):
    pass


class BucketNotEmpty(Conflict):
    pass


class FolderNotEmpty(Conflict):
    pass


class PreconditionFailed(Conflict):
    status = 412


class NotModified(Conflict):
    status = 304


class Superseded(Conflict):
    pass


class Locked(Conflict):
    status = 403


class InvalidBucketState(Conflict):
    pass


class IsDeleteMarker(Conflict):
    status = 405


class ChunkCold(Conflict):
    pass


class ContentCold(Conflict):
    pass


class TokenReused(Conflict):
    pass


class QuotaExceeded(Conflict):
    pass


class Damaged(FrazilError):
    status = 500


class ChunkCorrupt(Damaged):
    pass


class RecordCorrupt(Damaged):
    pass


class BaseCorrupt(Damaged):
    pass


class ContentLost(Damaged):
    pass


class SealBroken(Damaged):
    pass


class VolumeForeign(Damaged):
    pass


class Unavailable(FrazilError):
    status = 503
    transient = True


class Busy(Unavailable):
    pass


class DeadlineExceeded(Unavailable):
    pass


class PeerUnreachable(Unavailable):
    pass


class NotConnected(PeerUnreachable):
    pass


class ShuttingDown(Unavailable):
    pass


class NotEnoughServices(Unavailable):
    pass


class ContentAway(Unavailable):
    pass


class VolumeSick(Unavailable):
    pass


class VolumeFull(Unavailable):
    status = 507


class VolumeReadOnly(Unavailable):
    pass


class DocumentUnreadable(Unavailable):
    pass


class DiskAsleep(Unavailable):
    pass


class DiskFailed(Unavailable):
    transient = False


class PowerBudgetSpent(Unavailable):
    pass


class BoardsMissing(Unavailable):
    pass


class Undecided(Unavailable):
    pass


class Forgotten(Undecided):
    """Asking again can't tell either."""

    transient = False


class NotLeader(Unavailable):
    status = 421


class Fenced(Unavailable):
    transient = False
    status = 409


class Behind(Unavailable):
    status = 409


class ConfigError(FrazilError):
    status = 500


class NotImplementedYet(FrazilError):
    status = 501


class WireError(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error as it crosses between services."""

    code: str
    message: str = ""
    detail: str = ""


def encode_error(error: FrazilError) -> bytes:
    """The JSON body that carries an error to the peer."""
    return msgspec.json.encode(WireError(error.code, str(error), error.detail))


def decode_error(body: bytes, status: int) -> FrazilError:
    """The error a peer sent; an unknown or unreadable one becomes Unavailable (5xx) or BadRequest (4xx)."""
    try:
        wire = msgspec.json.decode(body, type=WireError)
    except msgspec.DecodeError:
        wire = WireError("", f"peer answered {status}")
    kind = _LEAVES.get(wire.code) or (Unavailable if status >= 500 else BadRequest)
    error = kind(wire.message)
    error.detail = wire.detail
    return error


def _leaves(kind: type[FrazilError]) -> dict[str, type[FrazilError]]:
    found = {kind.__name__: kind}
    for child in kind.__subclasses__():
        found |= _leaves(child)
    return found


_LEAVES = _leaves(FrazilError)
