"""The files and folders of a volume: names, temporary files, links. All blocking."""

from __future__ import annotations

import errno
import os
from itertools import islice

from rawx.attributes import FILE_MODE, SIDECAR_SUFFIX, TEMPORARY_PREFIX

FOLDER_DIGITS = 3
FOLDERS = 16**FOLDER_DIGITS
AHEAD_AFTER = 256
"""A volume with so many folders is in use: the rest is made ahead, because a chunk that needs a new folder waits for a second sync."""
AHEAD_AT_ONCE = 512
"""Folders made per call: well within the time a probe may take, also on a slow disk."""
AHEAD_INODES_MIN = 64 * FOLDERS
"""Fewer free inodes are not spent on folders that may never be needed."""
_FOLDER_MODE = 0o750
_WITHOUT_TEMPORARY_FILES = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOSYS})


def path_of(chunk: str) -> str:
    """The chunk's file, relative to the volume's root."""
    return f"{chunk[:FOLDER_DIGITS]}/{chunk}"


class NewFile:
    """An open file without a name, or with a temporary one where the file system has no O_TMPFILE."""

    __slots__ = ("descriptor", "temporary")

    def __init__(self, descriptor: int, temporary: str) -> None:
        self.descriptor = descriptor
        self.temporary = temporary

    def __del__(self) -> None:
        if self.descriptor >= 0:  # a thread opened it for somebody who had left
            os.close(self.descriptor)


class Folders:
    """The root and the 4,096 folders below it, made when first needed, and all of them once a volume is in use.

    They are addressed by path from the root's descriptor: keeping one for each would save 0.4 us of 5 per access (measured) and cost
    4,096 descriptors per volume.
    """

    def __init__(self, root: int) -> None:
        """Raises: OSError."""
        self.root = root
        self._known = {name for name in os.listdir(root) if len(name) == FOLDER_DIGITS}
        self._without_temporary_files = False
        self.names_unsynced = False
        """A folder was made since the root was synced; the committer syncs it with the next batch."""
        os.fsync(root)  # what is listed here may be used without another sync

    def new_file(self, chunk: str) -> NewFile:
        """Raises: OSError."""
        folder = chunk[:FOLDER_DIGITS]
        if folder not in self._known:
            self._make(folder)
        try:
            return self._open(folder, chunk)
        except FileNotFoundError:  # somebody removed the folder under us
            self._make(folder)
            return self._open(folder, chunk)

    def make_for(self, chunk: str) -> None:
        """Makes the chunk's folder, if it is missing, and its name durable. Raises: OSError."""
        if chunk[:FOLDER_DIGITS] not in self._known:
            self._make(chunk[:FOLDER_DIGITS])
            os.fsync(self.root)

    def _make(self, folder: str) -> None:
        try:
            os.mkdir(folder, _FOLDER_MODE, dir_fd=self.root)
        except FileExistsError:  # by another process, which may not have synced it yet
            pass
        self.names_unsynced = True
        self._known.add(folder)

    def make_ahead(self) -> None:
        """Makes some of the folders that are missing, once enough of them are there; in any thread. Raises: OSError."""
        if not AHEAD_AFTER <= len(self._known) < FOLDERS or os.fstatvfs(self.root).f_favail < AHEAD_INODES_MIN:
            return
        names = (f"{number:0{FOLDER_DIGITS}x}" for number in range(FOLDERS))
        missing = set(islice((name for name in names if name not in self._known), AHEAD_AT_ONCE))
        for folder in missing:
            try:
                os.mkdir(folder, _FOLDER_MODE, dir_fd=self.root)
            except FileExistsError:  # a chunk was faster
                continue
        os.fsync(self.root)
        self._known |= missing  # only now: whoever finds a folder here relies on its name being durable

    def _open(self, folder: str, chunk: str) -> NewFile:
        if not self._without_temporary_files:
            try:
                return NewFile(os.open(folder, os.O_TMPFILE | os.O_RDWR, FILE_MODE, dir_fd=self.root), "")
            except OSError as error:
                if error.errno not in _WITHOUT_TEMPORARY_FILES:
                    raise
                self._without_temporary_files = True
        temporary = f"{folder}/{TEMPORARY_PREFIX}{chunk}.{os.urandom(4).hex()}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        return NewFile(os.open(temporary, flags, FILE_MODE, dir_fd=self.root), temporary)

    def link(self, file: NewFile, chunk: str) -> None:
        """Makes the file visible as `chunk`; never replaces. Raises: OSError (EEXIST when the id is taken)."""
        if file.temporary:
            os.link(file.temporary, path_of(chunk), src_dir_fd=self.root, dst_dir_fd=self.root)
            os.unlink(file.temporary, dir_fd=self.root)
            file.temporary = ""
        else:
            os.link(f"/proc/self/fd/{file.descriptor}", path_of(chunk), dst_dir_fd=self.root, follow_symlinks=True)

    def discard(self, file: NewFile) -> None:
        """Closes the file; one that was never linked is gone. A temporary name that can't be removed is left for the sweep."""
        if file.descriptor >= 0:
            os.close(file.descriptor)
            file.descriptor = -1
        if file.temporary:
            self.unlink_quietly(file.temporary)
            file.temporary = ""

    def unlink(self, chunk: str) -> None:
        """Removes chunk and sidecar; missing is fine. Raises: OSError."""
        path = path_of(chunk)
        for name in (path, path + SIDECAR_SUFFIX):  # a crash between the two leaves a sidecar without chunk: swept
            try:
                os.unlink(name, dir_fd=self.root)
            except FileNotFoundError:
                pass

    def unlink_quietly(self, path: str) -> None:
        """Removes a leftover if it can be; otherwise the sweep finds it."""
        try:
            os.unlink(path, dir_fd=self.root)
        except OSError:
            return
