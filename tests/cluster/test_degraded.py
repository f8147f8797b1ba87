"""Nine volumes: any three may go, bytes may rot, and no reader ever sees it."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cluster.conftest import StoreMaker
from tests.support.load import BROKEN
from tests.support.store import StoreProcess, chunk_paths

MIB = 1 << 20
BUCKET = "bucket"
VOLUMES = 9
SIZES = (0, 1, 4_096, 60_000, 131_072, 131_073, 700_000, 786_432, 5_000_000)
THREADS = 6


class Objects:
    """Seeded objects of mixed sizes, of which only the digests are kept."""

    def __init__(self, store: StoreProcess, seed: str, total_bytes: int) -> None:
        self.store = store
        rng = random.Random(seed)
        self._block = rng.randbytes(8 * MIB)
        self.sizes: dict[str, int] = {"large": 70 * MIB + 13}
        while sum(self.sizes.values()) < total_bytes:
            size = rng.choice(SIZES)
            self.sizes[f"o{len(self.sizes) % 7}/{len(self.sizes)}"] = rng.randrange(size // 2, size + 1) if size > 131_073 else size

    def body(self, key: str) -> Iterator[bytes]:
        """The body in pieces: a stretch of one random block, with the key in front of each piece."""
        left, mark = self.sizes[key], hashlib.sha256(key.encode()).digest()
        while left:
            piece = (mark + self._block)[:left]
            left -= len(piece)
            mark = hashlib.sha256(mark).digest()
            yield piece

    def digest(self, key: str) -> str:
        return digest_of(self.body(key))

    def write(self) -> None:
        def put(key: str) -> None:
            with self.store.client() as client:
                answer = client.put_stream(BUCKET, key, self.body(key), self.sizes[key])
                assert answer.status == 200, (key, answer.body)

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(put, self.sizes))

    def wrong(self) -> list[str]:
        """Keys that do not read back byte for byte, each with what was seen."""

        def look(key: str) -> str:
            try:
                with self.store.client() as client:
                    return "" if digest_of(client.get_stream(BUCKET, key)) == self.digest(key) else f"{key}: other bytes"
            except (AssertionError, *BROKEN) as error:
                return f"{key} ({self.sizes[key]}): {error!r:.300}"

        with ThreadPoolExecutor(THREADS) as pool:
            return [found for found in pool.map(look, self.sizes) if found]


def digest_of(pieces: Iterable[bytes]) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def volume_folders(store: StoreProcess) -> list[Path]:
    return sorted((store.directories[0] / "volumes").iterdir(), key=lambda path: int(path.name))


def flip(path: Path, rng: random.Random) -> None:
    """One bit of the file turns over; its times stay as they were, as with real rot."""
    state = path.stat()
    with path.open("r+b") as file:
        at = rng.randrange(state.st_size)
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ (1 << rng.randrange(8))]))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def verify(store: StoreProcess) -> tuple[int, list[dict[str, object]]]:
    """`frazil verify --json` of the bucket: exit code and records."""
    done = store.command("verify", f"s3://{BUCKET}", "--json", check=False, timeout_s=600)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def heal(store: StoreProcess, objects: Objects) -> None:
    """One scrub makes everything whole again."""
    store.command("scrub", "meta", "--deep", timeout_s=600)
    assert verify(store)[0] == 0
    assert objects.wrong() == []


@pytest.mark.timeout(1800)
def test_any_three_volumes_gone(make_store: StoreMaker, seed: str, scale: float) -> None:
    rng = random.Random(seed)
    store = make_store(volumes=VOLUMES)
    # Volumes that vanish are worth a warning.
    store.allowed.append("volume|chunk")
    with store.client() as client:
        client.make_bucket(BUCKET)
    objects = Objects(store, seed, int(200 * MIB * scale))
    objects.write()
    assert objects.wrong() == []
    assert verify(store)[0] == 0
    gone = rng.sample(volume_folders(store), 3)
    there = {path.name: path.parents[1] for path in chunk_paths(store)}
    for folder in gone:
        shutil.rmtree(folder)
    assert objects.wrong() == []
    for folder in gone:
        folder.mkdir()
    assert objects.wrong() == []
    _, records = verify(store)
    missing = {str(record["chunk"]) for record in records if "chunk" in record}
    assert missing <= {name for name, folder in there.items() if folder in gone}, "no false alarm; what reads met is repaired already"
    heal(store, objects)


@pytest.mark.timeout(1800)
def test_a_restart_without_three_volumes(make_store: StoreMaker, seed: str) -> None:
    store = make_store(volumes=VOLUMES)
    store.allowed.append("volume|chunk")
    with store.client() as client:
        client.make_bucket(BUCKET)
    objects = Objects(store, seed, 120 * MIB)
    objects.write()
    store.stop()
    for folder in random.Random(seed).sample(volume_folders(store), 3):
        folder.rename(folder.with_name(folder.name + ".away"))
    store.start()
    assert objects.wrong() == []
    store.stop()
    for folder in (store.directories[0] / "volumes").glob("*.away"):
        if folder.with_suffix("").exists():
            shutil.rmtree(folder.with_suffix(""))
        folder.rename(folder.with_suffix(""))
    store.start()
    assert objects.wrong() == []
    assert verify(store)[0] == 0


@pytest.mark.timeout(1800)
def test_flipped_bits_are_never_returned(make_store: StoreMaker, seed: str) -> None:
    rng = random.Random(seed)
    store = make_store(volumes=VOLUMES)
    store.allowed.append("chunk|corrupt|quarantine")
    with store.client() as client:
        client.make_bucket(BUCKET)
    objects = Objects(store, seed, 120 * MIB)
    objects.write()
    rotten = {str(folder) for folder in rng.sample(volume_folders(store), 2)}
    flipped = [path for path in chunk_paths(store) if str(path.parents[1]) in rotten and path.stat().st_size]
    assert len(flipped) > 20
    for path in flipped:
        flip(path, rng)
    assert objects.wrong() == []
    _, records = verify(store)
    assert {str(record["chunk"]) for record in records if "chunk" in record} <= {path.name for path in flipped}, "no false alarm"
    heal(store, objects)


@pytest.mark.parametrize("size", [1_000, 2_000_000])
def test_more_damage_than_promised_is_a_clean_error(make_store: StoreMaker, seed: str, size: int) -> None:
    """Expected failure: no copy is left whole, and still no wrong byte leaves; a delete and a new write work."""
    rng = random.Random(seed)
    store = make_store(volumes=3)
    store.allowed.append("chunk|corrupt|quarantine|lost|Lost")
    with store.client() as client:
        client.make_bucket(BUCKET)
        body = rng.randbytes(size)
        assert client.put(BUCKET, "key", body).status == 200
        for path in chunk_paths(store):
            if path.stat().st_size:
                flip(path, rng)
        try:
            answer = client.get(BUCKET, "key")
        except BROKEN:
            pass
        else:
            assert answer.status >= 500
            assert answer.code
        assert client.call("HEAD", BUCKET, "key").status in (200, 500, 503)
        assert client.put(BUCKET, "key", body).status == 200
        assert client.get(BUCKET, "key").body == body
        assert client.delete(BUCKET, "key").status == 204


@pytest.mark.parametrize("damage", ["truncate", "extend", "empty", "no attributes", "swap attributes", "stale"])
def test_damaged_chunk_files_are_noticed(make_store: StoreMaker, seed: str, damage: str) -> None:
    """Each of these on one of three copies: reads stay right, verify names the chunk."""
    store = make_store(volumes=3)
    store.allowed.append("chunk|corrupt|quarantine")
    with store.client() as client:
        client.make_bucket(BUCKET)
        kept = set(chunk_paths(store))
        bodies = {name: random.Random(f"{seed}{name}").randbytes(50_000) for name in ("one", "two")}
        for name, body in bodies.items():
            assert client.put(BUCKET, name, body).status == 200
        chunks = [path for path in chunk_paths(store) if path not in kept and path.parents[1].name == "1"]
        assert len(chunks) == 2
        spoil(damage, chunks[0], chunks[1])
        for _ in range(3):
            for name, body in bodies.items():
                assert client.get(BUCKET, name).body == body
    code, records = verify(store)
    assert code == 7
    assert chunks[0].name in {str(record.get("chunk")) for record in records}


def spoil(damage: str, path: Path, other: Path) -> None:
    names = [name for name in os.listxattr(path) if name.startswith("user.")]
    if damage == "truncate":
        os.truncate(path, 49_999)
    elif damage == "extend":
        os.truncate(path, 50_001)
    elif damage == "empty":
        os.truncate(path, 0)
    elif damage == "no attributes":
        for name in names:
            os.removexattr(path, name)
    elif damage == "swap attributes":
        mine, theirs = ({name: os.getxattr(each, name) for name in names} for each in (path, other))
        for name in names:
            os.setxattr(path, name, theirs[name])
            os.setxattr(other, name, mine[name])
    else:
        # Another chunk of the same size, with its own attributes, takes this one's place.
        shutil.copy2(other, path)


def test_writes_go_on_with_a_sick_volume(make_store: StoreMaker, seed: str) -> None:
    store = make_store(volumes=4)
    store.allowed.append("volume|chunk")
    with store.client() as client:
        client.make_bucket(BUCKET)
        shutil.rmtree(volume_folders(store)[2])
        bodies = {f"k{size}": random.Random(f"{seed}{size}").randbytes(size) for size in (10, 10_000, 1_000_000)}
        for key, body in bodies.items():
            assert client.put(BUCKET, key, body).status == 200
        for key, body in bodies.items():
            assert client.get(BUCKET, key).body == body
