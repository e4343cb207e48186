"""The decisions of guard, fence and manager (pure); programs only look, decide, do one step and look again.

Rules that the simulation has shown to be needed carry the name of their test in tests/simulation/test_mutations.py.
"""

from __future__ import annotations

from holdfast.failover.protocol import (
    Fence,
    FenceStep,
    FenceView,
    GuardStep,
    GuardView,
    ManagerStep,
    ManagerView,
    Peer,
    Server,
)
from holdfast.failover.record import Record


def decide_guard(view: GuardView) -> GuardStep:
    """Return a guard's next step. It never opens a server, lifts a fence or runs replication against the record."""
    server, record = view.server, view.record
    if view.timers.statement_overdue or view.timers.sql_silent:
        return GuardStep.KILL_SERVER
    if server is None:
        return GuardStep.NOTHING
    # with in_sync none nobody may promote, so going on is safe and serves whoever still reaches it
    if view.timers.isolated and server.writable and (record is None or record.in_sync is not None):
        return GuardStep.GO_OFFLINE
    if record is None or not view.session_holds:
        return GuardStep.READ_RECORD
    if record.primary != view.me:
        return _not_primary(view, record, server)
    if not record.opened:
        return GuardStep.NOTHING
    if server.source_of_channel:
        return GuardStep.ALARM
    if server.read_only or server.offline:
        return GuardStep.OPEN
    return _acknowledging(view, record, server)


def _not_primary(view: GuardView, record: Record, server: Server) -> GuardStep:
    if not server.read_only:
        return GuardStep.FINISH_FENCE
    if server.waiting and not server.source_of_channel:
        # its clients are gone with the fence; nothing may be compared while a commit can still come through
        return GuardStep.FINISH_FENCE
    if not record.opened:
        return GuardStep.NOTHING  # a fence may be at work, and would find its offline_mode lifted again and again
    if server.offline:
        return GuardStep.LIFT_OFFLINE
    peer = view.peer
    if peer is None or not peer.writable:
        return GuardStep.NOTHING
    if server.source_of_channel == record.primary and server.receiving and server.applying:
        # ON here makes the applier wait for an ACK of its own
        return GuardStep.START_REPLICA if server.source_enabled else GuardStep.NOTHING
    if not peer.lacks_nothing_extra:
        return GuardStep.STAY_OUT
    return GuardStep.START_REPLICA if server.source_of_channel == record.primary else GuardStep.ATTACH


def _acknowledging(view: GuardView, record: Record, server: Server) -> GuardStep:
    """A writable primary: with its replica's ACK, or alone once the record says so."""
    streaming: Peer | None = view.peer if view.peer and view.peer.replicates_from_me else None
    if not server.source_enabled:
        if not view.swapped_alone:
            return GuardStep.SWAP_TO_NONE  # OFF by somebody else's hand proves nothing
        return GuardStep.ARM if streaming else GuardStep.NOTHING
    if streaming and record.in_sync == streaming.instance:
        return _degrade(view) if view.timers.no_progress and server.waiting else GuardStep.NOTHING
    if streaming and streaming.has_mine:
        return GuardStep.SWAP_TO_REPLICA
    if view.timers.marker_overdue or (view.timers.no_progress and (server.waiting or not streaming)):
        return _degrade(view)
    return GuardStep.NOTHING


def _degrade(view: GuardView) -> GuardStep:
    return GuardStep.ACKNOWLEDGE_ALONE if view.swapped_alone else GuardStep.SWAP_TO_NONE


def decide_fence(view: FenceView) -> FenceStep:
    """Return the fence's next step against the old primary; the order is design section 7's."""
    server = view.server
    if view.power_is_off or view.replica_of_successor:
        return FenceStep.PROVEN
    if server is not None:
        # once read-only its guard may lift offline_mode: not to be repeated, or the two would go on for ever
        if not view.sessions_killed or server.writable:
            return FenceStep.OFFLINE_AND_KILL
        if server.source_enabled:
            return FenceStep.SOURCE_OFF
        return FenceStep.PROVEN if server.read_only else FenceStep.READ_ONLY
    if view.replica_streams_and_has_all and view.sql_reachable:
        return FenceStep.READ_ONLY_WHILE_STREAMING
    if view.guard_reachable:
        return FenceStep.KILL_BY_GUARD
    if view.sql_reachable:
        return FenceStep.CONNECT
    return FenceStep.ROBOT_RESET if view.robot_available else FenceStep.UNPROVEN


def decide_manager(view: ManagerView) -> ManagerStep:
    """Return a manager's next step: whether to promote, and once it did, how to end it one way or the other."""
    record, candidate = view.record, view.candidate
    if record is None:
        return ManagerStep.HOLD
    if not record.opened:
        return decide_promotion(view)
    if view.loss_allowed:
        return ManagerStep.ALLOW_LOSS if candidate else ManagerStep.HOLD
    if not view.ordered and (view.old is not None or not view.silent):
        return ManagerStep.NOTHING
    if candidate is None or (view.candidate_hears_old and not view.ordered):
        return ManagerStep.HOLD
    return ManagerStep.PROMOTE if record.in_sync == candidate.instance else ManagerStep.HOLD


def decide_promotion(view: ManagerView) -> ManagerStep:
    """Return the next step of a promotion under way, also for a manager that has just started and remembers nothing."""
    record, candidate = view.record, view.candidate
    if record is None or record.opened:
        return ManagerStep.NOTHING
    back = ManagerStep.ROLL_BACK if view.old is not None else ManagerStep.HOLD
    by_a_person = record.in_sync is None
    if candidate is None or view.promotion_overdue or (not by_a_person and record.in_sync != candidate.instance):
        return back
    if view.fence is Fence.UNTRIED:
        return ManagerStep.FENCE
    if view.fence is Fence.GIVEN_UP and (by_a_person or view.hold_if_unproven):
        return back
    # also without a channel: its guard may hold a view from which it would attach it
    if not view.drain_session_holds:
        return ManagerStep.STOP_RECEIVING
    if not candidate.source_of_channel:
        return ManagerStep.SWAP_OPENED
    if candidate.receiving or candidate.source_enabled:
        return ManagerStep.STOP_RECEIVING
    return ManagerStep.DETACH if candidate.applier_idle else ManagerStep.WAIT
