"""Chunk files damaged in every way that a scrub must find."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path


class Damager:
    """Damages chunks of metachunks, no more of each than its policy bears."""

    def __init__(self, volumes: Sequence[Path], rng: random.Random) -> None:
        """volumes: all folders of volumes, for what is put on another."""
        self.volumes, self.rng = volumes, rng
        self.kinds: list[Callable[[Path], str]] = [
            self.flip,
            self.cut,
            self.lengthen,
            self.remove,
            self.lose_record,
            self.spoil_record,
            self.spoil_sums,
            self.swap,
            self.duplicate,
            self.misplace,
            self.orphan,
        ]
        self.spare: list[Path] = []
        """Chunks that are not damaged themselves, to take bytes from."""
        self.made: list[Path] = []
        """Files that were not there before."""

    def flip(self, file: Path) -> str:
        if not file.stat().st_size:
            return self.remove(file)
        data = bytearray(file.read_bytes())
        data[self.rng.randrange(len(data))] ^= 1
        with file.open("r+b") as there:  # its attributes stay
            there.write(data)
        return "corrupt"

    def cut(self, file: Path) -> str:
        if not file.stat().st_size:
            return self.remove(file)
        os.truncate(file, file.stat().st_size // 2)
        return "truncated"

    def lengthen(self, file: Path) -> str:
        os.truncate(file, file.stat().st_size + 100)
        return "truncated"

    def remove(self, file: Path) -> str:
        file.unlink()
        return "missing"

    def lose_record(self, file: Path) -> str:
        os.removexattr(file, "user.frazil.chunk")
        return "record"

    def spoil_record(self, file: Path) -> str:
        os.setxattr(file, "user.frazil.chunk", b'{"bucket": 17}')
        return "record"

    def spoil_sums(self, file: Path) -> str:
        if not file.stat().st_size:
            return self.remove(file)
        data = bytearray(os.getxattr(file, "user.frazil.units"))
        data[-1] ^= 1
        os.setxattr(file, "user.frazil.units", bytes(data))
        return "corrupt"

    def swap(self, file: Path) -> str:
        """Another's bytes and record under this name."""
        other = self.rng.choice([path for path in self.spare if path.exists() and path != file])
        file.unlink()
        self._copy(other, file)
        return "swapped"

    def duplicate(self, file: Path) -> str:
        name = os.urandom(16).hex()
        target = file.parents[1] / name[:3] / name
        target.parent.mkdir(exist_ok=True)
        self._make(file, target)
        return "duplicated"

    def misplace(self, file: Path) -> str:
        """On another volume, as when somebody moved files."""
        others = [path for path in self.volumes if path != file.parents[1]]
        target = self.rng.choice(others) / file.parent.name / file.name
        target.parent.mkdir(exist_ok=True)
        self._make(file, target)
        file.unlink()
        return "missing"

    def orphan(self, file: Path) -> str:
        name = os.urandom(16).hex()
        target = file.parents[1] / name[:3] / name
        target.parent.mkdir(exist_ok=True)
        self._make(file, target)
        record = os.getxattr(target, "user.frazil.chunk").replace(self._content(target), os.urandom(16).hex().encode())
        os.setxattr(target, "user.frazil.chunk", record)
        return "orphaned"

    def _make(self, source: Path, target: Path) -> None:
        self._copy(source, target)
        self.made.append(target)

    @staticmethod
    def _content(path: Path) -> bytes:
        return str(json.loads(os.getxattr(path, "user.frazil.chunk"))["content"]).encode()

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        shutil.copyfile(source, target)
        for name in os.listxattr(source):
            os.setxattr(target, name, os.getxattr(source, name))
