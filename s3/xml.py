"""XML in and out. Reading is a bounded pyexpat stream into plain values; writing is string joining with escaping."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from xml.parsers import expat

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
DOCUMENT_BYTES_MAX = 2 << 20
"""Largest document a client may send; 1,000 keys of 1,024 bytes, each three times as long when written as references, fit."""
DEPTH_MAX = 16
ELEMENTS_MAX = 70_000
"""10,000 parts with number, ETag and up to five checksums each."""
TAG_BYTES_MAX = 64 << 10
"""Largest tag, about; the parser makes 18 bytes of memory of each byte of attributes."""

Element = dict[str, Any]
"""An element's children by name, always in a list, in document order: a str for a leaf, else an Element. Attributes are under "@name"."""

_SPECIAL = re.compile('[&<>"\x00-\x08\x0b\x0c\x0d\x0e-\x1f\x7f\ufffe\uffff]')
_REFERENCES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}


class XmlRefused(ValueError):
    """The document is no XML that we read; the text says why."""


def escape(text: str) -> str:
    """Text as element content. Characters that XML 1.0 can't hold become references (&#x1;), as S3 writes them."""
    return _SPECIAL.sub(_reference, text) if _SPECIAL.search(text) else text


def needs_escape(texts: Iterable[str]) -> bool:
    """Whether any of the texts does; one search over all is much cheaper than one for each."""
    return _SPECIAL.search("\n".join(texts)) is not None


def _reference(match: re.Match[str]) -> str:
    character = match.group()
    return _REFERENCES.get(character) or f"&#x{ord(character):x};"


class _Reader:
    def __init__(self, parser: expat.XMLParserType) -> None:
        self.root: tuple[str, Element | str] | None = None
        self.elements = 0
        self.seen = 0  # where the latest tag or text began
        self._parser = parser
        self._stack: list[tuple[str, Element, list[str]]] = []

    def start(self, name: str, attributes: list[str]) -> None:
        self.elements += 1
        self.seen = self._parser.CurrentByteIndex
        if self.elements > ELEMENTS_MAX:
            raise XmlRefused(f"more than {ELEMENTS_MAX} elements")
        if len(self._stack) >= DEPTH_MAX:
            raise XmlRefused(f"nested deeper than {DEPTH_MAX}")
        children: Element = {}
        for at in range(0, len(attributes), 2):
            if not attributes[at].startswith("xmlns"):
                children["@" + _local(attributes[at])] = [attributes[at + 1]]
        self._stack.append((_local(name), children, []))

    def end(self, _name: str) -> None:
        name, children, text = self._stack.pop()
        value: Element | str = children if children else "".join(text)
        if self._stack:
            self._stack[-1][1].setdefault(name, []).append(value)
        else:
            self.root = (name, value)

    def text(self, data: str) -> None:
        self.seen = self._parser.CurrentByteIndex
        if self._stack:
            self._stack[-1][2].append(data)

    @staticmethod
    def refuse_doctype(*_: object) -> None:
        raise XmlRefused("a document type is not allowed")


def _local(name: str) -> str:
    return name.rpartition(":")[2]


def parse(data: bytes, root: str) -> Element:
    """The children of the document's root element, which must be called `root`; an empty root gives {}.

    Raises: XmlRefused. Reads each byte once; memory is bounded by DOCUMENT_BYTES_MAX and ELEMENTS_MAX.
    """
    if len(data) > DOCUMENT_BYTES_MAX:
        raise XmlRefused(f"more than {DOCUMENT_BYTES_MAX} bytes")
    parser = expat.ParserCreate()
    reader = _Reader(parser)
    parser.ordered_attributes = True
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = reader.refuse_doctype
    parser.EntityDeclHandler = reader.refuse_doctype
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        for at in range(0, len(data), TAG_BYTES_MAX):
            parser.Parse(data[at : at + TAG_BYTES_MAX], False)
            if at - reader.seen > TAG_BYTES_MAX:
                raise XmlRefused(f"a tag of more than {TAG_BYTES_MAX} bytes")
        parser.Parse(b"", True)
    except (expat.ExpatError, LookupError, ValueError) as error:  # LookupError: an encoding that doesn't exist
        raise XmlRefused(str(error)) from error
    if reader.root is None or reader.root[0] != root:
        raise XmlRefused(f"the root element must be {root}")
    value = reader.root[1]
    return value if isinstance(value, dict) else {}


def text_of(element: Element, name: str, default: str | None = None) -> str:
    """The text of the one child `name`. Raises: XmlRefused when it is missing (without a default), repeated or not a leaf."""
    found = element.get(name)
    if found is None:
        if default is None:
            raise XmlRefused(f"{name} is missing")
        return default
    if len(found) != 1 or not isinstance(found[0], str):
        raise XmlRefused(f"{name} must be there once, as text")
    return found[0]


def elements_of(element: Element, name: str) -> list[Element]:
    """All children `name`, each with children of its own (an empty one gives {})."""
    return [child if isinstance(child, dict) else {} for child in element.get(name, [])]
