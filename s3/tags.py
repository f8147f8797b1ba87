"""The tags of a bucket. Pure."""

from __future__ import annotations

from s3.attributes import check_tags
from s3.configuration import Configuration
from s3.shape import Shape

BUCKET_TAGS_MAX = 50


class Tag(Shape, frozen=True):
    key: str
    value: str


class TagSet(Shape, frozen=True):
    tag: tuple[Tag, ...] = ()


class Tagging(Shape, frozen=True):
    tag_set: TagSet


def checked(tagging: Tagging) -> Tagging:
    """Raises: InvalidTag."""
    check_tags(((tag.key, tag.value) for tag in tagging.tag_set.tag), most=BUCKET_TAGS_MAX, what="Bucket")
    return tagging


TAGGING = Configuration("tagging", "Tagging", Tagging, absent="NoSuchTagSet", checked=checked, checksum=True)
