"""A bucket's settings documents: what each is called, its shape, and what is answered while it is not set. Pure.

They lie in `BucketSettings.documents`, by name, as XML in S3's own schema: what a client gets is what is stored. The stored text was
written by `shape.write` from a checked value, so it has no more and no less than was understood.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Generic, TypeVar

import msgspec

from meta.protocol.bucket import BucketSettings
from s3.shape import read, write
from s3.xml import parse

DOCUMENTS_CACHED = 1_024
"""Parsed documents kept at hand, by their text."""

T = TypeVar("T", bound=msgspec.Struct)


def as_it_is(value: T) -> T:
    """For documents whose shape says all."""
    return value


class Configuration(msgspec.Struct, Generic[T], frozen=True):
    """One kind of settings document.

    name      in BucketSettings.documents: S3's name of the subresource
    absent    code that answers while there is none;  default: the document that answers instead
    checked   the value to keep for one that a client sent; raises S3Error when it breaks a rule that its shape can't say
    checksum  refused without Content-MD5 or a checksum
    """

    name: str
    root: str
    kind: type[T]
    absent: str = ""
    default: T | None = None
    checked: Callable[[T], T] = as_it_is
    checksum: bool = False

    def of(self, settings: BucketSettings) -> T | None:
        """The bucket's document, None when it has none."""
        text = settings.documents.get(self.name)
        return None if text is None else _parsed(text, self.root, self.kind)

    def encode(self, value: T) -> str:
        return write(value, self.root)


@lru_cache(maxsize=DOCUMENTS_CACHED)
def _parsed(text: str, root: str, kind: type[Any]) -> Any:
    return read(parse(text.encode(), root), kind)
