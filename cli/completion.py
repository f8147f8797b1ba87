"""What the shell offers for a place: buckets and keys, asked of the store in bounded time; never an error."""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import CompletionItem

COMPLETION_TIMEOUT_S = 1.0
OFFERS_MAX = 200


def complete_place(ctx: click.Context, incomplete: str, *, local: bool) -> list[Any]:
    """Buckets, or keys one level below what is typed; nothing when the store doesn't answer within COMPLETION_TIMEOUT_S."""
    if local and not incomplete.startswith("s3:"):
        return [CompletionItem(incomplete, type="file")]
    typed = incomplete.removeprefix("s3:").lstrip("/")
    start = "s3://" if incomplete.startswith("s3:") or local else ""
    try:
        names = _names(ctx, typed)
    except Exception:  # noqa: BLE001 - must stay silent: the shell would show the message in the middle of the line
        return []
    return [CompletionItem(start + name) for name in names[:OFFERS_MAX]]


def _names(ctx: click.Context, typed: str) -> list[str]:
    import trio

    from cli.session import Session, Settings

    def given(name: str) -> str:
        return str(ctx.params.get(name) or ctx.find_root().params.get(name) or "")

    session = Session(Settings(store=given("store"), profile=given("profile")))

    async def ask() -> list[str]:
        with trio.move_on_after(COMPLETION_TIMEOUT_S):
            async with session.client() as client:
                bucket, slash, prefix = typed.partition("/")
                if not slash:
                    return [f"{found.name}/" for found in await client.list_buckets() if found.name.startswith(bucket)]
                page = await client.list_page(bucket, prefix=prefix, delimiter="/")
                return sorted([f"{bucket}/{name}" for name in page.prefixes] + [f"{bucket}/{entry.key}" for entry in page.entries])
        return []

    return trio.run(ask)
