"""From what a guard sees to its steps, by table; the decision itself is test_failover_decide.py's."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from holdfast.failover.decide import decide_guard
from holdfast.failover.guard_look import LEAVING
from holdfast.failover.guard_view import Judge, Situation
from holdfast.failover.protocol import GuardStep
from holdfast.failover.timers import Clocks
from support.guards import A1, B2, LOOK, PRIMARY, RECORD, REPLICA, REPLICA_LOOK, SITUATION, A, B, looked, reported

TIMING = cast(
    Any,
    SimpleNamespace(no_progress_seconds=10, marker_seconds=2, isolation_seconds=5, sql_silent_seconds=10),
)
AS_REPLICA = replace(SITUATION, me=B, seen=REPLICA_LOOK, report=reported(PRIMARY, io_connected=False))


def judge(contact: float = 100.0) -> Judge:
    clocks = Clocks(TIMING, contact)
    clocks.answered = 100.0
    return Judge(clocks)


def step(situation: Situation, by: Judge | None = None) -> GuardStep:
    by = by or judge()
    return by.tempered(decide_guard(by.view(situation)), situation)


@pytest.mark.parametrize(
    ("situation", "changes", "expected"),
    [
        (SITUATION, {}, GuardStep.NOTHING),
        (AS_REPLICA, {}, GuardStep.NOTHING),
        (SITUATION, {"seen": None}, GuardStep.NOTHING),
        (SITUATION, {"record": None}, GuardStep.READ_RECORD),
        (SITUATION, {"session_holds": False}, GuardStep.READ_RECORD),
        (SITUATION, {"seen": looked(replace(PRIMARY, read_only=True))}, GuardStep.OPEN),
        # only the application is kept out: as a primary it is closed, else it is not fenced
        (SITUATION, {"seen": replace(LOOK, read_only=True)}, GuardStep.OPEN),
        (
            AS_REPLICA,
            {"seen": replace(REPLICA_LOOK, server=replace(REPLICA, read_only=False))},
            GuardStep.FINISH_FENCE,
        ),
        # no contact: what was read before does not open anything
        (SITUATION, {"seen": looked(replace(PRIMARY, offline=True)), "fresh": False}, GuardStep.NOTHING),
        (SITUATION, {"report": reported(notices=(LEAVING,))}, GuardStep.SWAP_TO_NONE),
        (SITUATION, {"report": None}, GuardStep.NOTHING),  # its guard is silent, its ACKs come
        (AS_REPLICA, {"seen": replace(REPLICA_LOOK, server=replace(REPLICA, applying=False))}, GuardStep.START_REPLICA),
        (
            AS_REPLICA,
            {"seen": replace(REPLICA_LOOK, server=replace(REPLICA, applying=False)), "fresh": False},
            GuardStep.NOTHING,
        ),
        (AS_REPLICA, {"seen": replace(REPLICA_LOOK, server=replace(REPLICA, source_of_channel=""))}, GuardStep.ATTACH),
        (
            AS_REPLICA,
            {
                "seen": replace(
                    REPLICA_LOOK, server=replace(REPLICA, source_of_channel=""), gtid_executed=f"{A}:1-100,{B}:1"
                )
            },
            GuardStep.STAY_OUT,
        ),
    ],
)
def test_steps(situation: Situation, changes: dict[str, Any], expected: GuardStep) -> None:
    assert step(replace(situation, **changes)) is expected


def test_an_isolated_primary_goes_offline_and_opens_again_only_in_contact() -> None:
    by = judge(contact=95.0)
    assert step(replace(SITUATION, fresh=False), by) is GuardStep.GO_OFFLINE
    offline = replace(SITUATION, fresh=False, seen=looked(replace(PRIMARY, offline=True)))
    assert step(replace(offline, now=101.0), by) is GuardStep.NOTHING
    by.clocks.heard(102.0)
    assert step(replace(offline, now=102.0, fresh=True), by) is GuardStep.OPEN


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({"opened": False, "in_sync": B2}, [GuardStep.NOTHING, GuardStep.NOTHING, GuardStep.FINISH_FENCE]),
        ({"opened": False, "in_sync": None}, [GuardStep.FINISH_FENCE] * 3),
        ({"in_sync": None}, [GuardStep.FINISH_FENCE] * 3),
    ],
)
def test_a_promotion_s_own_fence_goes_first(changes: dict[str, Any], steps: list[GuardStep]) -> None:
    by = judge(contact=1000.0)
    by.clocks.answered = 1000.0
    told = replace(SITUATION, record=replace(RECORD, term=4, primary=B, **changes))
    assert [step(replace(told, now=now), by) for now in (100.0, 102.9, 103.0)] == steps


def test_the_replica_is_gone_and_comes_back() -> None:
    by = judge(contact=1000.0)
    by.clocks.answered = 1000.0
    gone = replace(SITUATION, report=None, seen=looked(waiting_for(2), replicas=0))
    assert step(replace(gone, now=100.0), by) is GuardStep.NOTHING
    assert step(replace(gone, now=110.0), by) is GuardStep.SWAP_TO_NONE
    alone = replace(gone, swapped_alone=True, record=replace(RECORD, in_sync=None))
    assert step(replace(alone, now=110.1), by) is GuardStep.ACKNOWLEDGE_ALONE
    off = replace(alone, seen=looked(replace(PRIMARY, source_enabled=False), replicas=0))
    assert step(replace(off, now=111.0), by) is GuardStep.NOTHING
    # it is back, and far behind: a marker would not be back in its time
    off = replace(off, seen=looked(replace(PRIMARY, source_enabled=False), gtid_executed=f"{A}:1-200"))
    behind = replace(off, report=reported(replace(REPLICA, instance=B2), gtid_executed=f"{A}:1-90"))
    assert step(replace(behind, now=120.0), by) is GuardStep.NOTHING
    near = replace(behind, report=reported(replace(REPLICA, instance=B2), gtid_executed=f"{A}:1-199"))
    assert step(replace(near, now=122.0), by) is GuardStep.NOTHING
    near = replace(near, report=reported(replace(REPLICA, instance=B2), gtid_executed=f"{A}:1-200"))
    assert step(replace(near, now=123.0), by) is GuardStep.ARM
    on = replace(near, seen=looked(PRIMARY, gtid_executed=f"{A}:1-201"))
    assert step(replace(on, now=123.2), by) is GuardStep.NOTHING
    # the marker has been committed, and the replica has executed it
    back = replace(
        on, committed_began=123.5, report=reported(replace(REPLICA, instance=B2), gtid_executed=f"{A}:1-201")
    )
    assert step(replace(back, now=124.0), by) is GuardStep.SWAP_TO_REPLICA
    named = replace(back, record=replace(RECORD, in_sync=B2), swapped_alone=False)
    assert step(replace(named, now=124.5), by) is GuardStep.NOTHING
    assert by.clocks.marker.instance is None


def test_a_marker_that_does_not_come_back_ends_in_going_on_alone() -> None:
    by = judge(contact=1000.0)
    by.clocks.answered = 1000.0
    armed = replace(
        SITUATION, swapped_alone=True, record=replace(RECORD, in_sync=None), report=reported(gtid_executed=f"{A}:1-50")
    )
    assert step(replace(armed, now=100.0), by) is GuardStep.NOTHING
    assert step(replace(armed, now=101.9), by) is GuardStep.NOTHING
    assert step(replace(armed, now=102.0), by) is GuardStep.ACKNOWLEDGE_ALONE


def waiting_for(count: int) -> Any:
    assert PRIMARY.instance == A1
    return replace(PRIMARY, waiting=count)
