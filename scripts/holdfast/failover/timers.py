"""A guard's times: on this process's monotonic clock, and said as booleans (pure; `now` is in seconds).

Nothing that is safe depends on them: the simulation lets each be over at any moment.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.config_failover import TimingConfig
from holdfast.failover.protocol import GuardTimers
from holdfast.failover.record import Instance

BACKOFF_LIMIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Progress:
    """What moves while a replica acknowledges: ACKs counted by the source, and how far the replica has received."""

    acknowledged: int
    received_position: str


class Stalled:
    """Whether nothing moved for a time while something should: commits wait, or no replica is connected."""

    def __init__(self, limit_seconds: float) -> None:
        self._limit_seconds = limit_seconds
        self._last: Progress | None = None
        self._since: float | None = None

    def look(self, now: float, progress: Progress, *, waiting: int, replicas: int) -> bool:
        """Take a look; whether the time is over."""
        idle = not waiting and replicas > 0
        if idle or progress != self._last or self._since is None:
            self._last, self._since = progress, now
        return now - self._since >= self._limit_seconds

    def reset(self) -> None:
        """Begin anew: the server is not one that acknowledges."""
        self._last = self._since = None


class Marker:
    """The marker of re-arming: a commit begun after the source's side was on, and what had been executed by then.

    Proof that a replica has everything needs three things in this order: the source's side is on, a commit that began
    after that has returned, `gtid_executed` was read. Whatever was acknowledged before is in that set: a commit returns
    after all that stand before it in the binary log. A marker belongs to one instance of the replica, as that may have
    lost its relay log since.
    """

    def __init__(self, limit_seconds: float) -> None:
        self.limit_seconds = limit_seconds
        self.instance: Instance | None = None
        self.began = 0.0
        self.executed: str | None = None

    def want(self, now: float, instance: Instance) -> bool:
        """A marker for this instance is wanted; whether it is a new one, so that somebody has to commit it."""
        if self.instance == instance:
            return False
        self.instance, self.began, self.executed = instance, now, None
        return True

    def drop(self) -> None:
        """No marker is wanted, or the source's side was switched."""
        self.instance, self.executed = None, None

    def look(self, committed_began: float, executed: str) -> None:
        """`executed` was read after a commit had returned that began at `committed_began`."""
        if self.instance is not None and self.executed is None and committed_began > self.began:
            self.executed = executed

    def overdue(self, now: float) -> bool:
        """Whether it is wanted, and its time is over."""
        return self.instance is not None and now - self.began >= self.limit_seconds


class Backoff:
    """How long to wait before the same step is tried again: 1, 2, 4 ... 60 s while it keeps being chosen."""

    def __init__(self) -> None:
        self._tried: dict[str, tuple[float, float]] = {}

    def allows(self, now: float, step: str) -> bool:
        """Whether a step may be done now; if so it counts as tried."""
        last, pause = self._tried.get(step, (0.0, 0.0))
        if pause and now - last < pause:
            return False
        # quiet for twice as long as it had to wait: what it was tried for is over
        again = bool(pause) and now - last < 2 * pause + 5.0
        self._tried[step] = (now, min(BACKOFF_LIMIT_SECONDS, 2 * pause) if again else 1.0)
        return True


class Clocks:
    """When this guard last heard what; `timers` says which times are over."""

    def __init__(self, timing: TimingConfig, now: float) -> None:
        self._timing = timing
        self.contact = now
        self.answered: float | None = None
        self.statement_overdue = False
        self.stalled = Stalled(timing.no_progress_seconds)
        self.marker = Marker(timing.marker_seconds)

    def heard(self, moment: float) -> None:
        """Keeper, peer or an app host answered at that moment."""
        self.contact = max(self.contact, moment)

    def timers(self, now: float, *, no_progress: bool, observed_runs: bool, grey: bool = False) -> GuardTimers:
        """Which times are over.

        `observed_runs`: the mysqld that answered SQL last is still there, `grey`: it answers and can no longer write.
        """
        silent = self.answered is not None and now - self.answered >= self._timing.sql_silent_seconds
        return GuardTimers(
            no_progress=no_progress,
            marker_overdue=self.marker.overdue(now),
            isolated=now - self.contact >= self._timing.isolation_seconds,
            statement_overdue=self.statement_overdue,
            sql_silent=observed_runs and (silent or grey),
        )
