"""The protocols of meta/protocol/ as calls over HTTP, derived from its signatures: nothing is written twice.

    POST /meta/1/<door>/<method>     body: msgpack array [subject, argument, ...]     answer: msgpack of the result

door: container (subject: the bucket), accounts, identities, registry, encryption, jobs, meta (subject: ""); on a cluster also meta0 and
meta1 (subject: the base). Arguments come in the order of the
signature; those at the end may be missing when they have defaults. Errors are JSON (node/errors.py) with their status.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, get_type_hints

import msgspec

from meta.protocol.accounts import Accounts
from meta.protocol.container import Container
from meta.protocol.directory import Assignments, Prefixes
from meta.protocol.door import Meta
from meta.protocol.encryption import EncryptionKeys
from meta.protocol.identities import Identities
from meta.protocol.jobs import Jobs
from meta.protocol.registry import BucketRegistry
from node.errors import InvalidArgument

API = "/meta/1/"
CALL_BYTES_MAX = 16 << 20
"""A completion of 10,000 parts with its layout is the largest call."""
ANSWER_BYTES_MAX = 64 << 20
"""10,000 parts with their layouts are the largest answer."""

DOORS: Mapping[str, type] = MappingProxyType(
    {
        "container": Container,
        "accounts": Accounts,
        "identities": Identities,
        "registry": BucketRegistry,
        "encryption": EncryptionKeys,
        "jobs": Jobs,
        "meta": Meta,
        "meta0": Prefixes,
        "meta1": Assignments,
    }
)

_encode = msgspec.msgpack.Encoder().encode


class Method:
    """One method of a protocol. `call` makes the struct of its arguments and checks their number and names."""

    __slots__ = ("_answer_decoder", "_call_decoder", "call", "keywords", "name", "target")

    def __init__(self, door: str, name: str, function: Any, *, api: str = API) -> None:
        hints = get_type_hints(function)
        fields: list[Any] = [("subject_", str)]
        self.keywords = []
        for parameter in list(inspect.signature(function).parameters.values())[1:]:
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
                self.keywords.append(parameter.name)
            field = (parameter.name, hints[parameter.name])
            fields.append(field if parameter.default is inspect.Parameter.empty else (*field, parameter.default))
        self.name = name
        self.target = f"{api}{door}/{name}".encode()
        self.call = msgspec.defstruct(f"{door}_{name}", fields, frozen=True, array_like=True)
        self._call_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(self.call)
        self._answer_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(hints["return"])

    def __repr__(self) -> str:
        return f"<Method {self.target.decode()}>"

    def encode_call(self, subject: str, *arguments: Any, **named: Any) -> bytes:
        """Raises: TypeError as the method itself would; InvalidArgument when a text is not valid UTF-8."""
        try:
            return _encode(self.call(subject, *arguments, **named))
        except UnicodeEncodeError as error:
            raise InvalidArgument("names and keys are valid UTF-8") from error

    def decode_call(self, body: bytes) -> tuple[str, list[Any], dict[str, Any]]:
        """Subject, arguments by place, arguments by name. Raises: msgspec.DecodeError."""
        values = msgspec.structs.asdict(self._call_decoder.decode(body))
        subject = values.pop("subject_")
        named = {name: values.pop(name) for name in self.keywords}
        return subject, list(values.values()), named

    def encode_answer(self, result: Any) -> bytes:
        return _encode(result)

    def decode_answer(self, body: bytes) -> Any:
        """Raises: msgspec.DecodeError."""
        return self._answer_decoder.decode(body)


@cache
def methods(door: str) -> Mapping[str, Method]:
    """The asynchronous methods of a door's protocol, by name."""
    protocol = DOORS[door]
    return {
        name: Method(door, name, function)
        for name, function in vars(protocol).items()
        if not name.startswith("_") and inspect.iscoroutinefunction(function)
    }
