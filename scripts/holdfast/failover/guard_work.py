"""A guard's steps as it does them: the statements of guard_steps.py, the keeper's swaps, the second comparison."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from holdfast.config_failover import DatabaseHostConfig, FailoverConfig
from holdfast.errors import ToolError
from holdfast.failover import guard_steps
from holdfast.failover.guard_look import extra
from holdfast.failover.guard_session import Session
from holdfast.failover.protocol import GuardStep
from holdfast.failover.record import Change, SwapRequest
from holdfast.gtid import GtidSet
from holdfast.process import run

if TYPE_CHECKING:
    from holdfast.failover.guard import Guard
    from holdfast.failover.guard_view import Situation

log = logging.getLogger(__name__)

SALVAGE = "/usr/local/bin/mysql-salvage"
SALVAGE_AFTER_SECONDS = 15.0
SALVAGE_SECONDS = 3600.0
COMPARE_SECONDS = 3.0
COMPARE_PAUSE_SECONDS = 0.3


class Work:
    """Does one step; the guard says when. `peer` is where this server would replicate from."""

    def __init__(self, guard: Guard, failover: FailoverConfig, peer: DatabaseHostConfig | None) -> None:
        self._guard = guard
        self._failover = failover
        self._peer = peer

    def do(self, step: GuardStep, situation: Situation) -> str:
        """Do it; in words what came of it, empty for "done". Raises HoldfastError, OverdueError among them."""
        session, seen = self._guard.server.session, situation.seen
        if step is GuardStep.SWAP_TO_NONE:
            return self._swap(Change.TO_NONE, situation)
        if step is GuardStep.SWAP_TO_REPLICA:
            return self._swap(Change.TO_REPLICA, situation)
        if session is None or seen is None:
            return "the session is gone"
        match step:
            case GuardStep.GO_OFFLINE:
                guard_steps.go_offline(session)
            case GuardStep.FINISH_FENCE:
                guard_steps.finish_fence(session)
            case GuardStep.LIFT_OFFLINE:
                guard_steps.lift_offline(session, has_channel=bool(seen.server.source_of_channel))
            case GuardStep.OPEN:
                guard_steps.open_server(session, swapped_alone=self._guard.swapped_alone)
            case GuardStep.ACKNOWLEDGE_ALONE:
                guard_steps.acknowledge_alone(session)
            case GuardStep.ARM:
                guard_steps.arm(session)
            case GuardStep.ATTACH:
                return self._attach(session)
            case GuardStep.START_REPLICA:
                guard_steps.start_replica(session, replica_enabled=seen.replica_enabled)
                return self._compare_again(session)
            case _:
                raise ValueError(f"{step} is not done to a server")
        return ""

    def _swap(self, change: Change, situation: Situation) -> str:
        record, report = situation.record, situation.report
        if record is None:
            return "there is no record"
        instance = None
        if change is Change.TO_REPLICA:
            if report is None or report.server is None:
                return "the replica is gone"
            instance = report.server.instance
            # before asking: the request may be carried out though its answer is lost
            self._guard.swapped_alone = False
        answer = self._guard.keeper.swap(
            SwapRequest(change, situation.me, record.version, record.term, instance=instance)
        )
        if not answer.granted or answer.record is None:
            return f"refused: {answer.refusal}"
        # an answer is for the term in which it was asked
        if answer.record.term == record.term:
            self._guard.swapped_alone = change is Change.TO_NONE
            self._guard.record = answer.record
        return "granted"

    def _attach(self, session: Session) -> str:
        if self._peer is None:
            raise ToolError("this host has no peer to replicate from")
        account = guard_steps.account_in(self._failover.replication_account_file)
        guard_steps.attach(session, self._peer, account, self._failover.tls.ca_file)
        return self._compare_again(session)

    def _compare_again(self, session: Session) -> str:
        """Between the comparison and the start something may have been written here; then it must not go on."""
        mine = str(session.value("SELECT @@GLOBAL.gtid_executed"))
        deadline = time.monotonic() + COMPARE_SECONDS
        while True:
            try:
                report = self._guard.surroundings.ask()
            except ToolError as error:
                return f"started; not compared again: {error.what}"
            # a replica executes a transaction before its source does, which waits for its ACK: a moment decides
            errant = extra(mine, report.gtid_executed)
            if not errant:
                return "started, and nothing is on this server only"
            if time.monotonic() > deadline:
                guard_steps.stop_replica(session)
                return f"stopped again: only this server has {errant.one_line()}"
            time.sleep(COMPARE_PAUSE_SECONDS)


class Salvage:
    """Has errant transactions saved, each set once, by a program of its own: reading binary logs takes a while."""

    def __init__(self, start: Callable[[str], None] | None = None) -> None:
        self._start = start or self._in_a_thread
        self._since: float | None = None
        self._saved: set[str] = set()

    def look(self, now: float, errant: GtidSet | None) -> None:
        """`errant` None: nothing stays out. What lasts a moment may be a commit that its source is about to end."""
        if not errant:
            self._since = None
            return
        if self._since is None:
            self._since = now
        if now - self._since >= SALVAGE_AFTER_SECONDS and errant.one_line() not in self._saved:
            self._saved.add(errant.one_line())
            log.warning("errant transactions are being saved: %s", errant.one_line())
            self._start(errant.one_line())

    @staticmethod
    def _in_a_thread(gtids: str) -> None:
        def save() -> None:
            try:
                run([SALVAGE, gtids], name="mysql-salvage", timeout_seconds=SALVAGE_SECONDS)
            except ToolError as error:  # it has told people itself
                log.error("%s", error)

        threading.Thread(target=save, name="salvage", daemon=True).start()
