from __future__ import annotations

import hashlib

import pytest

from node.errors import InvalidArgument
from store.digests import ALGORITHMS, Digests

CHECK = b"123456789"
"""The input of the published check values of CRCs. Source: https://reveng.sourceforge.io/crc-catalogue/"""


def test_crcs_have_their_published_check_values() -> None:
    digests = Digests(["crc32", "crc32c", "crc64nvme"])
    digests.update(memoryview(CHECK))
    found = digests.finish()
    assert found["crc32"].hex() == "cbf43926"
    assert found["crc32c"].hex() == "e3069283"
    assert found["crc64nvme"].hex() == "ae8b14860a799888"


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_pieces_give_what_the_whole_gives(algorithm: str) -> None:
    data = bytes(range(256)) * 40
    whole, pieces = Digests([algorithm]), Digests([algorithm])
    whole.update(memoryview(data))
    for at in range(0, len(data), 999):
        pieces.update(memoryview(bytearray(data))[at : at + 999])
    assert whole.finish() == pieces.finish()
    assert whole.finish()["md5"] == hashlib.md5(data).digest()


def test_an_unknown_algorithm_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="rot13"):
        Digests(["rot13"])
