"""Hostile bodies at the real port: chunks that lie, trailers that are wrong, XML that explodes."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.support.chunks import CRC32, STREAMING_TRAILER, UNSIGNED_TRAILER, signed_chunks
from tests.support.forge import BUCKET, TARGET, chunked_request, host_of, raw_put, signed
from tests.support.store import StoreProcess
from tests.support.wire import exchange

pytestmark = pytest.mark.usefixtures("unharmed")
PROCESSOR_S_MAX = 2.0


def test_signed_chunks_work_at_all(shared_store: StoreProcess) -> None:
    fields, body = chunked_request(shared_store, [b"a" * 70_000, b"b" * 500])
    assert exchange(shared_store.url, raw_put(fields, body), enough=1).final == 200
    with shared_store.client() as client:
        assert client.get(BUCKET, "x").body == b"a" * 70_000 + b"b" * 500
        assert client.delete(BUCKET, "x").status == 204


def test_signed_chunks_truncated_at_each_byte(shared_store: StoreProcess) -> None:
    """With the announced length cut as well, so that the end of the body is clear: refused at once, no loop, nothing stored."""
    fields, body = chunked_request(shared_store, [b"abc", b"de"])
    used = shared_store.processor_s()
    for stop in range(len(body) - 2):
        reply = exchange(shared_store.url, raw_put(fields, body[:stop]), enough=1)
        assert reply.final in (400, 403), (stop, reply.data)
    assert shared_store.processor_s() - used < PROCESSOR_S_MAX


def trailed(store: StoreProcess, payload: str) -> tuple[dict[str, str], bytes]:
    return signed_chunks(store.credentials, host_of(store), TARGET, [b"abc" * 4_000, b"de"], payload=payload, trailer=CRC32)


@pytest.mark.parametrize("payload", [STREAMING_TRAILER, UNSIGNED_TRAILER])
def test_trailers_work_and_are_refused_truncated_at_each_byte(shared_store: StoreProcess, payload: str) -> None:
    fields, body = trailed(shared_store, payload)
    for stop in range(len(body) - 2 - 250, len(body) - 2):
        reply = exchange(shared_store.url, raw_put(fields, body[:stop]), enough=1)
        assert reply.final in (400, 403), (stop, reply.data)
    assert exchange(shared_store.url, raw_put(fields, body), enough=1).final == 200
    with shared_store.client() as client:
        assert client.get(BUCKET, "x").body == b"abc" * 4_000 + b"de"
        assert client.delete(BUCKET, "x").status == 204


SIGNED_TRAILER_FAULTS: dict[str, Callable[[bytes], bytes]] = {
    "another checksum, right for nobody": lambda body: re.sub(rb"crc32:[^\r]+", b"crc32:AAAAAA==", body),
    "no trailer": lambda body: re.sub(rb"x-amz-checksum-crc32:[^\r]+\r\n", b"", body),
    "no signature of the trailer": lambda body: re.sub(rb"x-amz-trailer-signature:[^\r]+\r\n", b"", body),
    "another signature of the trailer": lambda body: re.sub(rb"trailer-signature:[^\r]+", b"trailer-signature:" + b"0" * 64, body),
    "a trailer more": lambda body: body.replace(b"x-amz-checksum", b"x-amz-meta-a:b\r\nx-amz-checksum", 1),
    "a trailer after the signature": lambda body: body[:-2] + b"x-amz-meta-a:b\r\n\r\n",
    "the checksum twice": lambda body: re.sub(rb"(x-amz-checksum-crc32:[^\r]+\r\n)", rb"\1\1", body),
    "chunks swapped for unsigned ones": lambda body: re.sub(rb";chunk-signature=[0-9a-f]+", b"", body),
}


@pytest.mark.parametrize("change", SIGNED_TRAILER_FAULTS.values(), ids=SIGNED_TRAILER_FAULTS)
def test_wrong_signed_trailers_are_refused(shared_store: StoreProcess, change: Callable[[bytes], bytes]) -> None:
    fields, body = trailed(shared_store, STREAMING_TRAILER)
    assert change(body) != body
    reply = exchange(shared_store.url, raw_put(fields, change(body)), enough=1, shut=True)
    assert reply.final in (400, 403), reply.data


def test_connections_cut_inside_a_signed_body(shared_store: StoreProcess) -> None:
    fields, body = chunked_request(shared_store, [b"abc" * 50_000, b"de"])
    for stop in (0, 1, 50, 90, 1_000, 150_000, len(body) - 1):
        reply = exchange(shared_store.url, raw_put(fields, body[:stop], len(body)), shut=True)
        assert reply.final in (0, 400, 403, 408), (stop, reply.data)
        assert reply.closed


def replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda body: body.replace(old, new, 1)


CHUNK_FAULTS: dict[str, Callable[[bytes], bytes]] = {
    "wrong chunk signature": replaced(b"chunk-signature=", b"chunk-signature=0"),
    "changed byte": replaced(b"abc", b"abd"),
    "no signature": lambda body: body.replace(body[1:82], b"", 1),
    "huge size": lambda body: b"f" * 16 + body[1:],
    "negative size": lambda body: b"-" + body,
    "size with 0x": lambda body: b"0x" + body,
    "no final chunk": lambda body: body[: body.rindex(b"0;")],
    "more after the end": lambda body: body + b"3;chunk-signature=" + b"0" * 64 + b"\r\nabc\r\n",
    "bare line feeds": lambda body: body.replace(b"\r\n", b"\n"),
    "long extension": replaced(b";chunk", b";" + b"e" * 100_000 + b";chunk"),
    "endless size": lambda body: b"0" * 100_000 + body,
    "plain body": lambda body: b"abcde",
    "empty body": lambda body: b"",
}


@pytest.mark.parametrize("change", CHUNK_FAULTS.values(), ids=CHUNK_FAULTS)
def test_wrong_signed_chunks_are_refused(shared_store: StoreProcess, change: Callable[[bytes], bytes]) -> None:
    fields, body = chunked_request(shared_store, [b"abc", b"de"])
    reply = exchange(shared_store.url, raw_put(fields, change(body)), enough=1, shut=True)
    assert reply.final in (400, 403, 411), reply.data


@pytest.mark.parametrize("decoded", [0, 4, 6, 1 << 62, -1])
def test_a_lie_about_the_decoded_length_is_refused(shared_store: StoreProcess, decoded: int) -> None:
    fields, body = chunked_request(shared_store, [b"abc", b"de"], decoded=decoded)
    assert exchange(shared_store.url, raw_put(fields, body), enough=1).final == 400


TRAILERS: dict[str, bytes] = {
    "wrong checksum": b"5\r\nabcde\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n",
    "no trailer": b"5\r\nabcde\r\n0\r\n\r\n",
    "another trailer": b"5\r\nabcde\r\n0\r\nx-amz-checksum-sha1:AAAAAA==\r\n\r\n",
    "truncated": b"5\r\nabcde\r\n0\r\nx-amz-check",
    "not base64": b"5\r\nabcde\r\n0\r\nx-amz-checksum-crc32:!\r\n\r\n",
    "many trailers": b"5\r\nabcde\r\n0\r\n" + b"x-a:1\r\n" * 20_000 + b"\r\n",
    "long trailer": b"5\r\nabcde\r\n0\r\nx-amz-checksum-crc32:" + b"A" * 1_000_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("body", TRAILERS.values(), ids=TRAILERS)
def test_wrong_trailers_are_refused(shared_store: StoreProcess, body: bytes) -> None:
    more = [("content-encoding", "aws-chunked"), ("x-amz-decoded-content-length", "5"), ("x-amz-trailer", "x-amz-checksum-crc32")]
    fields = signed(shared_store, headers=more, payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER")
    reply = exchange(shared_store.url, raw_put(fields, body), enough=1)
    assert reply.final == 400, reply.data


LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE z [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(12))
    + b"]><Delete><Object><Key>&m;</Key></Object></Delete>"
)
XML: dict[str, bytes] = {
    "billion laughs": LAUGHS,
    "quadratic": b'<!DOCTYPE z [<!ENTITY a "' + b"a" * 50_000 + b'">]><Delete><Object><Key>' + b"&a;" * 5_000 + b"</Key></Object></Delete>",
    "file entity": b'<!DOCTYPE z [<!ENTITY a SYSTEM "file:///etc/passwd">]><Delete><Object><Key>&a;</Key></Object></Delete>',
    "external DTD": b'<!DOCTYPE z SYSTEM "http://127.0.0.1:1/x.dtd"><Delete><Object><Key>k</Key></Object></Delete>',
    "200,000 deep": b"<Delete>" + b"<a>" * 200_000 + b"</a>" * 200_000 + b"</Delete>",
    "too many objects": b"<Delete>" + b"<Object><Key>none</Key></Object>" * 200_000 + b"</Delete>",
    "1,001 objects": b"<Delete>" + b"<Object><Key>none</Key></Object>" * 1_001 + b"</Delete>",
    "no object": b"<Delete></Delete>",
    "another root": b"<Remove><Object><Key>good</Key></Object></Remove>",
    "cut off": b"<Delete><Object><Key>good</Key></Object>",
    "NUL": b"<Delete><Object><Key>go\x00od</Key></Object></Delete>",
    "not UTF-8": b"<Delete><Object><Key>\xff\xfe</Key></Object></Delete>",
    "UTF-7": b'<?xml version="1.0" encoding="UTF-7"?><Delete><Object><Key>+AGc-</Key></Object></Delete>',
    "many attributes": b"<Delete " + b" ".join(b'a%d="1"' % n for n in range(100_000)) + b"><Object><Key>k</Key></Object></Delete>",
    "not XML": b"{}",
    "empty": b"",
}


@pytest.mark.parametrize("body", XML.values(), ids=XML)
def test_hostile_xml_is_refused_cheaply(shared_store: StoreProcess, body: bytes) -> None:
    before, used = shared_store.resident_bytes(), shared_store.processor_s()
    with shared_store.client() as client:
        answer = client.delete_document(BUCKET, body)
    assert answer.status in (400, 411, 413), answer
    assert answer.code
    assert shared_store.processor_s() - used < PROCESSOR_S_MAX
    assert shared_store.resident_bytes() - before < (8 << 20) + 3 * len(body)


def test_a_completion_with_too_many_parts_is_refused(shared_store: StoreProcess) -> None:
    with shared_store.client() as client:
        upload = client.create_upload(BUCKET, "x").text("UploadId")
        answer = client.complete_upload(BUCKET, "x", upload, ['"0"'] * 100_000)
        assert answer.status in (400, 413), answer
        assert client.complete_upload(BUCKET, "x", upload, ['"00000000000000000000000000000000"']).code == "InvalidPart"
        for number in ("0", "10001", "-1", "x", "99999999999999999999"):
            query = [("partNumber", number), ("uploadId", upload)]
            assert client.call("PUT", BUCKET, "x", query=query, body=b"p").status == 400
        for wrong in ("", "x", "../" + upload, upload + "0"):
            assert client.put_part(BUCKET, "x", wrong, 1, b"p").status in (400, 404)
        assert client.abort_upload(BUCKET, "x", upload).status == 204
