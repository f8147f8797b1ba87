"""What the files of a mount have in common."""

from __future__ import annotations

import trio

from fs.along import Along, Put
from fs.cold import Cold
from fs.connection import Connection
from fs.readahead import Budget
from fs.spool import SpoolFolder
from fs.stage import Uploads
from store.debts import Debts


class Shared:
    """Of one mount. alongs: puts that go along with files that are written, and have not ended."""

    def __init__(
        self,
        connection: Connection,
        spools: SpoolFolder,
        nursery: trio.Nursery,
        *,
        cold: str = "error",
        uploads: Uploads | None = None,
        debts: Debts | None = None,
    ) -> None:
        """uploads: for files that are larger than the spool; None: there are none. debts: what other mounts of the host have not stored."""
        self.connection, self.spools, self.nursery, self.uploads = connection, spools, nursery, uploads
        self.cold = Cold(connection, cold)
        self.budget = Budget()
        self.alongs = 0
        self.debts = debts or Debts(None)

    def go_along(self, along: Along, put: Put) -> None:
        self.alongs += 1
        self.nursery.start_soon(self._run, along, put)

    async def _run(self, along: Along, put: Put) -> None:
        try:
            await along.run(put)
        finally:  # not when its file is closed: one that is written to once an hour would keep its place for ever
            self.alongs -= 1
