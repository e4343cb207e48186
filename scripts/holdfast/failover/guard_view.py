"""From what a guard has seen to what it decides from, and what it leaves alone for now (pure; `now` in seconds).

Safety is in `decide_guard` alone. What is here keeps a guard from doing in vain what it may do.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from holdfast.failover.guard_look import LEAVING, Look, extra, gtids, peer_of, progress_of, streams_from
from holdfast.failover.protocol import GuardStep, GuardTimers, GuardView, Peer, Server
from holdfast.failover.record import Record
from holdfast.failover.timers import Backoff, Clocks
from holdfast.failover.wire import GuardReport
from holdfast.gtid import GtidSet

# only on a record that was read just now: an isolated server that opens itself on an old one would close again at once
NEEDS_CONTACT = frozenset(
    {GuardStep.OPEN, GuardStep.LIFT_OFFLINE, GuardStep.ATTACH, GuardStep.START_REPLICA, GuardStep.ARM}
)
# how long a guard that is told of a promotion leaves its server to the fence of that promotion
FENCE_GRACE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Situation:
    """What a guard has at one moment. `fresh`: the record was read in this very tick. `report`: the peer's, if recent.

    `committed_began` was noted before `seen` was asked for: when the last heartbeat that had returned began.
    `observed_runs`: the mysqld that answered last is there and this guard has not killed it; `grey`: see heartbeat.py.
    """

    now: float
    me: str
    record: Record | None
    fresh: bool
    session_holds: bool
    swapped_alone: bool
    seen: Look | None
    report: GuardReport | None
    committed_began: float = 0.0
    observed_runs: bool = False
    grey: bool = False

    @property
    def server(self) -> Server | None:
        """Its server. As a primary it is closed while the application may not write, else only when nobody may."""
        if self.seen is None:
            return None
        if self.record is not None and self.record.primary == self.me:
            return replace(self.seen.server, read_only=self.seen.read_only)
        return self.seen.server

    @property
    def writes(self) -> bool:
        """Whether it is the record's primary, open."""
        record, server = self.record, self.server
        return bool(record and record.opened and record.primary == self.me and server and server.writable)

    @property
    def streams(self) -> bool:
        """Whether the peer replicates from this server."""
        return self.report is not None and streams_from(self.report, self.me)

    @property
    def errant(self) -> GtidSet:
        """What this server has and its peer has not, both as seen last. ValueError."""
        if self.seen is None or self.report is None:
            return GtidSet()
        return extra(self.seen.gtid_executed, self.report.gtid_executed)


class Judge:
    """Makes the view; holds the times that run over several looks."""

    def __init__(self, clocks: Clocks) -> None:
        self.clocks = clocks
        self.backoff = Backoff()
        self._fence_since: float | None = None
        self._executed: deque[tuple[float, str]] = deque(maxlen=64)

    def view(self, situation: Situation) -> GuardView:
        """What is decided from. ValueError for a peer whose GTID set is none."""
        self._mark(situation)
        peer: Peer | None = None
        if situation.report is not None and situation.seen is not None:
            peer = peer_of(situation.report, situation.me, situation.seen, self.clocks.marker)
        return GuardView(
            me=situation.me,
            record=situation.record,
            session_holds=situation.session_holds,
            swapped_alone=situation.swapped_alone,
            server=situation.server,
            peer=peer,
            timers=self._timers(situation),
        )

    def _mark(self, situation: Situation) -> None:
        marker, record, report = self.clocks.marker, situation.record, situation.report
        wanted = (
            situation.writes
            and situation.session_holds
            and situation.streams
            and situation.server is not None
            and situation.server.source_enabled
        )
        if wanted and record and report and report.server and record.in_sync != report.server.instance:
            marker.want(situation.now, report.server.instance)
            if situation.seen is not None:
                marker.look(situation.committed_began, situation.seen.gtid_executed)
        else:
            marker.drop()

    def _timers(self, situation: Situation) -> GuardTimers:
        seen, report, stalled = situation.seen, situation.report, self.clocks.stalled
        no_progress = False
        if situation.writes and seen is not None and seen.server.source_enabled:
            no_progress = stalled.look(
                situation.now, progress_of(seen, report), waiting=seen.server.waiting, replicas=seen.replicas
            )
            # nothing to wait for: its guard has said so, or nobody is in sync and nobody is there
            nobody = situation.record is not None and situation.record.in_sync is None and not seen.replicas
            no_progress = no_progress or nobody or bool(report and LEAVING in report.notices)
        else:
            stalled.reset()
        return self.clocks.timers(
            situation.now, no_progress=no_progress, observed_runs=situation.observed_runs, grey=situation.grey
        )

    def tempered(self, step: GuardStep, situation: Situation) -> GuardStep:
        """The step, or NOTHING while it would be in vain."""
        if situation.seen is not None:
            self._executed.append((situation.now, situation.seen.gtid_executed))
        if step is not GuardStep.FINISH_FENCE:
            self._fence_since = None
        elif self._fence_is_at_work(situation):
            return GuardStep.NOTHING
        if step not in NEEDS_CONTACT:
            return step
        if not situation.fresh or (step is GuardStep.ARM and not self._nearly_caught_up(situation)):
            return GuardStep.NOTHING
        return step if self.backoff.allows(situation.now, step.name) else GuardStep.NOTHING

    def _fence_is_at_work(self, situation: Situation) -> bool:
        """Whether the promotion's own fence gets its time: it lets the replica catch up, so that nothing strays.

        Safe, as whatever is acknowledged until then has the elected replica's ACK. Not where a person allowed a loss.
        """
        record = situation.record
        if record is None or record.opened or record.in_sync is None:
            return False
        if self._fence_since is None:
            self._fence_since = situation.now
        return situation.now - self._fence_since < FENCE_GRACE_SECONDS

    def _nearly_caught_up(self, situation: Situation) -> bool:
        """Whether the peer has executed what this server had a short while ago: the marker can be back in its time."""
        limit = situation.now - self.clocks.marker.limit_seconds
        older = [executed for at, executed in self._executed if at <= limit]
        if not older or situation.report is None:
            return False
        return gtids(older[-1]) <= gtids(situation.report.gtid_executed)
