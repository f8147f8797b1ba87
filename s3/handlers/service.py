"""What concerns no bucket: the list of them."""

from __future__ import annotations

from s3.call import Call
from s3.errors import S3Error
from s3.moment import iso_date
from s3.token import decode_token, encode_token
from s3.xml import DECLARATION, NAMESPACE, escape

BUCKETS_MAX = 10_000


async def list_buckets(call: Call) -> None:
    identity = call.identity
    limit = call.number("max-buckets", BUCKETS_MAX, most=BUCKETS_MAX)
    if limit == 0:
        raise S3Error("InvalidArgument", "max-buckets must be between 1 and 10000", ArgumentName="max-buckets", ArgumentValue="0")
    prefix = call.query.get("prefix", "")
    binding = f"buckets/{identity.account}/{prefix}"
    token = call.query.get("continuation-token")
    after = decode_token(token, binding) if token else ""
    account = "" if identity.admin else identity.account
    entries = await call.store.meta.accounts.buckets(account, prefix=prefix, after=after, limit=limit + 1)
    region = call.query.get("bucket-region")
    if region is not None:
        entries = [entry for entry in entries if (entry.region or call.services.options.region) == region]
    truncated = len(entries) > limit
    entries = entries[:limit]
    body = "".join(
        f"<Bucket><Name>{entry.bucket}</Name><CreationDate>{iso_date(entry.created_us)}</CreationDate>"
        f"<BucketRegion>{escape(entry.region or call.services.options.region)}</BucketRegion></Bucket>"
        for entry in entries
    )
    more = f"<ContinuationToken>{encode_token(entries[-1].bucket, binding)}</ContinuationToken>" if truncated else ""
    shown_prefix = f"<Prefix>{escape(prefix)}</Prefix>" if prefix else ""
    await call.answer_xml(
        f'{DECLARATION}<ListAllMyBucketsResult xmlns="{NAMESPACE}">'
        f"<Owner><ID>{escape(identity.user_id)}</ID><DisplayName>{escape(identity.display_name)}</DisplayName></Owner>"
        f"<Buckets>{body}</Buckets>{more}{shown_prefix}</ListAllMyBucketsResult>"
    )
