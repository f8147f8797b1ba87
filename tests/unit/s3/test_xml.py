"""XML in: bombs and nonsense are refused quickly. XML out: nothing breaks out."""

from __future__ import annotations

import time
import tracemalloc
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3.xml import DEPTH_MAX, DOCUMENT_BYTES_MAX, ELEMENTS_MAX, XmlRefused, elements_of, escape, needs_escape, parse, text_of

BOMBS: dict[str, bytes] = {
    "billion laughs": b'<!DOCTYPE l [<!ENTITY a "lol">'
    + b"".join(b'<!ENTITY %c "%b">' % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(9))
    + b"]><Delete>&j;</Delete>",
    "quadratic": b'<!DOCTYPE l [<!ENTITY a "' + b"x" * 100_000 + b'">]><Delete>' + b"&a;" * 20_000 + b"</Delete>",
    "external entity": b'<!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/hostname">]><Delete>&x;</Delete>',
    "external subset": b'<!DOCTYPE Delete SYSTEM "http://localhost/x.dtd"><Delete/>',
    "deep": b"<Delete>" + b"<a>" * 200_000 + b"</a>" * 200_000 + b"</Delete>",
    "wide": b"<Delete>" + b"<a/>" * (ELEMENTS_MAX + 1) + b"</Delete>",
    "long": b"<Delete>" + b" " * DOCUMENT_BYTES_MAX + b"</Delete>",
    "two roots": b"<Delete/><Delete/>",
    "cut": b"<Delete><Object>",
    "crossed": b"<Delete><a></Delete></a>",
    "nothing": b"",
    "white": b"   ",
    "text": b"hello",
    "NUL": b"<Delete>\0</Delete>",
    "control": b"<Delete>&#1;</Delete>",
    "undefined entity": b"<Delete>&nbsp;</Delete>",
    "another root": b"<Destroy/>",
    "encoding that isn't": b'<?xml version="1.0" encoding="nonsense"?><Delete/>',
    "encoding that lies": b'<?xml version="1.0" encoding="utf-8"?><Delete>\xff</Delete>',
    "UTF-7": b'<?xml version="1.0" encoding="utf-7"?><Delete>+ADw-</Delete>',
    "UTF-16 cut": "<Delete></Delete>".encode("utf-16")[:-1],
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_is_no_plain_document_is_refused_quickly(name: str) -> None:
    tracemalloc.start()
    begin = time.process_time()
    with pytest.raises(XmlRefused):
        parse(BOMBS[name], "Delete")
    spent, (_, peak) = time.process_time() - begin, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert spent < 2
    assert peak < 40 << 20


def test_names_spaces_comments_and_references_are_read() -> None:
    document = (
        b'<?xml version="1.0"?><!-- x -->'
        b'<s3:Delete xmlns:s3="urn:x" a="1"> <s3:Object><Key>a&lt;&#233;<![CDATA[<b>]]></Key></s3:Object></s3:Delete>'
    )
    element = parse(document, "Delete")
    assert text_of(elements_of(element, "Object")[0], "Key") == "a<é<b>"


def test_a_thousand_longest_keys_fit() -> None:
    document = b"<Delete>" + b"<Object><Key>%b</Key></Object>" % (b"x" * 1_024) * 1_000 + b"</Delete>"
    assert len(elements_of(parse(document, "Delete"), "Object")) == 1_000


def test_the_deepest_allowed_is_allowed() -> None:
    inner = DEPTH_MAX - 1
    parse(b"<Delete>" + b"<a>" * inner + b"</a>" * inner + b"</Delete>", "Delete")


@pytest.mark.parametrize("body", [b"<D><K>a</K><K>b</K></D>", b"<D><K><x/></K></D>", b"<D/>"])
def test_a_text_must_be_there_once(body: bytes) -> None:
    with pytest.raises(XmlRefused):
        text_of(parse(body, "D"), "K")


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")))
def test_escaped_text_comes_back(text: str) -> None:
    element = ElementTree.fromstring(f"<a>{escape(text)}</a>")
    assert (element.text or "") == text
    assert (escape(text) != text) == needs_escape([text])


@given(st.text())
def test_escaped_text_never_holds_markup(text: str) -> None:
    escaped = escape(text)
    assert not set('<>"\r\0\x1b') & set(escaped)
