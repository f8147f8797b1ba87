"""A bucket's public-access block: four switches against access by mistake. Pure.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html
"""

from __future__ import annotations

from s3.configuration import Configuration
from s3.shape import Shape


class PublicAccessBlock(Shape, frozen=True):
    """block_public_acls: no public list may be put; ignore_public_acls: public grants count for nothing; block_public_policy: no public
    policy may be put; restrict_public_buckets: a public policy lets in nobody of another account."""

    block_public_acls: bool = False
    ignore_public_acls: bool = False
    block_public_policy: bool = False
    restrict_public_buckets: bool = False


NO_BLOCK = PublicAccessBlock()
PUBLIC_ACCESS_BLOCK = Configuration(
    "publicAccessBlock", "PublicAccessBlockConfiguration", PublicAccessBlock, absent="NoSuchPublicAccessBlockConfiguration"
)
