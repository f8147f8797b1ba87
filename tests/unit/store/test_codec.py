from __future__ import annotations

import random
from itertools import combinations

import pytest

from store.codec import Engine, IsaEngine, PyeclibEngine, _isa_library, codec

GEOMETRIES = [(2, 1), (4, 2), (6, 3), (12, 3)]
UNIT = 192


def stripe(k: int, m: int, engine: Engine, unit: int = UNIT) -> list[bytes]:
    data = bytearray(random.Random(k).randbytes(k * unit))
    parity = bytearray(m * unit)
    engine.encode(memoryview(data), memoryview(parity))
    whole = data + parity
    return [bytes(whole[at : at + unit]) for at in range(0, len(whole), unit)]


def engines(k: int, m: int) -> list[Engine]:
    return [IsaEngine(_isa_library(), k, m), PyeclibEngine(k, m)]


@pytest.mark.parametrize(("k", "m"), GEOMETRIES)
def test_every_set_of_survivors_gives_every_lost_unit_back(k: int, m: int) -> None:
    for engine in engines(k, m):
        units = stripe(k, m, engine)
        for survivors in combinations(range(k + m), k):
            lost = [position for position in range(k + m) if position not in survivors]
            into = [bytearray(UNIT) for _ in lost]
            engine.rebuild({position: units[position] for position in survivors}, lost, [memoryview(each) for each in into])
            assert [bytes(each) for each in into] == [units[position] for position in lost]


@pytest.mark.parametrize(("k", "m"), GEOMETRIES)
def test_both_engines_give_the_same_parity(k: int, m: int) -> None:
    direct, reference = (stripe(k, m, engine, 1024) for engine in engines(k, m))
    assert direct == reference


def test_the_direct_engine_is_the_one_in_use() -> None:
    assert "IsaEngine" in repr(codec(6, 3))


def test_units_may_come_in_any_order_and_more_than_needed() -> None:
    units = stripe(4, 2, codec(4, 2))
    into = bytearray(UNIT)
    codec(4, 2).rebuild({position: units[position] for position in (5, 4, 3, 1, 0)}, [2], [memoryview(into)])
    assert bytes(into) == units[2]
