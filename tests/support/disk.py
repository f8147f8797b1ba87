"""Disks to break: file systems on loop devices that lose power, fill up, turn read-only or answer EIO; what they leave is always removed.

Each attached device and mount is first written to a ledger in the temporary folder, so that `reap` finds what a killed run left behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

LEDGER = Path(tempfile.gettempdir()) / "frazil-test-disks"
MIB = 1 << 20
UNMOUNT_TRIES = 50
FUSE_START_S = 10.0


def run(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs a system command; AssertionError with its words when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert not check or done.returncode == 0, f"{' '.join(command)}: {done.returncode} {done.stdout} {done.stderr}"
    return done


class _Ledger:
    """The file that names this process's loops and mounts."""

    def __init__(self) -> None:
        self._entries: list[tuple[str, str, str]] = []

    def add(self, kind: str, name: str, detail: str = "") -> None:
        self._entries.append((kind, name, detail))
        self._write()

    def remove(self, kind: str, name: str) -> None:
        self._entries = [entry for entry in self._entries if entry[:2] != (kind, name)]
        self._write()

    def _write(self) -> None:
        path = LEDGER / f"{os.getpid()}.json"
        if not self._entries:
            path.unlink(missing_ok=True)
            return
        LEDGER.mkdir(exist_ok=True)
        path.write_text(json.dumps(self._entries))


_ledger = _Ledger()


def reap() -> None:
    """Unmounts and detaches what dead runs left."""
    for path in LEDGER.glob("*.json"):
        if Path(f"/proc/{path.stem}").exists():
            continue
        for kind, name, detail in reversed(json.loads(path.read_text() or "[]")):
            if kind == "mount":
                run("umount", "-l", name, check=False)
            elif kind == "loop" and detail in run("losetup", "--noheadings", "-O", "BACK-FILE", name, check=False).stdout:
                run("losetup", "-d", name, check=False)
        path.unlink(missing_ok=True)


class LoopDisk:
    """A file system on a loop device over an image file; a context manager. The mount is at `root`.

    ext4 has 4 KiB blocks and 256-byte inodes, so that attributes have the room they have on real disks; `block_bytes` of 1024 gives
    them as little as there can be. `inodes` limits their number.
    """

    def __init__(
        self,
        root: Path,
        *,
        size_bytes: int = 512 * MIB,
        kind: str = "ext4",
        inodes: int = 0,
        block_bytes: int = 4096,
        image: Path | None = None,
    ) -> None:
        self.root = root
        self.kind = kind
        self.image = image or root.with_name(root.name + ".img")
        self._own_image = image is None
        self._size_bytes = size_bytes
        self._inodes = inodes
        self._block_bytes = block_bytes
        self._device = ""
        self.mounted = False

    def __repr__(self) -> str:
        return f"<LoopDisk {self.kind} {self._device or 'detached'} {'on ' + str(self.root) if self.mounted else 'not mounted'}>"

    def __enter__(self) -> LoopDisk:
        try:
            if self._own_image:
                with self.image.open("wb") as file:
                    file.truncate(self._size_bytes)
            self._format()
            self.attach()
            self.mount()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._remove()

    def _format(self) -> None:
        if self.kind == "xfs":
            run("mkfs.xfs", "-q", "-f", str(self.image))
            return
        options = ["-N", str(self._inodes)] if self._inodes else []
        run(
            "mkfs.ext4",
            "-q",
            "-F",
            "-b",
            str(self._block_bytes),
            "-I",
            "256",
            "-m",
            "0",
            "-E",
            "lazy_itable_init=0,lazy_journal_init=0",
            *options,
            str(self.image),
        )

    def attach(self) -> None:
        self._device = run("losetup", "--find", "--show", str(self.image)).stdout.strip()
        _ledger.add("loop", self._device, str(self.image))

    def detach(self) -> None:
        if self._device:
            run("losetup", "-d", self._device)
            _ledger.remove("loop", self._device)
            self._device = ""

    def mount(self, options: str = "defaults") -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        run("mount", "-o", options, self._device, str(self.root))
        self.mounted = True
        _ledger.add("mount", str(self.root))

    def unmount(self) -> None:
        """Unmounts; waits a while for a process that was just killed to let go."""
        for _ in range(UNMOUNT_TRIES):
            done = run("umount", str(self.root), check=False)
            if done.returncode == 0:
                break
            time.sleep(0.1)
        else:
            raise AssertionError(f"{self!r} does not unmount: {done.stderr}")
        self.mounted = False
        _ledger.remove("mount", str(self.root))

    def cut(self) -> None:
        """The power goes: nothing more reaches the disk, what was not synced is gone, every call answers EIO until the next mount."""
        run("xfs_io", "-x", "-c", "shutdown", str(self.root))

    def repair(self) -> None:
        """File system check as after a power cut: the journal is replayed; AssertionError when more than that is damaged."""
        if self.kind == "xfs":
            # Only a mount replays the log of XFS; xfs_repair then looks at the clean file system.
            self.mount()
            self.unmount()
            run("xfs_repair", "-n", self._device)
            return
        done = run("e2fsck", "-p", "-f", self._device, check=False)
        assert done.returncode in (0, 1), f"e2fsck: {done.returncode} {done.stdout} {done.stderr}"

    def repair_errors(self) -> None:
        """File system check that may correct what `trigger_error` noted."""
        done = run("e2fsck", "-y", "-f", self._device, check=False)
        assert done.returncode in (0, 1), f"e2fsck: {done.returncode} {done.stdout} {done.stderr}"

    def power_cycle(self) -> None:
        """After `cut`, and when no process uses it any more: unmount, check, mount."""
        self.unmount()
        self.repair()
        self.mount()

    def read_only(self, on: bool) -> None:
        run("mount", "-o", f"remount,{'ro' if on else 'rw'}", str(self.root))

    def trigger_error(self) -> None:
        """Tells ext4 that it has met an error; mounted with errors=remount-ro, it turns read-only at once, whoever writes."""
        Path(f"/sys/fs/ext4/{Path(self._device).name}/trigger_fs_error").write_text("broken by a test")

    def fill(self, leave_bytes: int = 0) -> None:
        """Takes all space but `leave_bytes` away in one file, as another user of the disk would."""
        with (self.root / "filler").open("ab") as file:
            piece = self.free_bytes() - leave_bytes
            while piece >= 4096:
                try:
                    os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), piece)
                except OSError:
                    piece //= 2
                else:
                    piece = self.free_bytes() - leave_bytes

    def release(self) -> None:
        """Gives back what `fill` and `fill_inodes` took."""
        (self.root / "filler").unlink(missing_ok=True)
        folder = self.root / "fillers"
        if folder.exists():
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()

    def fill_inodes(self) -> None:
        """Makes empty files until there is no inode left."""
        folder = self.root / "fillers"
        folder.mkdir(exist_ok=True)
        with contextlib.suppress(OSError):
            for index in range(1 << 20):
                (folder / str(index)).touch()

    def free_bytes(self) -> int:
        state = os.statvfs(self.root)
        return state.f_bavail * state.f_frsize

    def _remove(self) -> None:
        if self.mounted:
            run("umount", "-l", str(self.root), check=False)
            self.mounted = False
            _ledger.remove("mount", str(self.root))
        if self._device:
            run("losetup", "-d", self._device, check=False)
            _ledger.remove("loop", self._device)
            self._device = ""
        if self._own_image:
            self.image.unlink(missing_ok=True)


