"""Tags of objects and of buckets: their rules, and a bucket's document of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from unicodedata import category
from urllib.parse import parse_qsl

from s3.configuration import Configuration
from s3.errors import S3Error
from s3.shape import Shape

OBJECT_TAGS_MAX = 10
BUCKET_TAGS_MAX = 50
TAG_KEY_MAX = 128
TAG_VALUE_MAX = 256
TAGGING_HEADER = b"x-amz-tagging"
"""The header of a write that brings tags."""
_SIGNS = "_.:/=+-@"


class Tag(Shape, frozen=True):
    key: str
    value: str


class TagSet(Shape, frozen=True):
    tag: tuple[Tag, ...] = ()


class Tagging(Shape, frozen=True):
    tag_set: TagSet


def check_tag(key: str, value: str) -> None:
    """Raises: InvalidTag."""
    if key.startswith("aws:"):
        raise S3Error("InvalidTag", "System tags cannot be added/updated by requester", TagKey=key)
    if not 1 <= len(key) <= TAG_KEY_MAX or not _is_plain(key):
        raise S3Error("InvalidTag", "The TagKey you have provided is invalid", TagKey=key)
    if len(value) > TAG_VALUE_MAX or not _is_plain(value):
        raise S3Error("InvalidTag", "The TagValue you have provided is invalid", TagKey=key, TagValue=value)


def _is_plain(text: str) -> bool:
    """AWS takes letters, digits, separators and a few signs."""
    return all(character.isalnum() or character in _SIGNS or category(character)[0] == "Z" for character in text)


def check_tags(pairs: Iterable[tuple[str, str]], *, most: int = OBJECT_TAGS_MAX, what: str = "Object") -> dict[str, str]:
    """Tags of an object or a bucket. Raises: InvalidTag."""
    tags: dict[str, str] = {}
    for key, value in pairs:
        check_tag(key, value)
        if key in tags:
            raise S3Error("InvalidTag", "Cannot provide multiple Tags with the same key", TagKey=key)
        tags[key] = value
    if len(tags) > most:
        raise S3Error("InvalidTag", f"{what} tags cannot be greater than {most}")
    return tags


def checked(tagging: Tagging) -> Tagging:
    """Raises: InvalidTag."""
    check_tags(((tag.key, tag.value) for tag in tagging.tag_set.tag), most=BUCKET_TAGS_MAX, what="Bucket")
    return tagging


TAGGING = Configuration("tagging", "Tagging", Tagging, absent="NoSuchTagSet", checked=checked, checksum=True)


def tags_of_header(header: bytes | None) -> dict[str, str]:
    """What the tagging header says. Raises: InvalidTag, InvalidArgument."""
    if not header:
        return {}
    try:
        pairs = parse_qsl(header.decode(), keep_blank_values=True, strict_parsing=False, errors="strict", max_num_fields=64)
    except ValueError as error:
        raise S3Error(
            "InvalidArgument", "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters"
        ) from error
    return check_tags(pairs)
