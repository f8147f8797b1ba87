"""Version ids as S3 shows them: "null", or the version's number in hex. Pure."""

from __future__ import annotations

import re

from s3.errors import S3Error

NULL = "null"
_VERSION = re.compile(r"[0-9a-f]{16}")


def encode_version(version: int, null: bool) -> str:
    return NULL if null else f"{version:016x}"


def parse_version(text: str) -> int:
    """0 stands for the null version. Raises: InvalidArgument."""
    if text == NULL:
        return 0
    if not _VERSION.fullmatch(text) or text == "0" * 16 or int(text, 16) >= 1 << 63:
        raise S3Error("InvalidArgument", "Invalid version id specified", ArgumentName="versionId", ArgumentValue=text)
    return int(text, 16)
