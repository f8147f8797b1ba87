"""ls, tree, du: what is there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import click

from cli.address import Remote
from cli.answer import Entry
from cli.client import S3Client
from cli.exit import Exit
from cli.match import Filter
from cli.output import Output, count_text, time_json, time_text
from cli.parameter import REMOTE, filter_options
from cli.session import Session, with_session
from node.errors import ObjectNotFound
from node.text import bytes_text, visible

TREE_DEPTH_MAX = 100
CLASS_WIDTH = 19
"""Of the longest name of a storage class."""


def _emit_entry(output: Output, bucket: str, entry: Entry, shown: str, *, human: bool, long: bool) -> None:
    size = bytes_text(entry.size) if human else str(entry.size)
    state = f" ({entry.restore.words})" if entry.restore is not None else ""
    line = f"{time_text(entry.modified)} {size:>12} " + (f"{entry.storage_class:<{CLASS_WIDTH}} " if long else "") + visible(shown) + state
    fields: dict[str, object] = {
        "size": entry.size,
        "etag": entry.etag,
        "modified": time_json(entry.modified),
        "storage_class": entry.storage_class,
    }
    if entry.restore is not None:
        fields["restore"] = entry.restore.fields()
    output.record("object", line, bucket=bucket, key=entry.key, **fields)


@click.command("ls", short_help="List buckets and objects.")
@click.argument("place", type=REMOTE, required=False)
@click.option("-r", "--recursive", is_flag=True, help="All objects below, not only the next level.")
@click.option("-h", "--human", is_flag=True, help="Sizes with units.")
@click.option("-l", "--long", is_flag=True, help="Also the storage class, and what is restored.")
@filter_options
@with_session
def ls(
    session: Session,
    place: Remote | None,
    recursive: bool,
    human: bool,
    long: bool,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
) -> Exit:
    """List buckets, or what is in a bucket or below a prefix.

    Without PLACE the buckets. Folders (common prefixes) end in a slash. Names are relative to the last slash of PLACE.
    """
    session.subject = str(place or "")
    return session.run(lambda: _ls(session, place, Filter.parse(include, exclude), recursive=recursive, human=human, long=long))


async def _ls(session: Session, place: Remote | None, passes: Filter, *, recursive: bool, human: bool, long: bool) -> Exit:
    output = session.output
    async with session.client(place.profile if place else "") as client:
        if place is None:
            buckets = await client.list_buckets()
            for bucket in buckets:
                output.record("bucket", f"{time_text(bucket.created)} {bucket.name}", bucket=bucket.name, created=time_json(bucket.created))
            output.record("summary", buckets=len(buckets))
            return Exit.OK
        total = _Sum()
        cut = place.key.rfind("/") + 1
        async for found in _level(client, place, recursive=recursive, restores=long):
            if isinstance(found, str):
                if passes.passes(found[cut:].rstrip("/")):
                    total.prefixes += 1
                    line = f"{'':19} {'':>12} {output.style(visible(found[cut:]), 'blue')}"
                    output.record("prefix", line, bucket=place.bucket, prefix=found)
            elif passes.passes(found.key[cut:]):
                total.add(found)
                _emit_entry(output, place.bucket, found, found.key[cut:] or found.key, human=human, long=long)
    output.record("summary", objects=total.objects, prefixes=total.prefixes, bytes=total.size)
    if place.key and not total.objects and not total.prefixes and not place.key.endswith("/"):
        raise ObjectNotFound("nothing begins with it")
    return Exit.OK


async def _level(client: S3Client, place: Remote, *, recursive: bool, restores: bool = False) -> AsyncIterator[Entry | str]:
    """Objects and folders in one order."""
    if recursive:
        async for entry in client.list_objects(place.bucket, place.key, restores=restores):
            yield entry
        return
    token = ""
    while True:
        page = await client.list_page(place.bucket, prefix=place.key, delimiter="/", token=token, restores=restores)
        rows: list[Entry | str] = [*page.entries, *page.prefixes]
        for row in sorted(rows, key=lambda row: (row if isinstance(row, str) else row.key).encode()):
            yield row
        token = page.continuation
        if not token:
            return


@dataclass(slots=True)
class _Sum:
    objects: int = 0
    prefixes: int = 0
    size: int = 0

    def add(self, entry: Entry) -> None:
        self.objects += 1
        self.size += entry.size


@click.command("tree", short_help="Show what is below a prefix as a tree.")
@click.argument("place", type=REMOTE)
@click.option("-L", "--depth", metavar="N", type=click.IntRange(1, TREE_DEPTH_MAX), default=TREE_DEPTH_MAX, help="Levels to show.")
@click.option("-d", "--folders", is_flag=True, help="Folders only.")
@with_session
def tree(session: Session, place: Remote, depth: int, folders: bool) -> Exit:
    """Show what is in a bucket or below a prefix as a tree."""
    session.subject = str(place)
    return session.run(lambda: _tree(session, place.folder(), depth, folders))


async def _tree(session: Session, place: Remote, depth: int, folders: bool) -> Exit:
    output = session.output
    total = _Sum()

    async def show(client: S3Client, prefix: str, lead: str, level: int) -> None:
        children = [child async for child in _level(client, Remote(place.bucket, prefix), recursive=False)]
        if folders:
            children = [child for child in children if isinstance(child, str)]
        children = [child for child in children if isinstance(child, str) or child.key != prefix]
        for at, child in enumerate(children):
            last = at + 1 == len(children)
            branch = lead + ("└── " if last else "├── ")
            if isinstance(child, str):
                total.prefixes += 1
                name = child[len(prefix) :]
                output.record("prefix", branch + output.style(visible(name), "blue"), bucket=place.bucket, prefix=child, depth=level)
                if level < depth:
                    await show(client, child, lead + ("    " if last else "│   "), level + 1)
            else:
                total.add(child)
                output.record(
                    "object", branch + visible(child.key[len(prefix) :]), bucket=place.bucket, key=child.key, size=child.size, depth=level
                )

    async with session.client(place.profile) as client:
        output.record("root", str(place))
        await show(client, place.key, "", 1)
    text = f"\n{count_text(total.prefixes, 'folder')}, {count_text(total.objects, 'object')}, {bytes_text(total.size)}"
    output.record("summary", text, objects=total.objects, prefixes=total.prefixes, bytes=total.size)
    return Exit.OK


@dataclass(slots=True)
class _Usage:
    total: _Sum = field(default_factory=_Sum)
    below: dict[str, _Sum] = field(default_factory=dict)


@click.command("du", short_help="Sum up objects and bytes.")
@click.argument("places", type=REMOTE, nargs=-1, metavar="[PLACE...]")
@click.option(
    "-d", "--depth", metavar="N", type=click.IntRange(0, TREE_DEPTH_MAX), default=0, help="Also each folder, so many levels down."
)
@click.option("-b", "--bytes", "exact", is_flag=True, help="Sizes in bytes.")
@filter_options
@with_session
def du(session: Session, places: tuple[Remote, ...], depth: int, exact: bool, include: tuple[str, ...], exclude: tuple[str, ...]) -> Exit:
    """Sum up objects and bytes below each PLACE; without one, of every bucket."""
    return session.run(lambda: _du(session, places, depth, exact, Filter.parse(include, exclude)))


async def _du(session: Session, places: tuple[Remote, ...], depth: int, exact: bool, passes: Filter) -> Exit:
    output = session.output

    def show(name: str, total: _Sum, kind: str = "usage") -> None:
        size = str(total.size) if exact else bytes_text(total.size)
        output.record(kind, f"{size:>14} {total.objects:>10,}  {visible(name)}", place=name, objects=total.objects, bytes=total.size)

    grand = _Sum()
    async with session.clients({place.profile for place in places} or {""}) as clients:
        for place in places or [Remote(bucket.name) for bucket in await clients[""].list_buckets()]:
            session.subject = str(place)
            usage = await _usage(clients[place.profile], place, depth, passes)
            for folder, total in usage.below.items():
                show(folder, total)
            show(str(place), usage.total)
            grand.objects += usage.total.objects
            grand.size += usage.total.size
    if output.json:
        output.record("summary", objects=grand.objects, bytes=grand.size)
    elif len(places) != 1:
        show("total", grand, "summary")
    return Exit.OK


async def _usage(client: S3Client, place: Remote, depth: int, passes: Filter) -> _Usage:
    usage = _Usage()
    cut = place.key.rfind("/") + 1
    async for entry in client.list_objects(place.bucket, place.key):
        if not passes.passes(entry.key[cut:]):
            continue
        usage.total.add(entry)
        steps = entry.key[cut:].split("/")[:-1]
        for level in range(1, min(depth, len(steps)) + 1):
            folder = f"s3://{place.bucket}/{place.key[:cut]}{'/'.join(steps[:level])}/"
            usage.below.setdefault(folder, _Sum()).add(entry)
    return usage
