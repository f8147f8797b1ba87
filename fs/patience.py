"""A connection that waits for a store that restarts: what may be asked twice is asked again for a while, then fails.

Behind the same protocol as what it wraps. What could do harm or be misunderstood when it is done twice (an exchange, the move of a folder,
a put that is only to make what isn't there) is asked again only if the store surely had not heard it.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar, cast

import trio

from fs.connection import Connection, MakeSource
from fs.stage import Uploads
from meta.protocol.folder import FOLDER_END
from meta.protocol.object import NO_CONDITION, Attributes, Condition, ObjectRow
from node.errors import DeadlineExceeded, FrazilError, NotConnected, PeerUnreachable, VolumeFull, VolumeReadOnly

PAUSE_S = 0.1
PAUSE_S_MAX = 2.0
ONCE = frozenset(("begin", "exchange", "remove_folder", "make_bucket", "remove_bucket"))
READS = frozenset(("buckets", "parts", "settings", "peek", "browse", "row", "window", "changes", "volumes"))
"""Where they are answered from this host's disks, they don't tell whether the store's process answers."""
T = TypeVar("T")
Again = Callable[[FrazilError], bool]


def may_help(error: FrazilError) -> bool:
    return error.transient and not isinstance(error, VolumeFull | VolumeReadOnly)


def was_not_made(error: FrazilError) -> bool:
    return isinstance(error, NotConnected)


class Outage:
    """Since when the store is away: all calls wait for the same one, so whoever comes late, or asks several times, waits no longer."""

    def __init__(self) -> None:
        self.began = self._seen = -math.inf

    def seen(self, began: float, now: float, patience_s: float) -> None:
        """A call from `began` to now got no answer. One that is long past was another outage."""
        if now - self._seen > patience_s + PAUSE_S_MAX:
            self.began = began
        self._seen = now

    def over(self) -> None:
        self._seen = -math.inf


async def patiently(call: Callable[[], Awaitable[T]], *, again: Again = may_help, patience_s: float, outage: Outage | None = None) -> T:
    """Raises: what the call raises last."""
    began = trio.current_time()
    pause_s = PAUSE_S
    while True:
        asked = trio.current_time()
        try:
            answer = await call()
        except FrazilError as error:
            now = trio.current_time()
            end = began + patience_s
            if outage is not None and isinstance(error, PeerUnreachable | DeadlineExceeded):
                outage.seen(asked, now, patience_s)
                end = min(end, outage.began + patience_s)
            elif outage is not None:
                outage.over()
            if not again(error) or now + pause_s > end:
                raise
        else:
            if outage is not None:
                outage.over()
            return answer
        await trio.sleep(pause_s)
        pause_s = min(pause_s * 2, PAUSE_S_MAX)


class Patient:
    """Implements Connection by asking another again."""

    def __init__(self, connection: Connection, patience_s: float, *, reads_tell: bool = False) -> None:
        """reads_tell: whether it is the store that answers reads, too."""
        self._connection = connection
        self._patience_s = patience_s
        self._silent = frozenset() if reads_tell else READS
        self._outage = Outage()

    def __repr__(self) -> str:
        return f"<Patient {self._connection!r}>"

    async def put(
        self, bucket: str, key: str, source: MakeSource, attributes: Attributes, *, condition: Condition = NO_CONDITION
    ) -> ObjectRow:
        return await self._ask(
            lambda: self._connection.put(bucket, key, source, attributes, condition=condition),
            may_help if condition == NO_CONDITION else was_not_made,
        )

    async def move(self, bucket: str, source: str, target: str, *, replace: bool, token: str = "") -> None:
        """The move of an object has a token, by which the store knows it when it comes again."""
        token = token or secrets.token_hex(16)
        await self._ask(
            lambda: self._connection.move(bucket, source, target, replace=replace, token=token),
            was_not_made if source.endswith(FOLDER_END) else may_help,
        )

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._connection, name)
        again = was_not_made if name in ONCE else may_help
        outage = None if name in self._silent else self._outage

        @wraps(method)
        async def found(*arguments: Any, **named: Any) -> Any:
            return await patiently(lambda: method(*arguments, **named), again=again, patience_s=self._patience_s, outage=outage)

        self.__dict__[name] = found
        return found

    async def _ask(self, call: Callable[[], Awaitable[T]], again: Again) -> T:
        return await patiently(call, again=again, patience_s=self._patience_s, outage=self._outage)


def patient(connection: Connection, patience_s: float, *, reads_tell: bool = False) -> Connection:
    return cast(Connection, Patient(connection, patience_s, reads_tell=reads_tell))


def patient_uploads(uploads: Uploads, patience_s: float) -> Uploads:
    return cast(Uploads, Patient(cast(Connection, uploads), patience_s))
