"""The keeper's answers, by table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.failover.record import (
    Change,
    Instance,
    Record,
    SwapRequest,
    Witness,
    decide_rebuild,
    decide_swap,
)

B1 = Instance("b", "boot", 100)
B2 = Instance("b", "boot", 200)
RECORD = Record(version=7, term=3, primary="a", opened=True, in_sync=B1)
ELECTED = Record(version=8, term=4, primary="b", opened=False, in_sync=B1)


def request(change: Change, asker: str = "manager", primary: str = "", instance: Instance | None = None) -> SwapRequest:
    return SwapRequest(change, asker, 7, 3, primary, instance)


def late(change: Change, primary: str = "", instance: Instance | None = None) -> SwapRequest:
    return SwapRequest(change, "manager", 8, 4, primary, instance)


@pytest.mark.parametrize(
    ("record", "asked", "expected"),
    [
        (RECORD, request(Change.TO_NONE, "a"), Record(8, 3, "a", True, None)),
        (RECORD, request(Change.TO_NONE, "b"), Record(8, 3, "a", True, None)),  # a planned stop of the replica
        (replace(RECORD, in_sync=None), request(Change.TO_NONE, "b"), "b is not the primary"),
        (RECORD, request(Change.TO_REPLICA, "a", instance=B2), Record(8, 3, "a", True, B2)),
        (RECORD, request(Change.TO_REPLICA, "b", instance=B2), "b is not the primary"),
        (RECORD, request(Change.TO_REPLICA, "a", instance=Instance("a", "boot", 1)), "not a replica's"),
        (RECORD, request(Change.PROMOTE, primary="b", instance=B1), ELECTED),
        (RECORD, request(Change.PROMOTE, primary="b", instance=B2), "may be missing"),
        (replace(RECORD, in_sync=None), request(Change.PROMOTE, primary="b", instance=None), "may be missing"),
        (RECORD, request(Change.PROMOTE, primary="a", instance=B1), "cannot take over"),
        (RECORD, request(Change.PROMOTE, primary="c", instance=B1), "not the candidate's"),
        (RECORD, request(Change.ALLOW_LOSS, primary="b"), replace(ELECTED, in_sync=None)),
        (RECORD, request(Change.OPEN, primary="b"), "no promotion is under way"),
        (RECORD, request(Change.ROLL_BACK, primary="b"), "no promotion is under way"),
        (ELECTED, late(Change.OPEN, "b", B1), Record(9, 4, "b", True, None)),
        (ELECTED, late(Change.OPEN, "b", B2), "not the one that was elected"),
        (ELECTED, late(Change.ROLL_BACK, "a"), Record(9, 5, "a", True, None)),
        (ELECTED, late(Change.TO_NONE), "a promotion of b is under way"),
        (ELECTED, request(Change.TO_NONE, "a"), "moved on"),
        (replace(RECORD, version=6), request(Change.TO_NONE, "a"), "moved on"),
        (replace(RECORD, term=4), request(Change.TO_NONE, "a"), "moved on"),
        (None, request(Change.TO_NONE, "a"), "there is no record"),
    ],
)
def test_swap(record: Record | None, asked: SwapRequest, expected: Record | str) -> None:
    answer = decide_swap(record, asked)
    if isinstance(expected, Record):
        assert (answer.record, answer.refusal) == (expected, "")
    else:
        assert expected in answer.refusal
        assert (answer.granted, answer.record) == (False, record)


A_WRITES = Witness("a", answers=True, writable=True, replicates_from="", highest_term=3)
B_FOLLOWS = Witness("b", answers=True, writable=False, replicates_from="a", highest_term=3)


@pytest.mark.parametrize(
    ("witnesses", "expected"),
    [
        ([A_WRITES, B_FOLLOWS], Record(99, 4, "a", True, None)),
        ([A_WRITES, replace(B_FOLLOWS, highest_term=2)], Record(99, 4, "a", True, None)),
        ([A_WRITES, replace(B_FOLLOWS, highest_term=4)], "later than the primary's"),
        ([A_WRITES, replace(B_FOLLOWS, answers=False)], "not every server answers: b"),
        ([A_WRITES, replace(B_FOLLOWS, replicates_from="")], "not a replica of a: b"),
        ([A_WRITES, replace(B_FOLLOWS, writable=True)], "2 servers are writable"),
        ([replace(A_WRITES, writable=False), B_FOLLOWS], "0 servers are writable"),
        ([], "none is known"),
    ],
)
def test_rebuild(witnesses: list[Witness], expected: Record | str) -> None:
    found = decide_rebuild(witnesses, 99)
    assert found == expected if isinstance(expected, Record) else expected in str(found)
