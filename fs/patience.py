"""A connection that waits for a store that restarts: what may be asked twice is asked again for a while, then fails.

Behind the same protocol as what it wraps. What could do harm when it is done twice is asked once: an exchange, the move of a folder.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar, cast

import trio

from fs.connection import Connection
from node.errors import FrazilError, VolumeFull, VolumeReadOnly

PATIENCE_S = 30.0
"""How long a call may wait for the store; programs see EIO then."""
PAUSE_S = 0.1
PAUSE_S_MAX = 2.0
ONCE = frozenset(("exchange", "remove_folder", "make_bucket", "remove_bucket"))
T = TypeVar("T")


async def patiently(call: Callable[[], Awaitable[T]], *, patience_s: float = PATIENCE_S) -> T:
    """Raises: what the call raises last."""
    end = trio.current_time() + patience_s
    pause_s = PAUSE_S
    while True:
        try:
            return await call()
        except FrazilError as error:
            if not error.transient or isinstance(error, VolumeFull | VolumeReadOnly) or trio.current_time() + pause_s > end:
                raise
        await trio.sleep(pause_s)
        pause_s = min(pause_s * 2, PAUSE_S_MAX)


class Patient:
    """Implements Connection by asking another again."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __repr__(self) -> str:
        return f"<Patient {self._connection!r}>"

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._connection, name)
        if name in ONCE:
            found = method
        else:

            @wraps(method)
            async def found(*arguments: Any, **named: Any) -> Any:
                try:
                    return await method(*arguments, **named)
                except FrazilError as error:
                    if not error.transient:
                        raise
                return await patiently(lambda: method(*arguments, **named))

        self.__dict__[name] = found
        return found


def patient(connection: Connection) -> Connection:
    return cast(Connection, Patient(connection))
