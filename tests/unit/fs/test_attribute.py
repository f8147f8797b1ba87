"""Attributes of files in the metadata of objects, as s3fs and rclone write them."""

from __future__ import annotations

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fs.attribute import Defaults, Stat, file_stat, folder_stat, time_text, with_stat, with_xattrs, xattrs_of
from meta.protocol.object import Attributes, ObjectRow

DEFAULTS = Defaults(uid=7, gid=8, file_mode=0o640, folder_mode=0o750)


def row(size: int = 5, **metadata: str) -> ObjectRow:
    return ObjectRow("k", size=size, mtime_us=1_700_000_000_000_001, attributes=Attributes(metadata=metadata))


def test_an_object_of_another_client_shows_the_mounts_defaults() -> None:
    time_ns = 1_700_000_000_000_001_000
    assert file_stat(row(), DEFAULTS) == Stat(stat.S_IFREG | 0o640, 7, 8, 5, time_ns, time_ns, time_ns)


def test_what_s3fs_writes_is_understood() -> None:
    found = file_stat(
        row(mode="33261", uid="1000", gid="1001", mtime="1600000000.123456789", ctime="1600000001", atime="1600000002.5"), DEFAULTS
    )
    assert found == Stat(0o100755, 1000, 1001, 5, 1600000002500000000, 1600000000123456789, 1600000001000000000)


def test_what_rclone_writes_is_understood() -> None:
    found = file_stat(row(mode="100600", uid="1000", gid="1001", mtime="1600000000.1"), DEFAULTS)
    assert (found.mode, found.mtime_ns) == (0o100600, 1600000000100000000)


@pytest.mark.parametrize("mode", ["", "x", "-1", "99999999", "0o644", "16877", "²", "40755"])
def test_a_mode_that_is_none_of_a_file_counts_as_missing(mode: str) -> None:
    assert file_stat(row(mode=mode), DEFAULTS).mode == stat.S_IFREG | 0o640


@pytest.mark.parametrize("mtime", ["x", "1e9", "inf", "9" * 40, "1.x", "--1", "."])
def test_a_time_that_is_none_counts_as_missing(mtime: str) -> None:
    assert file_stat(row(mtime=mtime), DEFAULTS).mtime_ns == 1_700_000_000_000_001_000


def test_a_link_is_a_link() -> None:
    assert stat.S_ISLNK(file_stat(row(mode=str(0o120777)), DEFAULTS).mode)


def test_a_folder_is_a_folder_whatever_its_object_says() -> None:
    assert folder_stat(row(mode=str(0o100644)), DEFAULTS).mode == stat.S_IFDIR | 0o644
    assert folder_stat(None, DEFAULTS, time_ns=3) == Stat(stat.S_IFDIR | 0o750, 7, 8, 4096, 3, 3, 3, links=2)


stats = st.builds(
    Stat,
    mode=st.sampled_from([0o100000, 0o120000, 0o010000, 0o060000]).flatmap(
        lambda kind: st.integers(0, 0o7777).map(lambda mode: kind | mode)
    ),
    uid=st.integers(0, 2**32 - 1),
    gid=st.integers(0, 2**32 - 1),
    size=st.just(5),
    atime_ns=st.integers(-(10**18), 10**20),
    mtime_ns=st.integers(-(10**18), 10**20),
    ctime_ns=st.integers(0, 10**20),
    rdev=st.integers(0, 2**32 - 1),
)


@given(stats)
def test_attributes_come_back_as_they_were_written(wanted: Stat) -> None:
    assert file_stat(row(**with_stat({"other": "x", "atime": "1"}, wanted)), DEFAULTS) == wanted


@given(st.integers(-(10**18), 10**20))
def test_a_time_is_written_as_a_decimal_number(time_ns: int) -> None:
    whole, fraction = time_text(time_ns).removeprefix("-").split(".")
    assert (int(whole) * 10**9 + int(fraction)) * (-1 if time_text(time_ns).startswith("-") else 1) == time_ns


@given(st.dictionaries(st.text(max_size=10), st.binary(max_size=20), max_size=4))
def test_extended_attributes_come_back(xattrs: dict[str, bytes]) -> None:
    metadata = with_xattrs({"other": "x"}, xattrs)
    assert xattrs_of(metadata) == xattrs
    assert metadata["other"] == "x"
    assert metadata.get("xattr", "").isascii()


@pytest.mark.parametrize("text", ["%", "[]", "1", '{"a":1}', '{"a":"%"}', "x"])
def test_damaged_extended_attributes_are_none(text: str) -> None:
    assert xattrs_of({"xattr": text}) == {}
