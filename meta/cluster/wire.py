"""The calls between the peers of a set.

POST /peer/1/<name>     body: msgpack of the call's struct; answer: msgpack; errors are JSON (node/errors.py) with their status
promise, survey, append, pull: see meta/leader.py; after: entries from another peer's log; standings: where a peer stands, base by base
known: what the peer has kept of the namespace (meta/cluster/keepsake.py)
snapshot: the answer is the file, its header in `x-frazil-header` ("<epoch> <index>"), its XXH3 in `x-frazil-checksum`
"""

from __future__ import annotations

import msgspec

from meta.commit import Entry, Header

API = b"/peer/1/"
HEADER_NAME = b"x-frazil-header"
CHECKSUM_NAME = b"x-frazil-checksum"
CALL_BYTES_MAX = 256 << 20
"""The script of the largest transaction: a rename of RENAMED_MAX objects."""
ANSWER_BYTES_MAX = 16 << 20
STANDINGS_MAX = 1_000
"""In one answer."""


class Promising(msgspec.Struct, frozen=True, array_like=True):
    """peers: of the set in that epoch; () from a leader of before, which didn't say; place: of the document that names them; holder: of the
    epoch, drawn by chance."""

    set: str
    epoch: int
    peers: tuple[str, ...] = ()
    place: tuple[int, int] = (0, 0)
    holder: str = ""


class Knowing(msgspec.Struct, frozen=True, array_like=True):
    pass


class Surveying(msgspec.Struct, frozen=True, array_like=True):
    set: str
    base: str
    epoch: int


class Appending(msgspec.Struct, frozen=True, array_like=True):
    set: str
    epoch: int
    entry: Entry


class Pulling(msgspec.Struct, frozen=True, array_like=True):
    """source: name of the peer to catch up from."""

    set: str
    base: str
    epoch: int
    source: str


class Following(msgspec.Struct, frozen=True, array_like=True):
    set: str
    base: str
    epoch: int
    header: Header


class Standings(msgspec.Struct, frozen=True, array_like=True):
    """Asks for the standings of these bases."""

    set: str
    epoch: int
    bases: tuple[str, ...]
