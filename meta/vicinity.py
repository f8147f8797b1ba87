"""What lies around a name that was looked up: who asks for the names of a folder in their order is answered many from one read.

Theory of operation. To look one name up costs 25 us, to pass it in a scan 8. When keys of one folder are asked for in ascending order, a
stretch of the folder is read from such a key on; while nothing is committed to the base it tells of every name in it, and of each that is
not there. The next stretch is twice as long as what was asked of the last one. One of which nothing was asked has more ascending keys be
waited for before the next is read: names that are asked for in no order cost no reads beside their own.
"""

from __future__ import annotations

from meta.protocol.folder import BEHIND, FOLDER_END, BrowsePage, Node, Peek, folder_of

STRETCH_MIN = 8
STRETCH_MAX = 128
"""Names of one stretch: about 1 ms to read, and 200 KiB."""
ASCENTS_MAX = 64
"""Ascending keys before a stretch is read, at the most."""
NOTHING = Peek()


class Vicinity:
    """Of all bases of a process: the last stretch that was read."""

    def __init__(self) -> None:
        self._state: bytes | None = None
        self._names: dict[str, Peek] = {}
        self._unsaid: set[str] = set()  # in it, but not told in whole: cut off at its end, or of a layout that is too long
        self._prefix = self._begin = ""
        self._end = ""
        self._asked = 0  # of the stretch, beside the name for which it was read
        self._last = "", ""
        self._ascents = 0
        self._ascents_wanted = 1

    def __repr__(self) -> str:
        return f"<Vicinity {self._begin!r} names={len(self._names)} asked={self._asked}>"

    def __len__(self) -> int:
        return len(self._names)

    def get(self, key: str, state: bytes | None) -> Peek | None:
        """None when it doesn't know. state: of the base now (Base.state)."""
        if state is None or state is not self._state:
            return None
        found = self._names.get(key)
        if found is None:
            if key in self._unsaid or not self._covers(key):
                return None
            found = NOTHING
        self._asked += 1
        return found

    def wished(self, bucket: str, key: str) -> int:
        """How many names are to be read from this one on, which it didn't know: 0 for none."""
        last, self._last = self._last, (bucket, key)
        if last[0] != bucket or not last[1] < key or folder_of(last[1]) != folder_of(key):
            self._ascents = 0
            return 0
        self._ascents += 1
        if self._ascents < self._ascents_wanted:
            return 0
        self._ascents_wanted = 1 if self._asked > 0 or self._state is None else min(self._ascents_wanted * 2, ASCENTS_MAX)
        return min(max(self._asked * 2, STRETCH_MIN), STRETCH_MAX)

    def put(self, key: str, state: bytes, page: BrowsePage) -> None:
        """page: meta.browse.stretch from the key on; state: as it was told before that was read."""
        self._state, self._prefix, self._begin, self._end, self._asked = state, folder_of(key), key, page.begin, -1
        self._names = {}
        self._unsaid = set()
        for node in page.nodes:
            folder = node.key.endswith(FOLDER_END) and node.key != self._prefix
            name = node.key.removesuffix(FOLDER_END) if folder else node.key
            if not self._covers(name) or not (folder or (node.row is not None and node.row.layout)):
                self._unsaid.add(name)
            else:
                self._names[name] = _with(self._names.get(name), node, folder=folder)
        for name in self._unsaid:
            self._names.pop(name, None)

    def _covers(self, key: str) -> bool:
        """Whether the stretch has all that the name may stand for: its key and those below it."""
        return (
            self._begin <= key
            and key.startswith(self._prefix)
            and FOLDER_END not in key[len(self._prefix) :]
            and (not self._end or key + BEHIND <= self._end)
        )


def _with(known: Peek | None, node: Node, *, folder: bool) -> Peek:
    """An object and a folder of one name are two nodes."""
    if folder:
        return Peek(known.row if known is not None else None, True, node.row)
    return Peek(node.row)
