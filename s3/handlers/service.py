"""What concerns no bucket: the list of them."""

from __future__ import annotations

from meta.protocol.registry import BucketEntry
from s3.call import Call
from s3.errors import invalid_argument
from s3.moment import iso_date
from s3.token import decode_token, encode_token
from s3.xml import DECLARATION, NAMESPACE, escape

BUCKETS_MAX = 10_000


async def list_buckets(call: Call) -> None:
    identity = call.identity
    limit = call.number("max-buckets", BUCKETS_MAX, most=BUCKETS_MAX + 1)
    if not 1 <= limit <= BUCKETS_MAX:
        raise invalid_argument(
            f"Argument max-buckets must be an integer between 1 and {BUCKETS_MAX}", "max-buckets", call.query["max-buckets"]
        )
    prefix, region = call.query.get("prefix", ""), call.query.get("bucket-region", "")
    binding = f"buckets/{identity.account}/{prefix}/{region}"
    token = call.query.get("continuation-token")
    entries = await _entries(call, prefix, region, decode_token(token, binding) if token else "", limit + 1)
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


async def _entries(call: Call, prefix: str, region: str, after: str, count: int) -> list[BucketEntry]:
    """At most `count` buckets of the account (an admin: of all), in order; region "": in all of them."""
    identity, here = call.identity, call.services.options.region
    account = "" if identity.admin else identity.account
    found: list[BucketEntry] = []
    while len(found) < count:
        page = await call.store.meta.accounts.buckets(account, prefix=prefix, after=after, limit=BUCKETS_MAX)
        found += [entry for entry in page if not region or (entry.region or here) == region]
        if len(page) < BUCKETS_MAX:
            break
        after = page[-1].bucket
    return found[:count]
