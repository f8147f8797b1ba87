"""What a store on this host holds, walked through its metadata."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from cli.address import Remote
from meta.protocol.listing import Listed, ListRequest
from node.errors import NotFound
from store.store import Store

BUCKETS_PAGE = 1_000


async def buckets(store: Store) -> AsyncGenerator[str, None]:
    after = ""
    while page := await store.meta.accounts.buckets("", after=after, limit=BUCKETS_PAGE):
        for entry in page:
            yield entry.bucket
        after = page[-1].bucket


async def versions(store: Store, place: Remote) -> AsyncGenerator[Listed, None]:
    """Every version and marker; an object's own when there is one of exactly that key, else all below the prefix."""
    container = store.meta.container(place.bucket)
    exact = False
    if place.key:
        try:
            exact = bool((await container.get(place.key)).key)
        except NotFound:
            exact = False
    request = ListRequest(prefix=place.key, versions=True)
    while True:
        page = await container.list(request)
        for row in page.rows:
            if not exact or row.key == place.key:
                yield row
        if not page.truncated:
            return
        request = ListRequest(prefix=place.key, versions=True, after=page.next_after, after_version=page.next_version)
