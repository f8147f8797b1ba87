"""cp, mv, put, get: files and objects to other places."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import click

from cli.address import Address, Local, Remote, Stream
from cli.client import S3Client
from cli.commands.stream import write_standard_output
from cli.customer import NO_KEYS, CustomerKeys
from cli.exit import Exit
from cli.job import Job, Runner
from cli.match import Filter
from cli.meter import SilentMeter, metered
from cli.parameter import ADDRESS, REMOTE, customer_key_option, dry_run_option, filter_options, header_options, jobs_option, object_headers
from cli.session import Session, with_session
from cli.transfer import Transfers, check_no_link, is_special, path_below
from cli.walk import Item, local_items, remote_items
from node.errors import FrazilError, InvalidArgument, ObjectNotFound


@dataclass(frozen=True, slots=True)
class Order:
    """What cp or mv was asked for."""

    sources: tuple[Address, ...]
    target: Address
    recursive: bool
    passes: Filter
    jobs: int
    headers: dict[str, str]
    customers: CustomerKeys = NO_KEYS
    move: bool = False

    def check(self) -> None:
        """Raises: click.UsageError when the places don't go together."""
        remotes = [place for place in (*self.sources, self.target) if isinstance(place, Remote)]
        if not remotes:
            raise click.UsageError("neither source nor target is in a store; an object is written s3://BUCKET/KEY")
        for source in self.sources:
            if isinstance(source, Local) and not isinstance(self.target, Remote):
                raise click.UsageError(f"{source} is a local file, so the target must be in a store; an object is written s3://BUCKET/KEY")
            if isinstance(source, Remote) and not source.key and not self.recursive:
                raise click.UsageError(f"{source} is a bucket; give -r to take all that is in it")
        streams = any(isinstance(place, Stream) for place in (*self.sources, self.target))
        if streams and (len(self.sources) != 1 or self.recursive or self.move):
            raise click.UsageError("`-` goes with one source and one target, and not with -r or mv")
        if isinstance(self.sources[0], Stream) and isinstance(self.target, Remote) and self.target.is_folder:
            raise click.UsageError(f"standard input needs a key: {self.target.below('NAME')}")

    @property
    def into_folder(self) -> bool:
        """Whether sources keep their last name below the target."""
        if len(self.sources) > 1:
            return True
        if isinstance(self.target, Remote):
            return self.target.is_folder
        return isinstance(self.target, Local) and (self.target.path.endswith("/") or os.path.isdir(self.target.path))


_TRANSFER_HELP = """Places in a store are written s3://BUCKET/KEY; `-` is standard input or output. A TARGET that ends in a
slash (or is a bucket or a folder) takes sources under their own names. With -r what is below a SOURCE goes below the TARGET; when
there are several sources, each keeps its name there. Large files go in parts, several at a time; an upload that was interrupted goes
on when the same command is given again."""


@click.command("cp", short_help="Copy files and objects.", help=f"Copy files and objects.\n\n{_TRANSFER_HELP}")
@click.argument("sources", type=ADDRESS, nargs=-1, required=True, metavar="SOURCE...")
@click.argument("target", type=ADDRESS)
@click.option("-r", "--recursive", is_flag=True, help="All that is below a folder or prefix.")
@filter_options
@header_options
@click.option("--source-sse-c-key-file", metavar="FILE", default="", help="The same for the source, when both are in a store.")
@customer_key_option
@jobs_option
@dry_run_option
@with_session
def cp(session: Session, sources: tuple[Address, ...], target: Address, **options: Any) -> Exit:
    return _run(session, sources, target, options, move=False)


@click.command(
    "mv", short_help="Move files and objects.", help=f"Move files and objects: copy, then remove the source.\n\n{_TRANSFER_HELP}"
)
@click.argument("sources", type=ADDRESS, nargs=-1, required=True, metavar="SOURCE...")
@click.argument("target", type=ADDRESS)
@click.option("-r", "--recursive", is_flag=True, help="All that is below a folder or prefix.")
@filter_options
@header_options
@click.option("--source-sse-c-key-file", metavar="FILE", default="", help="The same for the source, when both are in a store.")
@customer_key_option
@jobs_option
@dry_run_option
@with_session
def mv(session: Session, sources: tuple[Address, ...], target: Address, **options: Any) -> Exit:
    return _run(session, sources, target, options, move=True)


@click.command("put", short_help="Store a file or standard input as an object.")
@click.argument("file", type=click.Path())
@click.argument("place", type=REMOTE)
@header_options
@customer_key_option
@jobs_option
@dry_run_option
@with_session
def put(session: Session, file: str, place: Remote, **options: Any) -> Exit:
    """Store FILE (`-`: standard input) as the object PLACE, or under its own name when PLACE is a bucket or ends in a slash."""
    return _run(session, (Stream() if file == "-" else Local(file),), place, {**_PLAIN, **options}, move=False)


@click.command("get", short_help="Fetch an object into a file or to standard output.")
@click.argument("place", type=REMOTE)
@click.argument("file", type=click.Path(), default=".")
@customer_key_option
@jobs_option
@dry_run_option
@with_session
def get(session: Session, place: Remote, file: str, **options: Any) -> Exit:
    """Fetch the object PLACE into FILE (`-`: standard output; a folder, by default this one: under its own name)."""
    return _run(session, (place,), Stream() if file == "-" else Local(file), {**_PLAIN, **_NO_HEADERS, **options}, move=False)


