"""The guard's own server: its session, its process, what it showed last, and its end."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Mapping

from holdfast.config_failover import DatabaseHostConfig, FailoverConfig
from holdfast.database import DatabaseError
from holdfast.errors import HoldfastError, ToolError
from holdfast.failover.guard_look import Look, look
from holdfast.failover.guard_session import OverdueError, Session, open_session
from holdfast.failover.heartbeat import STATE, Beat
from holdfast.failover.mysqld import Mysqld, running
from holdfast.failover.record import Instance
from holdfast.failover.timers import Clocks

log = logging.getLogger(__name__)

KILL_SECONDS = 2.0
# MySQL's client: nobody listens, or the session ended; anything else is an answer
CANNOT_CONNECT, GONE = 2003, (0, 2006, 2013, 4031)


class OwnServer:
    """`seen` is the last look, None while SQL does not answer; `error` says why. Only `kill` is for other threads."""

    def __init__(
        self, failover: FailoverConfig, host: DatabaseHostConfig, clocks: Clocks, clock: Callable[[], float]
    ) -> None:
        self._failover = failover
        self._host = host
        self._clocks = clocks
        self._clock = clock
        self._lock = threading.Lock()
        self._killed: Mysqld | None = None
        self.mysqld: Mysqld | None = None
        self.session: Session | None = None
        self.seen: Look | None = None
        self.seen_at = 0.0
        self.error = ""

    def take_hold(self, known: Instance, pid: int) -> None:
        """Of a process that answered an earlier guard: frozen since, it counts as one that has answered."""
        with contextlib.suppress(ToolError):
            mysqld = running(known.server_uuid, pid)
            if mysqld.instance == known:
                self.mysqld = mysqld
                self._clocks.answered = self._clock()
            else:
                mysqld.close()

    @property
    def runs(self) -> bool:
        """Whether the mysqld that answered last is there, and was not killed from here."""
        return self.mysqld is not None and self._killed is not self.mysqld and self.mysqld.runs

    def connect(self) -> None:
        """Have a session if that is possible, and nothing left of an earlier guard in the server. Never raises."""
        if self.mysqld is not None and not self.mysqld.runs:
            self.hang_up()
            self._clocks.statement_overdue = False
        if self.session is not None:
            return
        try:
            session = open_session(self._failover, self._host)
        except HoldfastError as error:
            self.failed(error)
            return
        self._observe(session.mysqld)
        try:
            session.kill_others(account=session.account)
        except DatabaseError as error:
            session.close()
            self.failed(error)
        else:
            self.session = session

    def _observe(self, mysqld: Mysqld) -> None:
        with self._lock:
            before, self.mysqld = self.mysqld, mysqld
            if before is not None and before.instance == mysqld.instance:
                if self._killed is before:
                    self._killed = mysqld
                before.close()
                return
            if before is not None:
                before.close()
        self._clocks.statement_overdue = False
        log.info("watching mysqld, process %d, server %s", mysqld.pid, mysqld.instance.server_uuid)

    def look(self, uuids: Mapping[str, str]) -> None:
        """Look, by the session. Never raises."""
        if self.session is None:
            self.seen = None
            return
        try:
            self.seen = look(self.session, self.session.mysqld.instance, uuids)
        except DatabaseError as error:
            self.failed(error)
            self.hang_up()
        else:
            self.seen_at = self._clocks.answered = self._clock()
            self.error = ""

    def hang_up(self) -> None:
        """End the session: whatever was decided from it is void."""
        self.seen = None
        if self.session is not None:
            self.session.close()
            self.session = None

    def failed(self, error: HoldfastError) -> None:
        """SQL was refused, or did not answer. An error that the server sends is an answer."""
        if error.what != self.error:
            log.info("SQL: %s", error.what)
        self.error = error.what
        if isinstance(error, OverdueError):
            self._clocks.statement_overdue = True
        elif isinstance(error, DatabaseError):
            refused = error.number == CANNOT_CONNECT and "refused" in error.what
            if refused or error.number not in (CANNOT_CONNECT, *GONE):
                self._clocks.answered = self._clock()

    def state_of(self, beat: Beat) -> str | None:
        """What the heartbeat's session is doing, as MySQL says; None when it cannot be asked."""
        if self.session is None:
            return None
        try:
            return str(self.session.value(STATE, (beat.session_id,)) or "")
        except DatabaseError as error:
            self.failed(error)
            self.hang_up()
            return None

    def kill(self) -> str:
        """SIGKILL the mysqld that answered last, once; what came of it, in words."""
        with self._lock:
            mysqld = self.mysqld
            if mysqld is None:
                return "no mysqld has answered this guard: nothing to kill"
            if self._killed is mysqld and mysqld.runs:
                return f"process {mysqld.pid} was sent SIGKILL before"
            self._killed = mysqld
            mysqld.kill()
            ended = mysqld.wait(KILL_SECONDS)
        return f"process {mysqld.pid} {'is gone' if ended else 'was sent SIGKILL and has not ended yet'}"
