"""The candidate of a promotion: one SQL session on it, and the certainty which running mysqld that session is on.

SQL does not tell the instance, and what its guard reports may be a second old, of a mysqld that has restarted since and
dropped its relay log. So the session is opened first; then two reports are asked for, one after the other, each with
SQL's answer younger than the step before; and the session must still live. No clocks are compared, only durations.
"""

from __future__ import annotations

from holdfast.database import DatabaseError
from holdfast.errors import ToolError
from holdfast.failover.parties import Host, Session, Site
from holdfast.failover.protocol import Server
from holdfast.failover.record import Instance
from holdfast.failover.wire import GuardReport

CONFIRM_TICKS = 5.0  # two reports a guard's tick apart, and room for a guard that reconnects
POLL_SECONDS = 0.1


class Candidate:
    """A host, at most one session on it, and what that session has done."""

    def __init__(self, site: Site, host: Host) -> None:
        self._site, self.host = site, host
        self._session: Session | None = None
        self._instance: Instance | None = None
        self._opened_at = 0.0
        self.drained = False  # the session did STOP_RECEIVING
        self.seen_at: float | None = None

    @property
    def session(self) -> Session:
        """The session. Raises DatabaseError when there is none."""
        if self._session is None:
            raise DatabaseError(f"{self.host.name}: no session")
        return self._session

    @property
    def connected(self) -> bool:
        """Whether there is a session, as far as is known."""
        return self._session is not None

    def connect(self) -> None:
        """Open the session, if it is not there. Raises DatabaseError."""
        if self._session is None:
            self._session = self.host.direct.connect()
            self._opened_at = self._site.clock.now()

    def confirm(self) -> Instance:
        """Return the instance that the session is on. Raises ToolError when that is not certain in time."""
        if self._instance is None:
            deadline = self._site.clock.now() + CONFIRM_TICKS * max(1.0, self._site.times.tick_seconds)
            first = self._younger_than(self._opened_at, deadline)
            second = self._younger_than(self._site.clock.now(), deadline)
            if first != second:
                self.leave()
                raise ToolError(f"{self.host.name}: its mysqld restarted while it was looked at")
            self.session.look()
            self._instance = second
        return self._instance

    def look(self) -> Server | None:
        """Return the server as the session sees it, else as its guard reports it, else None."""
        if self._session is not None:
            try:
                seen = self._session.look(self._instance)
            except DatabaseError as error:
                self._site.say(f"candidate {self.host.name}: the session is gone: {error.what}")
                self.leave()
            else:
                if self._instance is not None:
                    return self._seen(seen)
        report = self._report()
        return self._seen(report.server if report else None)

    def _seen(self, server: Server | None) -> Server | None:
        if server is not None:
            self.seen_at = self._site.clock.now()
        return server

    def leave(self) -> None:
        """End the session; what it did counts no more."""
        if self._session is not None:
            self._session.close()
        self._session, self._instance, self.drained = None, None, False

    def _younger_than(self, moment: float, deadline: float) -> Instance:
        clock = self._site.clock
        while True:
            asked = clock.now()
            report = self._report()
            if report and report.server and asked - report.seconds_since_sql > moment:
                return report.server.instance
            if clock.now() >= deadline:
                raise ToolError(
                    f"{self.host.name}: its guard does not tell in time which mysqld runs",
                    meaning="Nobody can be promoted whose guard is silent: it is the guard that opens the server.",
                    remedy=f"systemctl status mysql-guard on {self.host.name}",
                )
            clock.sleep(POLL_SECONDS)

    def _report(self) -> GuardReport | None:
        try:
            return self.host.direct.report()
        except ToolError:
            return None
