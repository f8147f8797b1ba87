"""Documents and values are the same thing twice."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3.shape import Shape, read, write
from s3.xml import XmlRefused, parse


class Leaf(Shape, frozen=True):
    key: str
    type: str | None = msgspec.field(default=None, name="@type")


class Whole(Shape, frozen=True):
    status: Literal["Enabled", "Disabled"]
    id: str | None = msgspec.field(default=None, name="ID")
    days: int | None = None
    quiet: bool | None = None
    leaf: Leaf | None = None
    leaves: Annotated[tuple[Leaf, ...], msgspec.Meta(max_length=3)] = msgspec.field(default=(), name="Leaf2")
    names: tuple[str, ...] = msgspec.field(default=(), name="Name")


_text = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff"), max_size=8)
_leaf = st.builds(Leaf, _text, st.sampled_from([None, "Group"]))
_whole = st.builds(
    Whole,
    st.sampled_from(["Enabled", "Disabled"]),
    st.none() | _text,
    st.none() | st.integers(-(10**9), 10**9),
    st.none() | st.booleans(),
    st.none() | _leaf,
    st.lists(_leaf, max_size=3).map(tuple),
    st.lists(_text, max_size=3).map(tuple),
)


@given(_whole)
def test_what_is_written_is_read_again(value: Whole) -> None:
    assert read(parse(write(value, "Root").encode(), "Root"), Whole) == value


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<Status>Other</Status>",
        "<Status>Enabled</Status><Status>Enabled</Status>",
        "<Status>Enabled</Status><Unknown/>",
        "<Status><a/></Status>",
        "<Status>Enabled</Status><Days>1.5</Days>",
        "<Status>Enabled</Status><Days>--5</Days>",
        "<Status>Enabled</Status><Days>5-</Days>",
        "<Status>Enabled</Status><Days></Days>",
        "<Status>Enabled</Status><Days>null</Days>",
        "<Status>Enabled</Status><Days>9999999999999999999</Days>",
        "<Status>Enabled</Status><Quiet>1</Quiet>",
        "<Status>Enabled</Status><Leaf>text</Leaf>",
        "<Status>Enabled</Status><Leaf/>",
        "<Status>Enabled</Status>" + "<Leaf2><Key>k</Key></Leaf2>" * 4,
    ],
)
def test_other_shapes_are_refused(body: str) -> None:
    with pytest.raises(XmlRefused):
        read(parse(f"<Root>{body}</Root>".encode(), "Root"), Whole)


def test_foreign_attributes_and_spaces_are_passed_over() -> None:
    text = '<Root a="b"><Status>Enabled</Status><Days> 7\n</Days><Quiet> TRUE</Quiet><Leaf>\n <Key> k </Key></Leaf></Root>'
    assert read(parse(text.encode(), "Root"), Whole) == Whole("Enabled", days=7, quiet=True, leaf=Leaf(" k "))
