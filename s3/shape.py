"""XML documents as typed values: a struct's fields are the elements of a document, in its order. Pure.

A field's encoded name is the element's name; a tuple is a repeated element, a struct one with children, str, int and bool are leaves.
None and () are elements that are not there. A field "@type" is the attribute xsi:type. What a struct's types say (required, one of these,
so many, no others) is checked here; rules between elements are its module's.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from s3.xml import NAMESPACE, Element, XmlRefused, escape

INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"
DIGITS_MAX = 18

T = TypeVar("T", bound=msgspec.Struct)


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="pascal"):
    """Base of the structs that are documents or parts of one. `prefix_equals` is the element PrefixEquals."""


class _Field(msgspec.Struct, frozen=True):
    """How one element is read. leaf: str, int or bool; else `kind` has the element's children."""

    repeated: bool
    leaf: type[Any] | None
    kind: type[Any] | None


def read(document: Element, kind: type[T]) -> T:
    """Raises: XmlRefused when the document is not of this shape."""
    try:
        return msgspec.convert(_values(document, kind), kind)
    except msgspec.ValidationError as error:
        raise XmlRefused(str(error)) from error


def write(value: msgspec.Struct, root: str) -> str:
    """The document, without a declaration; `read` of it gives the value back."""
    return f'<{root} xmlns="{NAMESPACE}">{_children(value)}</{root}>'


def _values(element: Element, kind: type[Any]) -> dict[str, Any]:
    fields = _fields(kind)  # type: ignore[arg-type]  # mypy: classes are not Hashable
    values: dict[str, Any] = {}
    for name, children in element.items():
        field = fields.get(name)
        if field is None:
            if name.startswith("@"):
                continue
            raise XmlRefused(f"the element {name} is not known here")
        if len(children) > 1 and not field.repeated:
            raise XmlRefused(f"{name} may be there once")
        found = [_value(child, name, field) for child in children]
        values[name] = found if field.repeated else found[0]
    return values


def _value(child: Element | str, name: str, field: _Field) -> object:
    if field.kind is not None:
        if isinstance(child, str):
            if child.strip():
                raise XmlRefused(f"{name} has elements, not text")
            child = {}
        return _values(child, field.kind)
    if not isinstance(child, str):
        raise XmlRefused(f"{name} is text")
    if field.leaf is str:
        return child
    text = child.strip()
    if field.leaf is bool:
        if text.lower() not in ("true", "false"):
            raise XmlRefused(f"{name} is true or false")
        return text.lower() == "true"
    if not (text.isascii() and text.lstrip("-").isdigit() and len(text) <= DIGITS_MAX and text.rfind("-") < 1):
        raise XmlRefused(f"{name} is a whole number")
    return int(text)


@cache
def _fields(kind: type[Any]) -> dict[str, _Field]:
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    return {field.encode_name: _field(field.type) for field in info.fields}


def _field(kind: inspect.Type) -> _Field:
    if isinstance(kind, inspect.UnionType):
        (kind,) = (each for each in kind.types if not isinstance(each, inspect.NoneType))
    repeated = isinstance(kind, inspect.VarTupleType)
    if isinstance(kind, inspect.VarTupleType):
        kind = kind.item_type
    if isinstance(kind, inspect.StructType):
        return _Field(repeated, None, kind.cls)
    leaf = int if isinstance(kind, inspect.IntType) else bool if isinstance(kind, inspect.BoolType) else str
    return _Field(repeated, leaf, None)


def _children(value: msgspec.Struct) -> str:
    return "".join(
        _element(name, each)
        for name, attribute in zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)
        if not name.startswith("@")
        for each in _each(getattr(value, attribute))
    )


def _each(value: object) -> tuple[object, ...]:
    return () if value is None else value if isinstance(value, tuple) else (value,)


def _element(name: str, value: object) -> str:
    if isinstance(value, msgspec.Struct):
        kind = getattr(value, "type", None) if "@type" in value.__struct_encode_fields__ else None
        attribute = f' xmlns:xsi="{INSTANCE}" xsi:type="{escape(kind)}"' if kind else ""
        return f"<{name}{attribute}>{_children(value)}</{name}>"
    text = ("true" if value else "false") if isinstance(value, bool) else escape(str(value))
    return f"<{name}>{text}</{name}>"
