"""Calls derived from the protocol's signatures."""

from __future__ import annotations

import inspect

import msgspec
import pytest

from meta.protocol.accounts import Accounts
from meta.protocol.container import Container
from meta.protocol.encryption import EncryptionKeys
from meta.protocol.identities import Identities
from meta.protocol.jobs import Jobs
from meta.protocol.object import Condition, ObjectRow, PutResult
from meta.protocol.registry import BucketRegistry
from meta.split import READS
from meta.wire import DOORS, methods
from node.errors import InvalidArgument


def test_every_asynchronous_method_has_a_call() -> None:
    for door, protocol in DOORS.items():
        expected = {name for name, value in vars(protocol).items() if inspect.iscoroutinefunction(value) and not name.startswith("_")}
        assert set(methods(door)) == expected
        assert expected


def test_a_call_and_its_answer_come_back_as_they_went() -> None:
    put = methods("container")["put"]
    row = ObjectRow("é", size=3, layout=b"\0")
    assert put.decode_call(put.encode_call("bucket", row, Condition(size=1))) == ("bucket", [row, Condition(size=1)], {})
    assert put.decode_call(put.encode_call("bucket", row=row)) == ("bucket", [row, Condition()], {})
    result = PutResult(1, True, 2)
    assert put.decode_answer(put.encode_answer(result)) == result
    parts = methods("container")["list_parts"]
    assert parts.decode_call(parts.encode_call("b", "k", "u", layouts=True)) == ("b", ["k", "u", 0, 1000], {"layouts": True})


def test_what_does_not_fit_the_signature_is_refused() -> None:
    put = methods("container")["put"]
    with pytest.raises(TypeError):
        put.encode_call("bucket", wrong=1)
    with pytest.raises(InvalidArgument):
        put.encode_call("bucket", ObjectRow("\ud800"))
    for body in (b"", b"\xc0", msgspec.msgpack.encode(["bucket"]), msgspec.msgpack.encode(["bucket", {"key": 7}])):
        with pytest.raises(msgspec.DecodeError):
            put.decode_call(body)


def test_reads_of_a_split_are_methods_of_the_protocols() -> None:
    names = {name for protocol in (Container, Accounts, Identities, Jobs, BucketRegistry, EncryptionKeys) for name in vars(protocol)}
    assert names >= READS
    assert not READS & {name for name in names if name.startswith(("put", "delete_", "change", "create", "remove", "add", "re"))} - {
        "records_to_sync"
    }
