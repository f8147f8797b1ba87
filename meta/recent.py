"""Rows that were read lately, for as long as nothing is committed to their base."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from meta.protocol.object import ObjectRow

ROWS_MAX = 4_096
"""Of all bases of a process: about 6 MiB."""
LAYOUT_BYTES_MAX = 512
"""Rows of larger contents are not kept: reading those costs more than their rows."""

Place = tuple[str, str, int | None]
"""Bucket, key and version as they were asked for."""


class Recent:
    """Each row with the state its base had (Base.state): it is valid while the base has that same state. The oldest go first."""

    def __init__(self) -> None:
        self._rows: OrderedDict[Place, tuple[bytes, ObjectRow]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Recent rows={len(self._rows)}>"

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Place]:
        return iter(self._rows)

    def clear(self) -> None:
        self._rows.clear()

    def get(self, place: Place, state: bytes | None) -> ObjectRow | None:
        """state: of the base now, None when that can't be told."""
        found = self._rows.get(place)
        return found[1] if found is not None and found[0] is state else None

    def put(self, place: Place, state: bytes | None, row: ObjectRow) -> None:
        """state: told before the row was read."""
        if state is None or len(row.layout) > LAYOUT_BYTES_MAX or row.attributes.parts:
            return
        self._rows[place] = state, row
        if len(self._rows) > ROWS_MAX:
            self._rows.popitem(last=False)
