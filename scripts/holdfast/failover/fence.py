"""The fence: one procedure, for both managers. It ends with a proof that the old primary cannot write, or without.

It follows `decide_fence`, one step at a time; each step has a time limit of its own, each way that failed is not tried
again in this run, and each proof is a line. Safety does not depend on it: the swap before it ended the old
primary's right to acknowledge alone (design section 7). It shortens the outage, and spares errant transactions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from holdfast.database import DatabaseError
from holdfast.errors import HoldfastError, ToolError
from holdfast.failover.decide import decide_fence
from holdfast.failover.parties import Host, Route, Session, Site
from holdfast.failover.probe import probe, report_of
from holdfast.failover.protocol import Fence, FenceStep, FenceView, Server
from holdfast.failover.record import Instance, Record

READ_ONLY_SECONDS = 1.0  # super_read_only waits for commits under way; longer, and they wait for an ACK
LOST_SESSIONS = 3  # a server that crashes at each login is not fenced by SQL
ROBOT_STEPS = 6.0  # a button held, and the state that follows: as long as six other steps
POLL_SECONDS = 0.05
_PROOFS_BY_THEMSELVES = (FenceStep.READ_ONLY_WHILE_STREAMING, FenceStep.KILL_BY_GUARD, FenceStep.ROBOT_RESET)


@dataclass(frozen=True, slots=True)
class Proof:
    """One step of the fence: what it was, whether it did what it should, what was read back, in how many seconds."""

    step: FenceStep
    done: bool
    text: str
    seconds: float


class MovedOnError(ToolError):
    """The record's term is not this fence's any more: whatever it would still do belongs to the past."""


class FenceRun:
    """One run of the fence of a term against the old primary."""

    def __init__(
        self,
        site: Site,
        term: int,
        old: Host,
        successor: Host,
        *,
        power_is_off: bool = False,
        no_way_answers: bool = False,
    ) -> None:
        self._site, self._term, self._old, self._successor = site, term, old, successor
        self._power_is_off, self._no_way_answers = power_is_off, no_way_answers
        self._session: Session | None = None
        self._killed = False
        self._lost = 0
        self._sql: list[Route] = []
        self._guards: list[Route] = []
        self._streams = False
        self._is_replica = False
        self._robot = site.power is not None and site.power.knows(old.name)
        self.proofs: list[Proof] = []

    def run(self) -> Fence:
        """Fence, or give up when no way is left. Raises MovedOnError."""
        try:
            record = self._record()
            uuid = self._probe(record)
            if record.primary == uuid:
                raise MovedOnError(f"{self._old.name} is the record's primary: it must not be fenced")
            while True:
                step = decide_fence(self._view())
                if step is FenceStep.PROVEN:
                    self._say(step, True, self._why(), 0.0)
                    return Fence.PROVEN
                if step is FenceStep.UNPROVEN:
                    self._say(step, False, f"no way to {self._old.name} is left", 0.0)
                    return Fence.GIVEN_UP
                if self._take(step) and step in _PROOFS_BY_THEMSELVES:
                    return Fence.PROVEN
        finally:
            self._leave()

    def foresee(self) -> list[str]:
        """Say what a run would find and begin with, changing nothing. Raises ToolError."""
        record = self._site.keeper.record()
        if record is None:
            return ["there is no record: nothing would be promoted"]
        self._probe(record)
        return [
            f"{self._old.name}: SQL answers {_labels(self._sql)}",
            f"{self._old.name}: its guard answers {_labels(self._guards)}",
            f"{self._successor.name} {'hears it' if self._streams else 'does not hear it'}",
            f"Robot {'can' if self._robot else 'cannot'} reset it",
            f"the fence would begin with: {decide_fence(self._view()).value}",
        ]

    def _record(self) -> Record:
        record = self._site.keeper.record()
        if record is None or record.term != self._term:
            now = "there is none" if record is None else f"it is at term {record.term}"
            raise MovedOnError(f"fence of term {self._term}: the record moved on, {now}")
        return record

    def _probe(self, record: Record) -> str:
        """Look which ways are there; the server_uuid that its guard told, or nothing."""
        if self._no_way_answers:
            self._site.say(f"fence {self._old.name}: on no way did anybody answer a moment ago")
            return ""
        found = probe(self._old, self._successor, self._site.times.heartbeat_window_seconds)
        self._sql, self._guards, self._streams = list(found.sql), list(found.guards), found.heard
        old = found.report
        if old is None:
            return ""
        follows = old.server is not None and old.io_connected and old.server.source_of_channel == record.primary
        in_sync = record.in_sync is not None and record.in_sync.server_uuid == old.server_uuid
        self._is_replica = record.opened and (follows or in_sync)
        return old.server_uuid

    def _view(self) -> FenceView:
        return FenceView(
            server=self._look(),
            sessions_killed=self._killed,
            sql_reachable=bool(self._sql),
            guard_reachable=bool(self._guards),
            robot_available=self._robot,
            replica_streams_and_has_all=self._streams,
            power_is_off=self._power_is_off,
            replica_of_successor=self._is_replica,
        )

    def _why(self) -> str:
        if self._power_is_off:
            return f"a person says that {self._old.name} is off"
        if self._is_replica:
            return f"{self._old.name} is the new primary's replica"
        return "all sessions ended by this fence, read-only: read back in its session"

    def _look(self) -> Server | None:
        if self._session is None:
            return None
        try:
            return self._session.look()
        except DatabaseError as error:
            self._lose(error)
            return None

    def _lose(self, error: HoldfastError) -> None:
        """The server went away between two steps: killed, crashed or cut. What was done in that session is over."""
        self._leave()
        self._lost += 1
        self._site.say(f"fence {self._old.name}: the session is gone: {error.what}")
        if self._lost >= LOST_SESSIONS:
            self._sql = []

    def _leave(self) -> None:
        if self._session is not None:
            self._session.close()
        self._session, self._killed = None, False

    def _take(self, step: FenceStep) -> bool:
        began = self._site.clock.now()
        try:
            text = _ACTIONS[step](self)
        except MovedOnError:
            raise
        except HoldfastError as error:
            self._failed(step, error)
            self._say(step, False, error.what, self._site.clock.now() - began)
            return False
        self._say(step, True, text, self._site.clock.now() - began)
        return True

    def _failed(self, step: FenceStep, error: HoldfastError) -> None:
        if step is FenceStep.READ_ONLY_WHILE_STREAMING:
            self._streams = False
        elif step is FenceStep.KILL_BY_GUARD:
            self._guards = self._guards[1:]
        elif step is FenceStep.CONNECT:
            self._sql = self._sql[1:]
        elif step is FenceStep.ROBOT_RESET:
            self._robot = False
        else:
            self._lose(error)

    def _say(self, step: FenceStep, done: bool, text: str, seconds: float) -> None:
        self.proofs.append(Proof(step, done, text, seconds))
        mark = "done" if done else "NOT DONE"
        self._site.say(f"fence {self._old.name}: {step.name.lower()}: {mark}: {text} ({seconds:.1f} s)")

    def _read_only_while_streaming(self) -> str:
        """The gentle way, of a switchover: nothing strays, and the server lives on."""
        old = self._sql[0].connect()
        try:
            self._record()
            old.set_read_only(READ_ONLY_SECONDS)
            everything = old.executed()
            replica = self._successor.direct.connect()
            try:
                self._wait(lambda: everything <= replica.received(), READ_ONLY_SECONDS, "the replica did not catch up")
            finally:
                replica.close()
            self._wait(lambda: not old.look().waiting, READ_ONLY_SECONDS, "commits still wait for an ACK")
            count = old.kill_others()
            old.set_source(True)
            seen = old.look()
            if not seen.read_only or seen.waiting or not old.executed() <= everything:
                raise ToolError("what was read back is not what was set")
        finally:
            old.close()
        return f"read-only, {self._successor.name} has everything, {count} sessions ended"

    def _kill_by_guard(self) -> str:
        route = self._guards[0]
        ended = route.kill(self._term)
        self._wait(
            lambda: _is_another(route, ended), self._site.times.fence_step_seconds, "it still shows the same mysqld"
        )
        what = "no mysqld ran" if ended is None else f"mysqld {ended.process_start} killed"
        return f"{what}, by its guard {route.label}; it boots read-only"

    def _connect(self) -> str:
        route = self._sql[0]
        self._session = route.connect()
        self._killed = False
        self._record()
        return f"logged in {route.label}, term {self._term} still stands"

    def _offline_and_kill(self) -> str:
        session = self._need()
        session.go_offline()
        count = session.kill_others()
        self._killed = True
        return f"offline, {count} sessions ended"

    def _source_off(self) -> str:
        self._need().set_source(False)
        return "what waited has ended, nobody was told"

    def _read_only(self) -> str:
        session = self._need()
        session.set_read_only(self._site.times.fence_step_seconds)
        if not session.look().read_only:
            raise DatabaseError("super_read_only was set and is OFF")
        return "read-only"

    def _robot_reset(self) -> str:
        if self._site.power is None:
            raise ToolError("there is no Robot")
        return self._site.power.switch_off(self._old.name, ROBOT_STEPS * self._site.times.fence_step_seconds)

    def _need(self) -> Session:
        if self._session is None:
            raise DatabaseError("no session")
        return self._session

    def _wait(self, holds: Callable[[], bool], seconds: float, otherwise: str) -> None:
        deadline = self._site.clock.now() + seconds
        while not holds():
            if self._site.clock.now() >= deadline:
                raise ToolError(f"{otherwise} within {seconds:g} s")
            self._site.clock.sleep(POLL_SECONDS)


_ACTIONS: dict[FenceStep, Callable[[FenceRun], str]] = {
    FenceStep.READ_ONLY_WHILE_STREAMING: FenceRun._read_only_while_streaming,
    FenceStep.KILL_BY_GUARD: FenceRun._kill_by_guard,
    FenceStep.CONNECT: FenceRun._connect,
    FenceStep.OFFLINE_AND_KILL: FenceRun._offline_and_kill,
    FenceStep.SOURCE_OFF: FenceRun._source_off,
    FenceStep.READ_ONLY: FenceRun._read_only,
    FenceStep.ROBOT_RESET: FenceRun._robot_reset,
}


def _is_another(route: Route, ended: Instance | None) -> bool:
    """Whether the guard shows that the mysqld that was killed is gone."""
    report = report_of(route)
    return report is not None and (report.server is None or report.server.instance != ended)


def _labels(routes: list[Route]) -> str:
    return ", ".join(route.label for route in routes) or "by no way"