_PLAIN: dict[str, Any] = {"recursive": False, "include": (), "exclude": (), "source_sse_c_key_file": ""}
_NO_HEADERS: dict[str, Any] = {"content_type": "", "cache_control": "", "metadata": (), "storage_class": "", "sse": ""}


def _run(session: Session, sources: tuple[Address, ...], target: Address, options: dict[str, Any], *, move: bool) -> Exit:
    passes = Filter.parse(options["include"], options["exclude"])
    key, source_key = options["sse_c_key_file"], options["source_sse_c_key_file"]
    if not isinstance(target, Remote):
        source_key = source_key or key
    customers = CustomerKeys.of_files(source_key, key)
    order = Order(sources, target, options["recursive"], passes, options["jobs"], object_headers(options), customers, move)
    order.check()
    return session.run(lambda: _transfer(session, order))


async def _transfer(session: Session, order: Order) -> Exit:
    profiles = {place.profile for place in (*order.sources, order.target) if isinstance(place, Remote)}
    async with session.clients(profiles, connections_max=order.jobs * 2, customers=order.customers) as clients:
        if isinstance(order.target, Stream):
            return await _to_standard_output(session, clients, order)
        with metered(session.output) as meter:
            transfers = Transfers(clients, meter, order.jobs, order.headers, move=order.move)
            runner = Runner(session.output, meter, order.jobs)
            await runner.run(_jobs(session, runner, transfers, order))
        return runner.finish("object")


async def _to_standard_output(session: Session, clients: dict[str, S3Client], order: Order) -> Exit:
    source = order.sources[0]
    assert isinstance(source, Remote)
    session.subject = str(source)
    await Transfers(clients, SilentMeter(), order.jobs, {}).downloader(source).stream(source, write_standard_output)
    return Exit.OK


async def _jobs(session: Session, runner: Runner, transfers: Transfers, order: Order) -> AsyncGenerator[Job, None]:
    """The jobs of an order; a source that can't be read is reported and the others go on."""
    for source in order.sources:
        try:
            async for job in _jobs_of(session, runner, transfers, order, source):
                yield job
        except (FrazilError, OSError) as error:
            runner.fail(str(source), error)


async def _jobs_of(session: Session, runner: Runner, transfers: Transfers, order: Order, source: Address) -> AsyncGenerator[Job, None]:
    target = order.target
    if isinstance(source, Stream):
        assert isinstance(target, Remote)
        place = target

        async def upload() -> None:
            await transfers.upload_stream(0, place)

        yield Job("upload", "-", str(target), 0, upload)
    elif isinstance(source, Local):
        assert isinstance(target, Remote)
        async for job in _uploads(session, runner, transfers, order, source, target):
            yield job
    elif not order.recursive:
        yield await _single(transfers, order, source)
    else:
        found = False
        folder = source.folder()
        name = folder.key.rstrip("/").rpartition("/")[2] or folder.bucket
        async for item in remote_items(transfers.client(source), folder, order.passes):
            found = True
            try:
                yield _one_remote(
                    transfers, Remote(folder.bucket, folder.key + item.name, folder.profile), item, _inside(order, name), item.name
                )
            except (FrazilError, OSError) as error:
                runner.fail(str(folder.below(item.name)), error)
        if not found:
            raise ObjectNotFound("nothing is below it")


async def _uploads(
    session: Session, runner: Runner, transfers: Transfers, order: Order, source: Local, target: Remote
) -> AsyncGenerator[Job, None]:
    status = os.stat(source.path)
    name = source.name
    if not stat.S_ISDIR(status.st_mode):
        place = target.below(name) if order.into_folder or order.recursive else target
        yield transfers.upload(source.path, status.st_size, place)
        return
    if not order.recursive:
        raise InvalidArgument("it is a folder; give -r to take all that is in it")
    folder = target.below(name).folder() if len(order.sources) > 1 else target.folder()
    async for item in local_items(source.path, order.passes, session.output.warn, runner.fail):
        path = os.path.join(source.path, item.name)
        try:
            yield transfers.upload(path, item.size, folder.below(item.name))
        except FrazilError as error:
            runner.fail(path, error)


async def _single(transfers: Transfers, order: Order, source: Remote) -> Job:
    head = await transfers.client(source).head(source.bucket, source.key)
    item = Item(source.key, head.size, parsedate_to_datetime(head.headers["last-modified"]), head.etag)
    name = source.key.rstrip("/").rpartition("/")[2]
    if not order.into_folder:
        return _to_exact(transfers, source, item, order.target)
    return _one_remote(transfers, source, item, order.target, name)


def _to_exact(transfers: Transfers, source: Remote, item: Item, target: Address) -> Job:
    if isinstance(target, Remote):
        return transfers.copy(source, item.size, target)
    assert isinstance(target, Local)
    if is_special(target.path):
        return transfers.write_into(source, item, target.path)
    return transfers.download(source, item, os.path.realpath(target.path) if os.path.islink(target.path) else target.path)


def _one_remote(transfers: Transfers, source: Remote, item: Item, target: Address, name: str) -> Job:
    if isinstance(target, Remote):
        return transfers.copy(source, item.size, target.below(name))
    assert isinstance(target, Local)
    path = path_below(target, name)
    check_no_link(target, name)
    return transfers.download(source, item, path)


def _inside(order: Order, name: str) -> Address:
    """The target folder of one recursive source."""
    if len(order.sources) == 1:
        return order.target.folder() if isinstance(order.target, Remote) else order.target
    if isinstance(order.target, Remote):
        return order.target.below(name).folder()
    assert isinstance(order.target, Local)
    return Local(path_below(order.target, name))
