"""Names that any key shows as, and the way back."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fs.name import ESCAPE, NAME_BYTES_MAX, Name, NameTooLong, NameUnusable, digest_of, parse, show

parts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/"), max_size=8)
odd = st.lists(st.sampled_from([ESCAPE, "e", "0", "f", "l", ".", "..", "\0", "a", ""]), max_size=6).map("".join)
PLAIN = ["a", "a b", ".a", "...", "-", "ä", "%2F", "a.", "\n", "😀"]


@given(part=parts | odd, beside=st.booleans())
@example("", True)
@example(ESCAPE + "f", True)
@example("a" + ESCAPE, True)
def test_every_part_of_a_key_has_a_name_that_leads_back_to_it(part: str, beside: bool) -> None:
    name = show(part, beside=beside)
    assert name not in ("", ".", "..")
    assert "/" not in name
    assert "\0" not in name
    assert len(name.encode()) <= NAME_BYTES_MAX
    assert parse(name.encode()) == Name(part, beside)


@given(name=parts | odd)
def test_two_names_never_mean_one_part(name: str) -> None:
    if name in ("", ".", "..") or "\0" in name:
        return
    try:
        found = parse(name.encode())
    except NameUnusable:
        return
    assert found.digest or show(found.part, beside=found.beside) == name


@pytest.mark.parametrize("part", PLAIN)
def test_a_usual_part_is_its_own_name(part: str) -> None:
    assert show(part) == part


@given(part=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/"), min_size=64, max_size=400), beside=st.booleans())
def test_a_long_part_shows_by_its_digest(part: str, beside: bool) -> None:
    name = show(part, beside=beside)
    assert 0 < len(name.encode()) <= NAME_BYTES_MAX
    found = parse(name.encode())
    if len(part.encode()) > NAME_BYTES_MAX:
        assert (found.digest, found.beside) == (digest_of(part), beside)
    else:
        assert found in (Name(part, beside), Name("", beside, digest_of(part)))


@pytest.mark.parametrize("raw", [b"\xff", "a\ud800".encode("utf-8", "surrogatepass"), (ESCAPE + ESCAPE + "a").encode()])
def test_a_name_that_no_key_shows_as_is_refused(raw: bytes) -> None:
    with pytest.raises(NameUnusable):
        parse(raw)


def test_a_name_of_256_bytes_is_refused() -> None:
    with pytest.raises(NameTooLong):
        parse(b"a" * 256)
