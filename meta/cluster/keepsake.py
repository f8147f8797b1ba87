"""What a ZooKeeper that lost everything, or went back to an old copy, is given back: kept by each peer on its disk, put together from what
a majority of each set knows.

PATH/keepsake       JSON of Keepsake: the namespace's documents as this peer saw them last
PATH/<set>/promise  the set's peers in the newest epoch that this peer heard of (meta/cluster/promise.py)

Theory of operation. A new ensemble counts its transactions from the begin, so its epochs would lie below those that peers have promised,
and nobody could lead. The document EPOCHS says what is added to them: more than the highest promise, by so much that no epoch that the lost
ensemble gave, and nobody heard of, is given again. Who belongs to a set is taken from the promises, not from the keepsakes: a majority of
a reign's peers has written them down before the reign began, and a change of peers goes in steps whose majorities meet. So when a majority
of the newest peers that anybody knows answers, no later reign was ever begun, and what it acknowledged can't be missed.

An ensemble that is set up from an old copy shows it by documents that are older than peers have seen them, or by numbers below an epoch
that was promised: both only ever grow. It is given back the same, but the floor comes last: with it what is there counts as newer than
all that was kept, and before it nobody notes what is older than he knows. Until then no peer promises anything to who was elected by
what the copy says of a set's peers, if that was changed since (meta/cluster/promise.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import trio

from meta.cluster.promise import Promise
from meta.cluster.roster import DIRECTORY, DISSOLVED_FOLDER, RENEWAL, SET_FOLDER, PeerSet
from meta.coordinator import EPOCHS, Coordinator, Document, Epochs, parsed, tell
from node.errors import BaseCorrupt, ConfigError, DocumentUnreadable, NotLeader, Unavailable
from node.files import write_durably
from node.log import get_logger
from node.threads import run_blocking

NAMESPACE = "namespace"
DOCUMENTS = (NAMESPACE, "settings", RENEWAL, DIRECTORY)
FOLDERS = ("lock", SET_FOLDER, DISSOLVED_FOLDER)
"""What is kept: these documents, and all those of these folders."""
EPOCHS_APART = 1 << 48
"""What one ensemble may give: a ZooKeeper numbers transactions from 2**32 times the number of its own elections."""
LOOK_S = 2.0
"""How often what is kept is compared with what there is."""
_log = get_logger("meta.keepsake")


class Keepsake(msgspec.Struct, frozen=True):
    """documents: by name, each with the version it had in its ensemble; floor: of that ensemble, which orders versions of several."""

    floor: int = 0
    documents: dict[str, Document] = {}


class Known(msgspec.Struct, frozen=True):
    """What one peer knows. sets: by name, the highest promise, and the peers of the newest epoch with that epoch."""

    keepsake: Keepsake
    sets: dict[str, tuple[int, int, tuple[str, ...]]]


def load(path: Path) -> Keepsake:
    """Raises: BaseCorrupt, VolumeSick."""
    try:
        return msgspec.json.decode((path / "keepsake").read_bytes(), type=Keepsake)
    except FileNotFoundError:
        return Keepsake()
    except msgspec.DecodeError as error:
        raise BaseCorrupt(f"{path / 'keepsake'} can't be read; remove it, other peers have theirs: {error}") from error


class _Namespace(msgspec.Struct):
    """What a namespace is told by from another of its name and key."""

    id: str


async def check_namespace(path: Path, coordinator: Coordinator) -> None:
    """Else what an earlier namespace promised would count in this one, and its documents be taken for newer ones.

    Raises: ConfigError when the peer's folder is of another namespace than the one that is laid out; BaseCorrupt, VolumeSick, Unavailable.
    """
    kept = (await run_blocking(load, path)).documents.get(NAMESPACE)
    found, directory = await coordinator.read(NAMESPACE), await coordinator.read(DIRECTORY)
    if kept is None or not found.version or not directory.version:  # without one, ZooKeeper lost what this folder may still know
        return
    try:
        was, is_now = parsed(NAMESPACE, kept, _Namespace).id, parsed(NAMESPACE, found, _Namespace).id
    except DocumentUnreadable as error:
        tell(error)
        return
    if was != is_now:
        raise ConfigError(
            f"{path} holds metadata of the namespace {was}, which had this name and key before; ZooKeeper has {is_now}. "
            "Check `zookeeper` in node.toml; emptied, the folder becomes a peer of that one"
        )


def known(path: Path) -> Known:
    """Of the peer whose folder that is; blocks. Raises: BaseCorrupt, VolumeSick."""
    promises = {file.parent.name: Promise(file) for file in path.glob("*/promise") if "." not in file.parent.name}  # not of dissolved ones
    return Known(load(path), {name: (each.epoch, *each.peers) for name, each in promises.items()})


def restoration(answers: Mapping[str, Known]) -> dict[str, bytes]:
    """The documents to write, in this order, by what each peer answered; empty when nobody knows of a namespace.

    Raises: NotLeader while peers are missing without which something acknowledged might be.
    """
    keepsakes = [each.keepsake for each in answers.values()]
    documents = _newest(keepsakes)
    if keepsakes and RENEWAL not in max(keepsakes, key=_age).documents:  # it came to its end
        documents.pop(RENEWAL, None)
    sets = {name for each in answers.values() for name in each.sets}
    if not documents and not sets:
        return {}
    if DIRECTORY not in documents:
        raise NotLeader("ZooKeeper lost what it knew, and no peer that runs has kept the namespace's directory: start the others")
    highest = max((promised for each in answers.values() for promised, _, _ in each.sets.values()), default=0)
    written = {EPOCHS: msgspec.json.encode(Epochs((highest // EPOCHS_APART + 1) * EPOCHS_APART))}
    for name in [each for each in sets if f"{DISSOLVED_FOLDER}/{each}" in documents]:
        sets.remove(name)
        documents.pop(f"{SET_FOLDER}/{name}", None)
    for name in sorted(sets):
        peers = max(found[1:] for each in answers.values() if (found := each.sets.get(name)) is not None)[1]
        if peers:
            _check_majority(name, peers, answers)
            documents[f"{SET_FOLDER}/{name}"] = msgspec.json.encode(PeerSet(peers))
    directory = documents.pop(DIRECTORY)
    return written | documents | {DIRECTORY: directory}  # last: with it all is there


def _newest(keepsakes: list[Keepsake]) -> dict[str, bytes]:
    found: dict[str, tuple[int, int, bytes]] = {}
    for keepsake in keepsakes:
        for name, document in keepsake.documents.items():
            found[name] = max(found.get(name, (0, 0, b"")), (keepsake.floor, document.version, document.data))
    return {name: data for name, (_, _, data) in found.items()}


def _age(keepsake: Keepsake) -> tuple[int, int]:
    return keepsake.floor, max((document.version for document in keepsake.documents.values()), default=0)


def went_back(answers: Mapping[str, Known], now: Keepsake, newest_epoch: int) -> bool:
    """Whether ZooKeeper is older than what peers saw of it. The answers were given before the rest was read."""
    promised = max((epoch for each in answers.values() for epoch, _, _ in each.sets.values()), default=0)
    return promised > newest_epoch or any(is_older(now, each.keepsake) for each in answers.values())


def is_older(found: Keepsake, than: Keepsake) -> bool:
    """What is missing may have been removed; what is there only grows."""
    if found.floor != than.floor:
        return found.floor < than.floor
    return any(name in found.documents and found.documents[name].version < each.version for name, each in than.documents.items())


def _check_majority(name: str, peers: tuple[str, ...], answers: Mapping[str, Known]) -> None:
    missing = [peer for peer in peers if peer not in answers]
    if 2 * len(missing) >= len(peers):
        raise NotLeader(f"ZooKeeper lost what it knew; before it is told again a majority of {name} must run: start {', '.join(missing)}")


async def restore(coordinator: Coordinator, written: Mapping[str, bytes]) -> None:
    """Into a ZooKeeper without a directory; what else is there was written by those who found it empty. Raises: Unavailable, Superseded."""
    _log.warning("ZooKeeper has nothing of this namespace: its documents are written anew from what its peers kept")
    await _write(coordinator, written)


async def bring_up_to_date(coordinator: Coordinator, written: Mapping[str, bytes]) -> None:
    """A ZooKeeper that went back to an old copy. Raises: Unavailable, Superseded."""
    _log.warning("ZooKeeper went back to an old copy of this namespace's documents: they are written anew from what its peers kept")
    await _write(coordinator, {name: data for name, data in written.items() if name != EPOCHS})
    for name in await coordinator.names(SET_FOLDER):
        if f"{DISSOLVED_FOLDER}/{name}" in written:
            await _remove(coordinator, f"{SET_FOLDER}/{name}")
    if RENEWAL not in written:
        await _remove(coordinator, RENEWAL)
    await _write(coordinator, {EPOCHS: written[EPOCHS]})


async def _write(coordinator: Coordinator, documents: Mapping[str, bytes]) -> None:
    for name, data in documents.items():
        there = await coordinator.read(name)
        if there.data != data or not there.version:
            await coordinator.write(name, data, version=there.version)


async def _remove(coordinator: Coordinator, name: str) -> None:
    there = await coordinator.read(name)
    if there.version:
        await coordinator.remove(name, version=there.version)


async def keep(path: Path, coordinator: Coordinator) -> None:
    """Notes the documents when they have changed, for ever. One that is gone stays noted while all others are gone too."""
    kept = await run_blocking(load, path)
    while True:
        try:
            found = await look(coordinator)
        except Unavailable as error:
            _log.info("what ZooKeeper holds can't be noted now: %s", error)
        else:
            found = None if found is None else without_damage(found, kept)
            if found is not None and found != kept and not is_older(found, kept):
                await run_blocking(write_durably, path / "keepsake", msgspec.json.encode(found))
                kept = found
        await trio.sleep(LOOK_S)


def without_damage(found: Keepsake, kept: Keepsake) -> Keepsake:
    """With what was kept in place of documents that are no JSON: they are to be mended from it."""
    documents = {}
    for name, document in found.documents.items():
        good = document if _is_json(document.data) else kept.documents.get(name)
        if good is not None:
            documents[name] = good
    return Keepsake(found.floor, documents)


def _is_json(data: bytes) -> bool:
    try:
        return not data or msgspec.json.decode(data) is not None
    except (msgspec.DecodeError, RecursionError):
        return False


async def look(coordinator: Coordinator) -> Keepsake | None:
    """The documents as they are; None while there is no directory: what else there is was written by those who found ZooKeeper empty."""
    epochs, directory = await coordinator.read(EPOCHS), await coordinator.read(DIRECTORY)
    folders = {folder: await coordinator.names(folder) for folder in FOLDERS}
    names = [*DOCUMENTS, *(f"{folder}/{name}" for folder, names in folders.items() for name in names)]
    documents = {name: document for name in names if (document := await coordinator.read(name)).version}
    if not directory.version or await coordinator.read(DIRECTORY) != directory:
        return None
    return Keepsake(Epochs.of(epochs), documents)
