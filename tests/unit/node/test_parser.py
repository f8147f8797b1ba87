"""Which bytes are a request, which are refused, and that the way they are cut never matters."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.http.limits import Limits
from node.http.message import MalformedMessage, Request
from node.http.parser import RequestParser, ResponseHead, ResponseParser

LIMITS = Limits()
GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"


def parse(data: bytes, limits: Limits = LIMITS) -> Request | None:
    return RequestParser(limits).feed(data)


REFUSED = {
    "length and transfer-encoding": (400, POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "transfer-encoding and length": (400, POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
    "two equal lengths": (400, POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\n"),
    "two different lengths": (400, POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n"),
    "a list of lengths": (400, POST + b"Content-Length: 3, 3\r\n\r\n"),
    "length with plus": (400, POST + b"Content-Length: +3\r\n\r\n"),
    "length with minus": (400, POST + b"Content-Length: -3\r\n\r\n"),
    "length in hex": (400, POST + b"Content-Length: 0x3\r\n\r\n"),
    "length beyond 64 bits": (400, POST + b"Content-Length: 18446744073709551619\r\n\r\n"),
    "length beyond 63 bits": (400, POST + b"Content-Length: 18446744073709551615\r\n\r\n"),
    "empty length": (400, POST + b"Content-Length: \r\n\r\n"),
    "unknown transfer coding": (400, POST + b"Transfer-Encoding: xchunked\r\n\r\n"),
    "chunked not last": (400, POST + b"Transfer-Encoding: chunked, identity\r\n\r\n"),
    "a coding before chunked": (501, POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n"),
    "two transfer-encodings": (400, POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "space before the colon": (400, POST + b"Transfer-Encoding : chunked\r\n\r\n"),
    "transfer-encoding on 1.0": (400, b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "bare LF lines": (400, b"GET / HTTP/1.1\nHost: a\n\n"),
    "bare LF in a header": (400, GET + b"X: b\nY: c\r\n\r\n"),
    "bare CR in a value": (400, GET + b"X: b\rY: c\r\n\r\n"),
    "NUL in a value": (400, GET + b"X: b\x00c\r\n\r\n"),
    "control in a value": (400, GET + b"X: b\x01c\r\n\r\n"),
    "folded header": (400, GET + b"X: b\r\n c\r\n\r\n"),
    "no Host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "two Hosts": (400, GET + b"Host: b\r\n\r\n"),
    "two equal Hosts": (400, GET + b"Host: a\r\n\r\n"),
    "Host with a path": (400, b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    "Host with user": (400, b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"),
    "header without colon": (400, GET + b"foo\r\n\r\n"),
    "header without name": (400, GET + b": x\r\n\r\n"),
    "space in a name": (400, GET + b"a b: x\r\n\r\n"),
    "1 MiB header": (431, GET + b"X: " + b"a" * 1_048_576 + b"\r\n\r\n"),
    "10,000 headers": (431, GET + b"".join(b"X%d: 1\r\n" % n for n in range(10_000)) + b"\r\n"),
    "101 headers": (431, GET + b"".join(b"X%d: 1\r\n" % n for n in range(100)) + b"\r\n"),
    "long target": (414, b"GET /" + b"a" * 8192 + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
    "endless target": (414, b"GET /" + b"a" * 20_000),
    "space in the target": (400, b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
    "two spaces before the target": (400, b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "two spaces after the target": (400, b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n"),
    "raw UTF-8 in the target": (400, "GET /é HTTP/1.1\r\nHost: a\r\n\r\n".encode()),
    "fragment in the target": (400, b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"),
    "target without a slash": (400, b"GET a HTTP/1.1\r\nHost: a\r\n\r\n"),
    "asterisk with GET": (400, b"GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
    "absolute form of another host": (400, b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    "absolute form of another scheme": (400, b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    "HTTP/2.0": (505, b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    "HTTP/1.9": (400, b"GET / HTTP/1.9\r\nHost: a\r\n\r\n"),
    "HTTP/0.9": (505, b"GET /\r\n\r\n"),
    "HTTP/2 preface": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "RTSP": (400, b"OPTIONS * RTSP/1.0\r\nHost: a\r\n\r\n"),
    "lower-case protocol": (400, b"GET / http/1.1\r\nHost: a\r\n\r\n"),
    "lower-case method": (400, b"get / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "unknown method": (400, b"FOOBAR / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "method we do not serve": (501, b"PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "CONNECT": (501, b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"),
    "TLS on the plain port": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_hostile_bytes_are_refused(name: str) -> None:
    status, data = REFUSED[name]
    with pytest.raises(MalformedMessage) as caught:
        parse(data)
    assert caught.value.status == status


@pytest.mark.parametrize("name", [name for name in REFUSED if len(REFUSED[name][1]) < 2000])
def test_hostile_bytes_are_refused_byte_by_byte(name: str) -> None:
    status, data = REFUSED[name]
    parser = RequestParser(LIMITS)
    with pytest.raises(MalformedMessage) as caught:
        for at in range(len(data)):
            parser.feed(data[at : at + 1])
    assert caught.value.status == status


def test_oversized_header_is_refused_before_it_is_buffered() -> None:
    parser = RequestParser(LIMITS)
    with pytest.raises(MalformedMessage):
        for fed in range(100):
            parser.feed((GET if fed == 0 else b"") + b"X%d: " % fed + b"a" * 1000 + b"\r\n")
    assert fed <= LIMITS.header_bytes_max // 1000 + 1


def test_request_says_what_was_sent() -> None:
    request = parse(b"GET /bucket/key%20x?list-type=2&a HTTP/1.1\r\nHost: a:80\r\nX-B: 1 \t\r\nx-b:  2\r\nEmpty:\r\n\r\n")
    assert request is not None
    assert (request.method, request.target) == ("GET", b"/bucket/key%20x?list-type=2&a")
    assert (request.raw_path, request.raw_query) == (b"/bucket/key%20x", b"list-type=2&a")
    assert request.headers.lines == [(b"host", b"a:80"), (b"x-b", b"1"), (b"x-b", b"2"), (b"empty", b"")]
    assert request.headers.get(b"x-b") == b"1"
    assert request.headers.getall(b"x-b") == [b"1", b"2"]
    assert request.headers.get(b"none", b"default") == b"default"
    assert b"empty" in request.headers
    assert (request.http_version, request.keep_alive, request.has_body, request.content_length) == ("1.1", True, False, None)
    assert len(request.id) == 16


def test_headers_made_by_hand_give_the_first_value() -> None:
    from node.http.message import Headers

    headers = Headers([(b"a", b"1"), (b"a", b"2")])
    assert headers.get(b"a") == b"1"
    assert headers.lines == [(b"a", b"1"), (b"a", b"2")]


@pytest.mark.parametrize(
    ("lines", "version", "expected"),
    [
        (b"", b"1.1", True),
        (b"", b"1.0", False),
        (b"Connection: close\r\n", b"1.1", False),
        (b"Connection: Keep-Alive\r\n", b"1.0", True),
        (b"Connection: foo, Close\r\n", b"1.1", False),
        (b"Connection: foo\r\nConnection: close\r\n", b"1.1", False),
        (b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"1.1", True),
    ],
)
def test_keep_alive(lines: bytes, version: bytes, expected: bool) -> None:
    request = parse(b"GET / HTTP/%b\r\nHost: a\r\n%b\r\n" % (version, lines))
    assert request is not None
    assert request.keep_alive is expected


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"http://a/b?c", b"/b", b"c"),
        (b"HTTP://A", b"/", b""),
        (b"http://a?x=/y", b"/", b"x=/y"),
        (b"/?", b"/", b""),
        (b"//x/../y?a?b", b"//x/../y", b"a?b"),
    ],
)
def test_targets_in_absolute_and_origin_form(target: bytes, path: bytes, query: bytes) -> None:
    request = parse(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
    assert request is not None
    assert (request.target, request.raw_path, request.raw_query) == (target, path, query)


def test_options_may_ask_about_the_server() -> None:
    request = parse(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
    assert request is not None
    assert request.raw_path == b"*"


def test_http_1_0_needs_no_host() -> None:
    request = parse(b"GET / HTTP/1.0\r\n\r\n")
    assert request is not None
    assert request.http_version == "1.0"


def test_expectation_of_1_0_is_ignored() -> None:
    request = parse(b"PUT / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n")
    assert request is not None
    assert request.expect_continue is False


@pytest.mark.parametrize("value", [b"200", b"", b"100-continue, other"])
def test_other_expectations_are_ignored(value: bytes) -> None:
    request = parse(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nExpect: %b\r\n\r\n" % value)
    assert request is not None
    assert request.expect_continue is False


def test_empty_lines_before_a_request_are_ignored() -> None:
    parser = RequestParser(LIMITS)
    assert parser.feed(b"\r\n") is None
    request = parser.feed(b"\r\n\r\n" + GET + b"\r\nrest")
    assert request is not None
    assert parser.rest == b"rest"


MESSAGES = [
    GET + b"\r\n",
    GET + b"X-Long: " + b"v" * 300 + b"\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"HEAD /a%2Fb?c=d HTTP/1.1\r\nHost: a\r\nA:\r\nB: \t1\t \r\n\r\n",
    b"DELETE /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"PUT /empty HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
]


def summary(request: Request) -> tuple[object, ...]:
    return (request.method, request.target, list(request.headers.lines), request.keep_alive, request.content_length, request.http_version)


def read_all(pieces: list[bytes]) -> list[tuple[object, ...]]:
    parser = RequestParser(LIMITS)
    found = []
    for piece in pieces:
        data = piece
        while data:
            request = parser.feed(data)
            if request is None:
                break
            found.append(summary(request))
            data = parser.rest
    assert not parser.begun
    return found


def test_pipelined_requests_are_taken_one_by_one() -> None:
    assert len(read_all([b"".join(MESSAGES)])) == len(MESSAGES)


@given(st.lists(st.sampled_from(MESSAGES), min_size=1, max_size=5), st.lists(st.integers(0, 2000), max_size=20))
@settings(max_examples=200, deadline=None)
def test_cuts_between_packets_do_not_matter(messages: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(messages)
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    pieces = [stream[begin:end] for begin, end in itertools.pairwise(edges)]
    assert read_all(pieces) == [summary(request) for message in messages if (request := parse(message))]


@given(st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_arbitrary_bytes_give_a_request_or_a_refusal(data: bytes) -> None:
    for prefix in (b"", GET):
        try:
            parse(prefix + data)
        except MalformedMessage as error:
            assert 400 <= error.status < 600


def answer(data: bytes) -> ResponseHead | None:
    return ResponseParser(LIMITS).feed(data)


def test_response_head() -> None:
    head = answer(b"HTTP/1.1 206 Partial Content\r\nContent-Length: 3\r\nX: y\r\n\r\nabc")
    assert head is not None
    assert (head.status, head.content_length, head.chunked, head.keep_alive) == (206, 3, False, True)
    assert head.headers.get(b"x") == b"y"


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 3\n\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 20_000,
    ],
)
def test_hostile_answers_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        answer(data)
