"""stat: all about buckets and objects."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

import click

from cli.address import Remote
from cli.client import S3Client
from cli.cold import parse_restore
from cli.connection import Answer
from cli.customer import CustomerKeys
from cli.exit import Exit
from cli.job import Runner
from cli.meter import SilentMeter
from cli.output import Output, time_json, time_text
from cli.parameter import REMOTE, customer_key_option
from cli.session import Session, with_session
from node.errors import FrazilError
from node.text import bytes_text, visible

_SHOWN = ("content-type", "cache-control", "content-disposition", "content-encoding", "content-language", "expires")


@click.command("stat", short_help="Show all about buckets and objects.")
@click.argument("places", type=REMOTE, nargs=-1, required=True, metavar="PLACE...")
@customer_key_option
@with_session
def stat(session: Session, places: tuple[Remote, ...], sse_c_key_file: str) -> Exit:
    """Show size, time, ETag, type, metadata and checksums of each object, or that a bucket is there."""
    return session.run(lambda: _stat(session, places, CustomerKeys.of_files(sse_c_key_file, "")))


async def _stat(session: Session, places: tuple[Remote, ...], customers: CustomerKeys) -> Exit:
    runner = Runner(session.output, SilentMeter())
    async with session.clients({place.profile for place in places}, customers=customers) as clients:
        for place in places:
            try:
                await _show(session.output, clients[place.profile], place)
            except FrazilError as error:
                runner.fail(str(place), error)
            else:
                runner.tally.done += 1
    if session.output.json:
        return runner.finish()
    return runner.tally.exit


async def _show(output: Output, client: S3Client, place: Remote) -> None:
    if not place.key:
        found = await client.head_bucket(place.bucket)
        region = found.headers.get("x-amz-bucket-region", "")
        output.record("bucket", f"{place}\n  region         {region or '-'}", bucket=place.bucket, region=region)
        return
    head = await client.head(place.bucket, place.key)
    fields = _fields(head)
    lines = [str(place)]
    for name, value in fields.items():
        text = value if name != "size" else f"{value} ({bytes_text(head.size)})"
        if name == "modified":
            text = time_text(parsedate_to_datetime(head.headers["last-modified"]))
        restore = parse_restore(head.headers.get("x-amz-restore", "")) if name == "restore" else None
        if restore is not None:
            lines.append(f"  {name:<14} {restore.words}")
        elif isinstance(value, dict):
            lines += [f"  {name:<14} {key}={visible(str(item))}" for key, item in value.items()]
        else:
            lines.append(f"  {name:<14} {visible(str(text))}")
    output.record("object", "\n".join(lines), bucket=place.bucket, key=place.key, **fields)


def _fields(head: Answer) -> dict[str, object]:
    """What a HEAD says, by names that stay."""
    headers = head.headers
    fields: dict[str, object] = {"size": head.size, "etag": head.etag}
    if "last-modified" in headers:
        fields["modified"] = time_json(parsedate_to_datetime(headers["last-modified"]))
    fields["storage_class"] = headers.get("x-amz-storage-class", "STANDARD")
    restore = parse_restore(headers.get("x-amz-restore", ""))
    if restore is not None:
        fields["restore"] = restore.fields()
    fields |= {name.replace("-", "_"): headers[name] for name in _SHOWN if name in headers}
    if "x-amz-server-side-encryption" in headers:
        fields["encryption"] = headers["x-amz-server-side-encryption"]
    if "x-amz-server-side-encryption-customer-algorithm" in headers:
        fields["encryption"] = "SSE-C"
    if "x-amz-server-side-encryption-aws-kms-key-id" in headers:
        fields["encryption_key"] = headers["x-amz-server-side-encryption-aws-kms-key-id"]
    if "x-amz-version-id" in headers:
        fields["version"] = headers["x-amz-version-id"]
    metadata = {name.removeprefix("x-amz-meta-"): value for name, value in headers.items() if name.startswith("x-amz-meta-")}
    checksums = {name.removeprefix("x-amz-checksum-"): value for name, value in headers.items() if name.startswith("x-amz-checksum-")}
    return fields | ({"metadata": metadata} if metadata else {}) | ({"checksums": checksums} if checksums else {})
