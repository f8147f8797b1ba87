"""Policies that are there by name: read-only, one bucket, one prefix. Pure."""

from __future__ import annotations

import json

from s3.target import is_bucket_name

READ_ONLY = "read-only"
_BUCKET, _PREFIX = "bucket:", "prefix:"
HELP = "read-only, bucket:NAME, prefix:BUCKET/PREFIX"
_LISTS = ["s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads"]


def is_preset(name: str) -> bool:
    """Whether the name is one that only a preset may have."""
    return name == READ_ONLY or name.startswith((_BUCKET, _PREFIX))


def preset(name: str) -> str:
    """The policy's text. Raises: ValueError when the name is no preset's."""
    if name == READ_ONLY:
        return _document({"Action": ["s3:Get*", "s3:List*"], "Resource": "*"})
    kind, _, place = name.partition(":")
    bucket, _, prefix = place.partition("/")
    if not is_preset(name) or not is_bucket_name(bucket) or (kind == "prefix") != bool(prefix):
        raise ValueError(f"{name} is no preset; there are {HELP}")
    arn = f"arn:aws:s3:::{bucket}"
    if kind == "bucket":
        return _document({"Action": "s3:*", "Resource": [arn, f"{arn}/*"]})
    plain = "".join(f"${{{character}}}" if character in "*?$" else character for character in prefix)
    return _document(
        {"Action": "s3:*", "Resource": f"{arn}/{plain}*"},
        {"Action": _LISTS, "Resource": arn, "Condition": {"StringLike": {"s3:prefix": f"{plain}*"}}},
        {"Action": "s3:GetBucketLocation", "Resource": arn},
    )


def _document(*statements: dict[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement} for statement in statements]})
