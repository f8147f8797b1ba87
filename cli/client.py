"""S3's operations, as far as the command line needs them, on one connection."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from xml.etree import ElementTree

from cli import answer
from cli.answer import Bucket, Entry, Page, Part, Upload, Version
from cli.body import CHECKSUM_HEADER, CHECKSUM_NAME, Body, BytesBody
from cli.connection import Answer, Connection, Download
from cli.customer import NO_KEYS, CustomerKeys
from cli.place import Endpoint
from cli.signature import presign, quote_path
from node import errors

LIST_PAGE = 1_000
DELETE_MANY_MAX = 1_000
_NO_XML = re.compile(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML can't carry, and the carriage return, which readers of XML take for a line feed: another key."""


class S3Client(Connection):
    """One endpoint and one key. Use as an async context manager; every call may run beside others."""

    def __init__(self, endpoint: Endpoint, *, connections_max: int = 32, customers: CustomerKeys = NO_KEYS) -> None:
        """customers: keys for all objects that this client reads and writes."""
        super().__init__(endpoint, connections_max=connections_max)
        self._customers = customers

    async def list_buckets(self) -> list[Bucket]:
        found: list[Bucket] = []
        token = ""
        while True:
            reply = await self.call("GET", "/", [("continuation-token", token)] if token else [])
            buckets, token = answer.parse_buckets(reply.body)
            found += buckets
            if not token:
                return found

    async def create_bucket(self, bucket: str) -> None:
        region = self.endpoint.region
        body = None
        if region != "us-east-1":
            root = ElementTree.Element("CreateBucketConfiguration")
            ElementTree.SubElement(root, "LocationConstraint").text = region
            body = BytesBody(ElementTree.tostring(root))
        await self.call("PUT", f"/{bucket}", body=body)

    async def delete_bucket(self, bucket: str) -> None:
        await self.call("DELETE", f"/{bucket}")

    async def head_bucket(self, bucket: str) -> Answer:
        try:
            return await self.call("HEAD", f"/{bucket}")
        except errors.NotFound as error:  # the answer to a HEAD has no body that could say what is missing
            raise errors.BucketNotFound("the bucket does not exist") from error

    async def list_page(
        self, bucket: str, *, prefix: str = "", delimiter: str = "", token: str = "", start_after: str = "", restores: bool = False
    ) -> Page:
        """restores: with those of cold objects."""
        query = [("list-type", "2"), ("encoding-type", "url"), ("max-keys", str(LIST_PAGE))]
        given = {"prefix": prefix, "delimiter": delimiter, "continuation-token": token, "start-after": start_after}
        query += [(name, value) for name, value in given.items() if value]
        headers = {"x-amz-optional-object-attributes": "RestoreStatus"} if restores else {}
        return answer.parse_page((await self.call("GET", f"/{bucket}", query, headers)).body)

    async def list_objects(self, bucket: str, prefix: str = "", *, restores: bool = False) -> AsyncIterator[Entry]:
        """Every object under a prefix, in the order of their keys' bytes."""
        token = ""
        while True:
            page = await self.list_page(bucket, prefix=prefix, token=token, restores=restores)
            for entry in page.entries:
                yield entry
            token = page.continuation
            if not token:
                return

    async def list_versions(self, bucket: str, prefix: str = "") -> AsyncIterator[Version]:
        """Every version and delete marker under a prefix."""
        after: tuple[str, str] | None = ("", "")
        while after is not None:
            query = [("versions", ""), ("encoding-type", "url"), ("prefix", prefix)]
            query += [("key-marker", after[0]), ("version-id-marker", after[1])] if after[0] else []
            versions, after = answer.parse_versions((await self.call("GET", f"/{bucket}", query)).body)
            for version in versions:
                yield version

    async def list_uploads(self, bucket: str, prefix: str = "") -> AsyncIterator[Upload]:
        after: tuple[str, str] | None = ("", "")
        while after is not None:
            query = [("uploads", ""), ("encoding-type", "url"), ("prefix", prefix)]
            query += [("key-marker", after[0]), ("upload-id-marker", after[1])] if after[0] else []
            uploads, after = answer.parse_uploads((await self.call("GET", f"/{bucket}", query)).body)
            for upload in uploads:
                yield upload

    async def head(self, bucket: str, key: str, version: str = "") -> Answer:
        query = [("versionId", version)] if version else []
        headers = {"x-amz-checksum-mode": "ENABLED", **self._customers.reading}
        try:
            return await self.call("HEAD", f"/{bucket}/{key}", query, headers)
        except errors.NotFound as error:
            raise errors.ObjectNotFound("the object does not exist") from error

    @asynccontextmanager
    async def get(self, bucket: str, key: str, *, start: int = 0, stop: int | None = None, etag: str = "") -> AsyncIterator[Download]:
        """The object's bytes [start, stop). Not retried once bytes flow: the caller knows where it stands.

        An object without bytes has no range, so it comes as one.
        Raises: PreconditionFailed when `etag` is given and the object has another now; PeerUnreachable, BodyIncomplete while reading.
        """
        headers = {"x-amz-checksum-mode": "ENABLED", **self._customers.reading}
        if start or stop is not None:
            headers["range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
        if etag:
            headers["if-match"] = f'"{etag}"'
        async with self.open("GET", f"/{bucket}/{key}", headers=headers) as (response, head):
            if head.status == 416 and not start:
                await self.read(response)
                yield Download(200, {"content-length": "0"}, pieces=_nothing())
                return
            if head.status >= 300:
                raise answer.error_of(head.status, await self.read(response))
            yield Download(head.status, head.headers, pieces=self.pieces(response))

    async def put(self, bucket: str, key: str, body: Body, headers: Mapping[str, str] | None = None) -> Answer:
        sent = {**(headers or {}), **_checksum(body), **self._customers.writing}
        return await self.call("PUT", f"/{bucket}/{key}", headers=sent, body=body)

    async def copy(self, source: tuple[str, str], bucket: str, key: str, headers: Mapping[str, str] | None = None) -> Answer:
        keys = {**self._customers.writing, **self._customers.copying}
        sent = {**(headers or {}), **keys, "x-amz-copy-source": quote_path(f"/{source[0]}/{source[1]}")}
        reply = await self.call("PUT", f"/{bucket}/{key}", headers=sent)
        answer.raise_hidden_error(answer.parse_xml(reply.body))
        return reply

    async def delete(self, bucket: str, key: str) -> None:
        await self.call("DELETE", f"/{bucket}/{key}")

    async def delete_many(self, bucket: str, doomed: Sequence[Version]) -> list[tuple[str, errors.FrazilError]]:
        """Up to DELETE_MANY_MAX keys or versions in one request, and one for each that XML can't carry; those not deleted, with why."""
        failed = [(one.key, error) for one in doomed if _NO_XML.search(one.key) and (error := await self._delete_error(bucket, one))]
        doomed = [one for one in doomed if not _NO_XML.search(one.key)]
        if not doomed:
            return failed
        root = ElementTree.Element("Delete")
        ElementTree.SubElement(root, "Quiet").text = "true"
        for one in doomed:
            item = ElementTree.SubElement(root, "Object")
            ElementTree.SubElement(item, "Key").text = one.key
            if one.version:
                ElementTree.SubElement(item, "VersionId").text = one.version
        body = BytesBody(ElementTree.tostring(root, encoding="utf-8"))
        digest = {"content-md5": base64.b64encode(hashlib.md5(body.data, usedforsecurity=False).digest()).decode()}
        reply = await self.call("POST", f"/{bucket}", [("delete", "")], {**digest, **_checksum(body)}, body)
        return failed + answer.parse_deleted(reply.body)

    async def _delete_error(self, bucket: str, one: Version) -> errors.FrazilError | None:
        """Deletes a key or version by itself; what went wrong. Raises: Unavailable."""
        try:
            await self.call("DELETE", f"/{bucket}/{one.key}", [("versionId", one.version)] if one.version else ())
        except errors.Unavailable:
            raise
        except errors.FrazilError as error:
            return error
        return None

    async def restore(self, bucket: str, key: str, days: int, tier: str, version: str = "") -> None:
        """tier: Expedited, Standard or Bulk. Raises: NeedsRestore for what is not cold; RestoreUnderWay."""
        root = ElementTree.Element("RestoreRequest")
        ElementTree.SubElement(root, "Days").text = str(days)
        ElementTree.SubElement(ElementTree.SubElement(root, "GlacierJobParameters"), "Tier").text = tier
        query = [("restore", "")] + ([("versionId", version)] if version else [])
        await self.call("POST", f"/{bucket}/{key}", query, body=BytesBody(ElementTree.tostring(root)))

    async def lifecycle(self, bucket: str) -> ElementTree.Element:
        """The bucket's rules. Raises: NotFound when it has none."""
        return answer.parse_xml((await self.call("GET", f"/{bucket}", [("lifecycle", "")])).body)

    async def create_upload(self, bucket: str, key: str, headers: Mapping[str, str] | None = None) -> str:
        checksum = {"x-amz-checksum-algorithm": CHECKSUM_NAME, "x-amz-checksum-type": "FULL_OBJECT"}
        sent = {**(headers or {}), **checksum, **self._customers.writing}
        reply = await self.call("POST", f"/{bucket}/{key}", [("uploads", "")], sent)
        return answer.text(answer.parse_xml(reply.body), "UploadId")

    async def put_part(self, bucket: str, key: str, upload: str, number: int, body: Body) -> Part:
        sent = {**_checksum(body), **self._customers.writing}
        reply = await self.call("PUT", f"/{bucket}/{key}", [("partNumber", str(number)), ("uploadId", upload)], sent, body)
        return Part(number, body.size, reply.etag, reply.headers.get(CHECKSUM_HEADER, ""))

    async def copy_part(self, source: tuple[str, str], start: int, stop: int, bucket: str, key: str, upload: str, number: int) -> Part:
        headers = {"x-amz-copy-source": quote_path(f"/{source[0]}/{source[1]}"), "x-amz-copy-source-range": f"bytes={start}-{stop - 1}"}
        headers |= {**self._customers.writing, **self._customers.copying}
        reply = await self.call("PUT", f"/{bucket}/{key}", [("partNumber", str(number)), ("uploadId", upload)], headers)
        root = answer.parse_xml(reply.body)
        answer.raise_hidden_error(root)
        return Part(number, stop - start, answer.text(root, "ETag").strip('"'), answer.text(root, "ChecksumCRC64NVME"))

    async def list_parts(self, bucket: str, key: str, upload: str) -> list[Part]:
        found: list[Part] = []
        after = 0
        while True:
            query = [("uploadId", upload)] + ([("part-number-marker", str(after))] if after else [])
            parts, after = answer.parse_parts((await self.call("GET", f"/{bucket}/{key}", query)).body)
            found += parts
            if not after:
                return found

    async def complete_upload(self, bucket: str, key: str, upload: str, parts: Sequence[Part]) -> str:
        """The object's ETag."""
        root = ElementTree.Element("CompleteMultipartUpload")
        for part in sorted(parts, key=lambda part: part.number):
            item = ElementTree.SubElement(root, "Part")
            ElementTree.SubElement(item, "PartNumber").text = str(part.number)
            ElementTree.SubElement(item, "ETag").text = f'"{part.etag}"'
            if part.checksum:
                ElementTree.SubElement(item, "ChecksumCRC64NVME").text = part.checksum
        reply = await self.call("POST", f"/{bucket}/{key}", [("uploadId", upload)], body=BytesBody(ElementTree.tostring(root)))
        done = answer.parse_xml(reply.body)
        answer.raise_hidden_error(done)
        return answer.text(done, "ETag").strip('"')

    async def abort_upload(self, bucket: str, key: str, upload: str) -> None:
        await self.call("DELETE", f"/{bucket}/{key}", [("uploadId", upload)])

    def presign(self, method: str, bucket: str, key: str, expires_s: int, query: Iterable[tuple[str, str]] = ()) -> str:
        """A URL that grants one method on one object until `expires_s` seconds from now."""
        path = quote_path(f"/{bucket}/{key}")
        granted = presign(self.endpoint, method, self.host, path, query, expires_s, time.time())
        return f"{self.endpoint.url}{path}?{granted}"


async def _nothing() -> AsyncIterator[bytes]:
    none: tuple[bytes, ...] = ()
    for piece in none:
        yield piece


def _checksum(body: Body) -> dict[str, str]:
    value = body.checksum()
    return {CHECKSUM_HEADER: value} if value else {}
