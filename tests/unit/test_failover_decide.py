"""The decisions of guard, fence and manager, by table: what the simulation explores, a reader sees here one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from holdfast.failover.decide import decide_fence, decide_guard, decide_manager
from holdfast.failover.protocol import (
    Fence,
    FenceStep,
    FenceView,
    GuardStep,
    GuardTimers,
    GuardView,
    ManagerStep,
    ManagerView,
    Peer,
    Server,
)
from holdfast.failover.record import Instance, Record

A1, B1, B2 = Instance("a", "boot", 1), Instance("b", "boot", 1), Instance("b", "boot", 2)
PRIMARY = Server(A1, False, False, True, 0, "", False, False, True)
REPLICA = Server(B1, True, False, False, 0, "a", True, True, True)
BOOTED = replace(PRIMARY, read_only=True)
RECORD = Record(7, 3, "a", True, B1)
PEER = Peer(B1, writable=False, replicates_from_me=True, has_mine=True, lacks_nothing_extra=True)
GUARD = GuardView("a", RECORD, True, False, PRIMARY, PEER)
OTHERS = replace(RECORD, primary="b", in_sync=None)
LOST = GuardView("a", OTHERS, True, False, BOOTED, replace(PEER, writable=True, replicates_from_me=False))
STALLED = GuardTimers(no_progress=True)


@pytest.mark.parametrize(
    ("view", "changes", "expected"),
    [
        (GUARD, {}, GuardStep.NOTHING),
        (GUARD, {"record": None}, GuardStep.READ_RECORD),
        (GUARD, {"session_holds": False}, GuardStep.READ_RECORD),
        (GUARD, {"server": None}, GuardStep.NOTHING),
        (GUARD, {"server": None, "timers": GuardTimers(sql_silent=True)}, GuardStep.KILL_SERVER),
        (GUARD, {"timers": GuardTimers(statement_overdue=True)}, GuardStep.KILL_SERVER),
        (GUARD, {"timers": GuardTimers(isolated=True)}, GuardStep.GO_OFFLINE),
        (
            GUARD,
            {"timers": GuardTimers(isolated=True), "record": replace(RECORD, in_sync=None)},
            GuardStep.SWAP_TO_REPLICA,
        ),
        (GUARD, {"timers": STALLED}, GuardStep.NOTHING),  # nothing waits, the replica is there
        (GUARD, {"timers": STALLED, "server": replace(PRIMARY, waiting=1)}, GuardStep.SWAP_TO_NONE),
        (GUARD, {"timers": STALLED, "peer": None}, GuardStep.SWAP_TO_NONE),
        (GUARD, {"timers": STALLED, "peer": None, "swapped_alone": True}, GuardStep.ACKNOWLEDGE_ALONE),
        (GUARD, {"peer": replace(PEER, instance=B2)}, GuardStep.SWAP_TO_REPLICA),
        (GUARD, {"peer": replace(PEER, instance=B2, has_mine=False)}, GuardStep.NOTHING),
        (
            GUARD,
            {"peer": replace(PEER, instance=B2, has_mine=False), "timers": GuardTimers(marker_overdue=True)},
            GuardStep.SWAP_TO_NONE,
        ),
        (GUARD, {"server": replace(PRIMARY, source_enabled=False), "swapped_alone": True}, GuardStep.ARM),
        (
            GUARD,
            {"server": replace(PRIMARY, source_enabled=False), "swapped_alone": True, "peer": None},
            GuardStep.NOTHING,
        ),
        (GUARD, {"server": replace(PRIMARY, source_enabled=False)}, GuardStep.SWAP_TO_NONE),
        (GUARD, {"server": BOOTED}, GuardStep.OPEN),
        (GUARD, {"server": replace(PRIMARY, offline=True)}, GuardStep.OPEN),
        (GUARD, {"server": BOOTED, "record": replace(RECORD, opened=False)}, GuardStep.NOTHING),
        (GUARD, {"server": replace(REPLICA, source_of_channel="b")}, GuardStep.ALARM),
        (LOST, {"server": PRIMARY}, GuardStep.FINISH_FENCE),
        (LOST, {"server": replace(BOOTED, waiting=1)}, GuardStep.FINISH_FENCE),
        (LOST, {"server": replace(BOOTED, offline=True)}, GuardStep.LIFT_OFFLINE),
        (LOST, {"server": replace(BOOTED, offline=True), "record": replace(OTHERS, opened=False)}, GuardStep.NOTHING),
        (LOST, {}, GuardStep.ATTACH),
        (LOST, {"record": replace(OTHERS, opened=False)}, GuardStep.NOTHING),
        (LOST, {"peer": None}, GuardStep.NOTHING),
        (LOST, {"peer": PEER}, GuardStep.NOTHING),
        (LOST, {"peer": replace(PEER, writable=True, lacks_nothing_extra=False)}, GuardStep.STAY_OUT),
        (LOST, {"server": replace(REPLICA, source_of_channel="b", receiving=False)}, GuardStep.START_REPLICA),
        (LOST, {"server": replace(REPLICA, source_of_channel="b")}, GuardStep.NOTHING),
        (LOST, {"server": replace(REPLICA, source_of_channel="b", source_enabled=True)}, GuardStep.START_REPLICA),
    ],
)
def test_guard(view: GuardView, changes: dict[str, Any], expected: GuardStep) -> None:
    assert decide_guard(replace(view, **changes)) is expected


SILENT = FenceView(None, False, False, False, False, False, False)
FENCED = replace(PRIMARY, offline=True, source_enabled=False, read_only=True)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, FenceStep.UNPROVEN),
        ({"robot_available": True}, FenceStep.ROBOT_RESET),
        ({"power_is_off": True}, FenceStep.PROVEN),
        ({"replica_of_successor": True, "guard_reachable": True}, FenceStep.PROVEN),
        ({"sql_reachable": True}, FenceStep.CONNECT),
        ({"sql_reachable": True, "guard_reachable": True}, FenceStep.KILL_BY_GUARD),
        (
            {"sql_reachable": True, "guard_reachable": True, "replica_streams_and_has_all": True},
            FenceStep.READ_ONLY_WHILE_STREAMING,
        ),
        ({"server": PRIMARY}, FenceStep.OFFLINE_AND_KILL),
        ({"server": FENCED}, FenceStep.OFFLINE_AND_KILL),
        ({"server": replace(PRIMARY, offline=True), "sessions_killed": True}, FenceStep.SOURCE_OFF),
        ({"server": replace(FENCED, read_only=False), "sessions_killed": True}, FenceStep.READ_ONLY),
        ({"server": FENCED, "sessions_killed": True}, FenceStep.PROVEN),
        ({"server": replace(FENCED, offline=False), "sessions_killed": True}, FenceStep.PROVEN),
    ],
)
def test_fence(changes: dict[str, Any], expected: FenceStep) -> None:
    assert decide_fence(replace(SILENT, **changes)) is expected


DEAD = ManagerView(RECORD, REPLICA, None, False, Fence.UNTRIED, False, False, silent=True)
ELECTED = Record(8, 4, "b", False, B1)
UNDER_WAY = replace(DEAD, record=ELECTED, fence=Fence.PROVEN)
STOPPED = replace(REPLICA, receiving=False)
RESTARTED = replace(REPLICA, instance=B2)


@pytest.mark.parametrize(
    ("view", "changes", "expected"),
    [
        (DEAD, {}, ManagerStep.PROMOTE),
        (DEAD, {"silent": False}, ManagerStep.NOTHING),
        (DEAD, {"old": PRIMARY}, ManagerStep.NOTHING),
        (DEAD, {"old": PRIMARY, "ordered": True, "candidate_hears_old": True}, ManagerStep.PROMOTE),
        (DEAD, {"candidate_hears_old": True}, ManagerStep.HOLD),
        (DEAD, {"candidate": None}, ManagerStep.HOLD),
        (DEAD, {"candidate": RESTARTED}, ManagerStep.HOLD),
        (DEAD, {"record": None}, ManagerStep.HOLD),
        (DEAD, {"record": replace(RECORD, in_sync=None)}, ManagerStep.HOLD),
        (DEAD, {"record": replace(RECORD, in_sync=None), "loss_allowed": True}, ManagerStep.ALLOW_LOSS),
        (UNDER_WAY, {"fence": Fence.UNTRIED}, ManagerStep.FENCE),
        (UNDER_WAY, {}, ManagerStep.STOP_RECEIVING),
        (UNDER_WAY, {"fence": Fence.GIVEN_UP}, ManagerStep.STOP_RECEIVING),
        (UNDER_WAY, {"fence": Fence.GIVEN_UP, "hold_if_unproven": True}, ManagerStep.HOLD),
        (UNDER_WAY, {"fence": Fence.GIVEN_UP, "record": replace(ELECTED, in_sync=None)}, ManagerStep.HOLD),
        (UNDER_WAY, {"candidate": STOPPED}, ManagerStep.STOP_RECEIVING),
        (UNDER_WAY, {"candidate": STOPPED, "drain_session_holds": True}, ManagerStep.DETACH),
        (UNDER_WAY, {"candidate": replace(STOPPED, applier_idle=False), "drain_session_holds": True}, ManagerStep.WAIT),
        (UNDER_WAY, {"candidate": replace(STOPPED, source_of_channel="")}, ManagerStep.STOP_RECEIVING),
        (
            UNDER_WAY,
            {"candidate": replace(STOPPED, source_of_channel=""), "drain_session_holds": True},
            ManagerStep.SWAP_OPENED,
        ),
        (UNDER_WAY, {"candidate": RESTARTED}, ManagerStep.HOLD),
        (UNDER_WAY, {"candidate": RESTARTED, "old": PRIMARY}, ManagerStep.ROLL_BACK),
        (UNDER_WAY, {"promotion_overdue": True, "old": PRIMARY}, ManagerStep.ROLL_BACK),
        (UNDER_WAY, {"candidate": None}, ManagerStep.HOLD),
    ],
)
def test_manager(view: ManagerView, changes: dict[str, Any], expected: ManagerStep) -> None:
    assert decide_manager(replace(view, **changes)) is expected
