"""What a client may say of a bucket that it makes: where it is to lie, and its tags. Pure."""

from __future__ import annotations

import re

from s3.errors import S3Error, not_implemented
from s3.shape import Shape
from s3.tags import TAGGING, Tagging, TagSet

_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-[0-9]|EU")


class Kind(Shape, frozen=True):
    """Of a directory bucket, or where one lies."""

    type: str | None = None
    name: str | None = None
    data_redundancy: str | None = None


class Creation(Shape, frozen=True):
    location_constraint: str | None = None
    location: Kind | None = None
    bucket: Kind | None = None
    tags: TagSet | None = None

    def documents(self) -> dict[str, str]:
        """The documents with which the bucket begins. Raises: InvalidTag, NotImplemented."""
        if self.bucket is not None or self.location is not None:
            raise not_implemented("A directory bucket")
        if self.tags is None or not self.tags.tag:
            return {}
        return {TAGGING.name: TAGGING.encode(TAGGING.checked(Tagging(self.tags)))}

    def check_region(self, region: str) -> None:
        """region: ours, in which the bucket is going to be. Raises: IllegalLocationConstraintException, InvalidLocationConstraint."""
        wanted = self.location_constraint
        if not wanted or wanted == region:
            return
        if not _REGION.fullmatch(wanted):
            raise S3Error("InvalidLocationConstraint", "The specified location-constraint is not valid", LocationConstraint=wanted)
        raise S3Error(
            "IllegalLocationConstraintException",
            f"The {wanted} location constraint is incompatible for the region specific endpoint this request was sent to.",
        )
