"""Rename of an object within its bucket.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_RenameObject.html
"""

from __future__ import annotations

import re

from s3.access import authorize_key
from s3.call import Call
from s3.condition import rename_condition
from s3.errors import S3Error, invalid_argument
from s3.publish import publish_rename
from s3.target import decode_key, decode_path

_SOURCE = b"x-amz-rename-source"
_TOKEN = b"x-amz-client-token"
_TOKEN_FORM = re.compile(r"[!-~]{1,64}")


async def rename_object(call: Call) -> None:
    source = parse_source(call.text(_SOURCE), call.bucket)
    await authorize_key(call, source, None, "s3:GetObject", "s3:DeleteObject")
    token = call.text(_TOKEN)
    if token and not _TOKEN_FORM.fullmatch(token):
        raise invalid_argument("A client token has 1 to 64 printable ASCII characters.", _TOKEN.decode("ascii"), token)
    await call.store.rename(
        call.bucket,
        source,
        call.key,
        condition=rename_condition(call, b""),
        source_condition=rename_condition(call, _SOURCE + b"-"),
        token=f"{call.identity.user_id} {token}" if token else "",
    )
    if call.settings.documents:
        await publish_rename(call, source)
    await call.answer(200)


def parse_source(header: str, bucket: str) -> str:
    """The key an x-amz-rename-source names: URL-encoded, alone or as "/bucket/key" of the same bucket. Raises: InvalidArgument."""
    try:
        raw = decode_path(header.encode("latin-1"))
        key = decode_key(raw.removeprefix(f"/{bucket}/".encode()))
    except S3Error as error:
        raise invalid_argument("The rename source must be a URL-encoded key.", _SOURCE.decode("ascii"), header) from error
    if not key:
        raise invalid_argument("The rename source must name a key.", _SOURCE.decode("ascii"), header)
    return key
