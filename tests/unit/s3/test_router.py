"""The table against botocore's service model: each operation, serialised, must find its own route."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import botocore.session
import pytest
from botocore.model import OperationModel, Shape
from botocore.serialize import create_serializer

from s3.errors import S3Error
from s3.router import NOT_IN_MODEL, ROUTES, Level, match

MODEL = botocore.session.get_session().get_service_model("s3")
SAMPLES: dict[str, Any] = {
    "string": "x",
    "integer": 1,
    "long": 1,
    "boolean": True,
    "timestamp": 0,
    "blob": b"x",
    "float": 1.0,
    "double": 1.0,
}


def sample(shape: Shape, depth: int = 0) -> Any:
    if shape.type_name == "structure":
        members = {name: shape.members[name] for name in shape.required_members}
        return {name: sample(member, depth + 1) for name, member in members.items()}
    if shape.type_name == "list":
        return [sample(shape.member, depth + 1)]
    if shape.type_name == "map":
        return {"k": "v"}
    return SAMPLES[shape.type_name]


def serialised(operation: OperationModel) -> dict[str, Any]:
    arguments = sample(operation.input_shape) if operation.input_shape else {}
    return create_serializer(MODEL.metadata["protocol"], include_validation=False).serialize_to_request(arguments, operation)


@pytest.mark.parametrize("name", MODEL.operation_names)
def test_every_operation_of_the_model_finds_its_route(name: str) -> None:
    request = serialised(MODEL.operation_model(name))
    parts = urlsplit(request["url_path"])
    query = dict(parse_qsl(parts.query, keep_blank_values=True)) | {k: str(v) for k, v in request["query_string"].items()}
    bucket, _, key = parts.path.lstrip("/").partition("/")
    level = Level.OBJECT if key else Level.BUCKET if bucket else Level.SERVICE
    headers = {key.lower().encode() for key in request["headers"]}
    route = match(request["method"], level, query, headers)
    assert name == route.operation or name in route.also


def test_no_route_is_unknown_to_the_model() -> None:
    known = set(MODEL.operation_names)
    for route in ROUTES:
        assert {route.operation, *route.also} <= known or route.operation in NOT_IN_MODEL
        assert route.permission, route.operation
        assert bool(route.handler) != bool(route.note), route.operation


def test_operations_are_unique() -> None:
    names = [route.operation for route in ROUTES]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("method", "level", "query"),
    [
        ("PUT", Level.OBJECT, {"newthing": ""}),
        ("DELETE", Level.BUCKET, {"newthing": ""}),
        ("GET", Level.BUCKET, {"torrent": ""}),
        ("DELETE", Level.OBJECT, {"legal-hold": ""}),
        ("PUT", Level.OBJECT, {"delete": "1"}),
    ],
)
def test_a_parameter_that_names_something_unknown_never_falls_through(method: str, level: Level, query: dict[str, str]) -> None:
    with pytest.raises(S3Error) as caught:
        match(method, level, query, ())
    assert caught.value.code == "NotImplemented"


def test_parameters_of_software_development_kits_are_no_operation() -> None:
    assert match("GET", Level.OBJECT, {"x-id": "GetObject"}, ()).operation == "GetObject"
    assert match("PUT", Level.OBJECT, {"X-Amz-Signature": "ab", "x-custom": ""}, ()).operation == "PutObject"


def test_methods_that_s3_has_not_are_not_allowed() -> None:
    with pytest.raises(S3Error) as caught:
        match("PATCH", Level.OBJECT, {}, ())
    assert caught.value.code == "MethodNotAllowed"
