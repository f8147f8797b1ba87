"""A connection as the proofs of its calls know it (node/auth.py)."""

from __future__ import annotations

import os
import re

CHALLENGE_BYTES = 16
_CHALLENGE = re.compile(r"[0-9a-f]{32}")


class Line:
    """Of either end. number: of the last call on it."""

    __slots__ = ("challenge", "number")

    def __init__(self, challenge: bytes) -> None:
        self.challenge = challenge
        self.number = 0

    def __repr__(self) -> str:
        return f"<Line calls={self.number}>"

    @classmethod
    def fresh(cls) -> Line:
        """At the server's end."""
        return cls(os.urandom(CHALLENGE_BYTES).hex().encode())

    @classmethod
    def told(cls, detail: str) -> Line:
        """At the caller's end: of a refusal's detail. Of one who asks for no proof: any."""
        return cls(detail.encode() if _CHALLENGE.fullmatch(detail) else b"")
