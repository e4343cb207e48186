"""GTID sets: what is read and printed, and the algebra against a brute-force model of single transactions."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.gtid import GtidSet, canonical_source, parse_gtid

A = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
B = "4e11fa47-71ca-11e1-9e33-c80aa9429562"


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("", ""),
        (" \n", ""),
        (f"{A}:1", f"{A}:1"),
        (f"{A}:1-1", f"{A}:1"),
        (f"{A}:1-3:4-5:9", f"{A}:1-5:9"),
        (f"{A.upper()}:1-3", f"{A}:1-3"),
        (f"{A.replace('-', '')}:1", f"{A}:1"),
        (f"{B}:1,\n{A}:2", f"{A}:2,\n{B}:1"),
        (f"{A}:1,{A}:2", f"{A}:1-2"),
        (f"{A}:1-3:Weekly:1-2:audit:5", f"{A}:1-3:audit:5:weekly:1-2"),
        (f"{A}:audit:5", f"{A}:audit:5"),
        (f"{A}:audit:1-2,{A}:7", f"{A}:7:audit:1-2"),
    ],
)
def test_reads_and_prints_as_mysql(text: str, printed: str) -> None:
    assert str(GtidSet.parse(text)) == printed
    assert GtidSet.parse(printed) == GtidSet.parse(text)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("nonsense:1", "nonsense"),
        (A, A),
        (f"{A}:0", "'0'"),
        (f"{A}:5-3", "5-3"),
        (f"{A}:1-", "1-"),
        (f"{A}:tag", "tag"),
        (f"{A}:one:two:3", "two"),
        (f"{A}:9223372036854775807", "9223372036854775807"),
    ],
)
def test_a_bad_part_is_named(text: str, names: str) -> None:
    with pytest.raises(ValueError, match=names):
        GtidSet.parse(f"{B}:1,{text}")


def test_one_gtid() -> None:
    assert parse_gtid(f" {A.upper()}:17 ") == (A, 17)
    assert parse_gtid(f"{A}:audit:17") == (f"{A}:audit", 17)
    for bad in ("", A, f"{A}:", f"{A}:1-3", f"{A}:0", f"{A}:a:b:1"):
        with pytest.raises(ValueError):
            parse_gtid(bad)
    assert canonical_source(f"{A}:X") == f"{A}:x"


Model = frozenset[tuple[str, int]]
members = st.frozensets(st.tuples(st.sampled_from([A, B, f"{A}:tag"]), st.integers(1, 30)), max_size=40)


def of(model: Model) -> GtidSet:
    collected: dict[str, list[tuple[int, int]]] = {}
    for source, number in model:
        collected.setdefault(source, []).append((number, number))
    return GtidSet(collected)


@given(members, members)
def test_algebra_is_that_of_sets(left: Model, right: Model) -> None:
    x, y = of(left), of(right)
    assert x | y == of(left | right)
    assert x & y == of(left & right)
    assert x - y == of(left - right)
    assert (x <= y) == (left <= right)
    assert x.count() == len(left)
    assert bool(x) == bool(left)
    assert GtidSet.parse(str(x)) == x
    assert hash(x) == hash(GtidSet.parse(x.one_line()))
    assert all(x.contains(s, n) == ((s, n) in left) for s in (A, B, f"{A}:tag") for n in range(0, 32))


def test_thousands_of_ranges_are_quick() -> None:
    many = GtidSet({A: [(n * 3, n * 3 + 1) for n in range(1, 20001)]})
    others = GtidSet({A: [(n * 5, n * 5 + 1) for n in range(1, 20001)]})
    started = time.process_time()
    for _ in range(5):
        assert ((many - others) | (many & others)) == many
    assert all(many.contains(A, n * 3) for n in range(1, 20001))
    assert time.process_time() - started < 4