class FaultyImage:
    """An image file served by a FUSE process that fails reads, writes or syncs on demand; a loop device goes over it. A context manager.

    `path` is the image as LoopDisk(image=...) takes it. Faults act on what reaches the device: cached pages are not affected.
    """

    def __init__(self, folder: Path, size_bytes: int) -> None:
        self._folder = folder
        self._mount = folder / "faulty"
        self._backing = folder / "faulty.img"
        self._control = folder / "faulty.json"
        self._size_bytes = size_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self.path = self._mount / "disk"

    def __enter__(self) -> FaultyImage:
        self._mount.mkdir(parents=True)
        with self._backing.open("wb") as file:
            file.truncate(self._size_bytes)
        self.set()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.faulty", str(self._backing), str(self._mount), str(self._control)],
            cwd=Path(__file__).parents[2],
        )
        _ledger.add("mount", str(self._mount))
        end = time.monotonic() + FUSE_START_S
        while not self.path.exists():
            assert self._process.poll() is None, "the FUSE process ended"
            assert time.monotonic() < end, "the FUSE process does not serve"
            time.sleep(0.02)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        assert self._process is not None
        self.set()
        run("umount", "-l", str(self._mount), check=False)
        _ledger.remove("mount", str(self._mount))
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._backing.unlink(missing_ok=True)

    def set(self, *, read: str = "", write: str = "", sync: str = "", delay_s: float = 0.0, needle: bytes = b"", drop: bytes = b"") -> None:
        """Faults from now on: names of errno ("EIO", "ENOSPC") for reads, writes and syncs; a delay for all. `needle`: only reads of blocks
        whose content holds it fail. `drop`: writes of blocks that hold it are acknowledged and forgotten. Without arguments the device
        is healthy."""
        faults = {"read": read, "write": write, "sync": sync, "delay_s": delay_s, "needle": needle.hex(), "drop": drop.hex()}
        temporary = self._control.with_suffix(".new")
        temporary.write_text(json.dumps(faults))
        temporary.replace(self._control)
