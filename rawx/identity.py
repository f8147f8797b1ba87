"""Whose a volume is: `user.frazil.volume` on its root, checked before anything is served."""

from __future__ import annotations

import errno
import os

import msgspec

from node.errors import ConfigError, VolumeForeign, VolumeNotFound

VOLUME_ATTRIBUTE = "user.frazil.volume"
IDENTITY_VERSION = 1
_HARMLESS_NAMES = frozenset({"lost+found"})


class Identity(msgspec.Struct, frozen=True):
    """id: of this volume, for ever; namespace: the installation it belongs to."""

    id: str
    namespace: str
    v: int = IDENTITY_VERSION


def read_identity(root: int | str) -> Identity | None:
    """None when there is none. Raises: VolumeForeign when it can't be understood, ConfigError without extended attributes, OSError."""
    try:
        data = os.getxattr(root, VOLUME_ATTRIBUTE)
    except OSError as error:
        if error.errno == errno.ENODATA:
            return None
        if error.errno == errno.EOPNOTSUPP:
            raise ConfigError("the file system has no user extended attributes; Frazil needs them (ext4, XFS, Btrfs have them)") from error
        raise
    try:
        identity = msgspec.json.decode(data, type=Identity)
    except msgspec.DecodeError as error:
        raise VolumeForeign(f"{VOLUME_ATTRIBUTE} is not readable: {error}") from error
    if identity.v != IDENTITY_VERSION:
        raise VolumeForeign(f"the volume's identity has version {identity.v}, this Frazil knows {IDENTITY_VERSION}")
    return identity


def claim(root: int, path: str, namespace: str, volume_id: str | None, *, create: bool) -> Identity:
    """The volume's identity, written first when `create` allows it and the folder is empty.

    Raises: VolumeForeign when it is another's, VolumeNotFound when it has none and none may be written, ConfigError, OSError.
    """
    identity = read_identity(root)
    if identity is None:
        if not create:
            raise VolumeNotFound(f"{path} carries no identity of a volume: is the disk mounted there?")
        if set(os.listdir(root)) - _HARMLESS_NAMES:
            raise VolumeForeign(f"{path} holds files but no identity of a volume: a new volume needs an empty folder")
        identity = Identity(volume_id or os.urandom(8).hex(), namespace)
        os.setxattr(root, VOLUME_ATTRIBUTE, msgspec.json.encode(identity))
        os.fsync(root)
    if identity.namespace != namespace:
        raise VolumeForeign(f"{path} belongs to namespace {identity.namespace}, not {namespace}")
    if volume_id is not None and identity.id != volume_id:
        raise VolumeForeign(f"{path} is volume {identity.id}, not {volume_id}")
    return identity
