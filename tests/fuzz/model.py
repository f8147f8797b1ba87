"""Requests for every operation of botocore's service model, with arguments of the right types and, now and then, of wrong ones."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import botocore.session
from botocore.model import OperationModel, Shape
from botocore.serialize import create_serializer

from .spoil import text, word

BUCKETS = ("fuzz-0", "fuzz-1", "fuzz-2")
"""What the requests are aimed at; all else of the store must stay as it is."""
KEYS = ("a", "b/c", "d e", "ü", "big", "none", "a/../b", "x" * 200)
LIST_MAX = 4
DEPTH_MAX = 7
MISSING_MAX = 2
"""An operation that was answered with NotImplemented so often is seldom tried again."""
RIGHT = 0.9
"""How often an argument has a value that makes sense."""
_SERVICE = botocore.session.get_session().get_service_model("s3")
OPERATIONS = tuple(name for name in _SERVICE.operation_names if name not in ("CreateSession", "ListDirectoryBuckets"))
_SERIALIZER = create_serializer(_SERVICE.metadata["protocol"], include_validation=False)


@dataclass(slots=True)
class Plain:
    """A request before it is signed: path decoded, headers by lower-case name."""

    method: str
    bucket: str
    key: str
    query: list[tuple[str, str]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Known:
    """Names that exist, learnt from answers, so that arguments can be right."""

    def __init__(self) -> None:
        self.uploads: list[str] = ["0" * 32]
        self.versions: list[str] = ["null", "0123456789abcdef"]
        self.etags: list[str] = ['"0cc175b9c0f1b6a831c399e269772661"']
        self.missing: Counter[str] = Counter()
        self.operation = ""

    def learn(self, status: int, answer: bytes, headers: bytes) -> None:
        """From an answer to the request that was made last."""
        if status == 501:
            self.missing[self.operation] += 1
        for tag, values in ((b"UploadId", self.uploads), (b"VersionId", self.versions)):
            start = answer.find(b"<" + tag + b">")
            if start >= 0:
                values.append(answer[start + len(tag) + 2 :].partition(b"<")[0].decode("latin-1"))
        for name, values in ((b"\r\nETag: ", self.etags), (b"\r\nx-amz-version-id: ", self.versions)):
            start = headers.find(name)
            if start >= 0:
                values.append(headers[start + len(name) :].partition(b"\r\n")[0].decode("latin-1"))
        for values in (self.uploads, self.versions, self.etags):
            del values[:-20]


def request(rng: Random, known: Known, operation: str = "") -> Plain:
    """A random operation, or the one that is named."""
    name = operation or rng.choice(OPERATIONS)
    while not operation and known.missing[name] > MISSING_MAX and rng.random() < 0.9:
        name = rng.choice(OPERATIONS)
    known.operation = name
    model = _SERVICE.operation_model(name)
    arguments = _structure(rng, model.input_shape, known) if model.input_shape else {}
    try:
        return _serialised(model, arguments)
    except Exception:  # botocore can't write some wrong values; a simple request does as well
        return Plain("GET", rng.choice(BUCKETS), rng.choice(KEYS))


def _serialised(model: OperationModel, arguments: dict[str, Any]) -> Plain:
    made = _SERIALIZER.serialize_to_request(arguments, model)
    parts = urlsplit(made["url_path"])
    bucket, _, key = parts.path.lstrip("/").partition("/")
    query = parse_qsl(parts.query, keep_blank_values=True)
    for name, value in dict(made["query_string"]).items():
        query += [(name, str(one)) for one in (value if isinstance(value, list) else [value])]
    body = made["body"]
    body = body.encode() if isinstance(body, str) else bytes(body or b"")
    headers = {str(name).lower(): one_line(str(value)) for name, value in dict(made["headers"]).items()}
    key = str(arguments.get("Key", key))
    return Plain(made["method"], str(arguments.get("Bucket", bucket)), key, query, headers, body)


def one_line(value: str) -> str:
    """Most control characters end at the HTTP parser; one is enough of them."""
    return "".join(character for character in value if character == "\t" or (character >= " " and character != "\x7f"))


def _structure(rng: Random, shape: Shape, known: Known, depth: int = 0) -> dict[str, Any]:
    values = {}
    for name, member in shape.members.items():
        required = name in shape.required_members
        if required and rng.random() < 0.03:
            continue
        if required or rng.random() < (0.45 / (depth + 1) if depth else 0.02 if name.startswith(_RARE) else 0.2):
            values[name] = _named(rng, name, known) if depth == 0 and name in _NAMED else _value(rng, name, member, known, depth + 1)
    return values


_RARE = ("Expected", "MFA", "ContentMD5", "ContentLength", "Checksum")
"""Arguments that, with any value but one, only get a request refused."""
_NAMED = ("Bucket", "Key", "UploadId", "VersionId", "PartNumber", "CopySource", "Body", "ContentMD5", "ContentLength")


def _named(rng: Random, name: str, known: Known) -> Any:
    if name == "Bucket":
        return rng.choice(BUCKETS) if rng.random() < 0.97 else (text(rng) or "x")
    if name == "Key":
        return rng.choice(KEYS) if rng.random() < 0.8 else (text(rng, 40) or "x")
    if name == "UploadId":
        return rng.choice(known.uploads)
    if name == "PartNumber":
        return rng.choice((1, 1, 2, 3, 0, -1, 10_000, 10_001))
    if name == "CopySource":
        return f"{rng.choice(BUCKETS)}/{rng.choice(KEYS)}"
    if name == "VersionId":
        return rng.choice(known.versions)
    if name == "Body":
        return rng.randbytes(rng.choice((0, 1, 30, 5_000, 300_000)))
    return "1B2M2Y8AsgTpgAmY7PhCfg==" if name == "ContentMD5" else rng.choice((0, 1, 5))


def _value(rng: Random, name: str, shape: Shape, known: Known, depth: int) -> Any:
    kind = shape.type_name
    if kind == "structure":
        return _structure(rng, shape, known, depth) if depth < DEPTH_MAX else {}
    if kind == "list":
        count = rng.randint(1, LIST_MAX) if rng.random() < 0.98 else rng.randint(0, 1_100)
        return [_value(rng, name, shape.member, known, depth + 1) for _ in range(count)]
    if kind == "map":
        return {(text(rng) or "k"): text(rng) for _ in range(rng.randrange(3))}
    if rng.random() > RIGHT and kind == "string":
        return word(rng) if rng.random() < 0.5 else text(rng, 30)
    return _leaf(rng, name, shape, known)


def _leaf(rng: Random, name: str, shape: Shape, known: Known) -> Any:
    kind = shape.type_name
    if kind in ("integer", "long"):
        return rng.choice((0, 1, 2, 3, 7, 30, 1_000, -1, 2**31 - 1, 2**31, 2**63))
    if kind == "boolean":
        return rng.random() < 0.5
    if kind == "timestamp":
        return rng.choice((0, 1_700_000_000, 4_000_000_000, 1_767_225_600, 253_402_300_799))
    if kind == "blob":
        return rng.randbytes(rng.randrange(100))
    if kind in ("float", "double"):
        return rng.choice((0.0, 1.5, -1.0, 1e300))
    if getattr(shape, "enum", None):
        return rng.choice(shape.enum)
    if name == "Key":
        return rng.choice(KEYS)
    if name == "ETag":
        return rng.choice(known.etags)
    return rng.choice(("a", "x/", "1", "rule", "2030-01-01T00:00:00Z", "http://example.com", "*"))
