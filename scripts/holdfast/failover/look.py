"""What a manager sees: the record, both servers, and how long the primary has been silent."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from holdfast.errors import ToolError
from holdfast.failover.parties import Hearing, Host, Site
from holdfast.failover.probe import hearing_of, report_of, sql_answers
from holdfast.failover.protocol import Fence, ManagerView, Server
from holdfast.failover.record import Instance, Record
from holdfast.failover.wire import GuardReport

# a primary of which is known only that it answers, which is all that a decision asks of it
SOMEBODY = Server(Instance("", "", 0), False, False, True, 0, "", False, False, True)


@dataclass(frozen=True, slots=True)
class Roles:
    """Who is who by the record: the server that is or would be promoted, and the other one."""

    candidate: Host
    old: Host
    candidate_uuid: str
    old_uuid: str


@dataclass(frozen=True, slots=True)
class Seen:
    """One look. `keeper_error` says why there is no record, empty when the keeper answered."""

    record: Record | None
    keeper_error: str
    reports: dict[str, GuardReport | None]
    roles: Roles | None
    old_answers: bool
    hearing: Hearing

    @property
    def candidate(self) -> Server | None:
        """The candidate's server, by its guard, without which nobody is promoted."""
        report = self.reports.get(self.roles.candidate.name) if self.roles else None
        return report.server if report else None


class Watch:
    """The manager's own timer: since when the primary has been silent, by the monotonic clock, in seconds."""

    def __init__(self, silence_seconds: float, window_seconds: float) -> None:
        self._silence_seconds, self._window_seconds = silence_seconds, window_seconds
        self._who = ""
        self._last_answer = 0.0

    def heard(self, who: str, answers: bool, now: float) -> None:
        """Take note of a look at the primary; another primary starts the time again."""
        if answers or who != self._who:
            self._who, self._last_answer = who, now

    def silent_for(self, now: float) -> float:
        """Seconds since its last answer, or since it was first asked."""
        return now - self._last_answer

    def due_in(self, now: float) -> float:
        """Seconds until it counts as silent; 0 or less: it does."""
        return self._silence_seconds + self._window_seconds - self.silent_for(now)


def look(site: Site, uuids: dict[str, str]) -> Seen:
    """Ask everybody at once. `uuids` is what is known of host names and is added to."""
    with ThreadPoolExecutor(2 * len(site.hosts) + 1) as pool:
        asked = {name: pool.submit(report_of, host.direct) for name, host in site.hosts.items()}
        logins = {name: pool.submit(sql_answers, host.direct) for name, host in site.hosts.items()}
        keeper = pool.submit(_record, site)
        reports = {name: report.result() for name, report in asked.items()}
        alive = {name: login.result() for name, login in logins.items()}
        record, error = keeper.result()
    uuids |= {name: report.server_uuid for name, report in reports.items() if report and report.server_uuid}
    roles = None if record is None else roles_of(site, record, uuids)
    if roles is None:
        return Seen(record, error, reports, None, False, Hearing(False, None))
    return Seen(record, error, reports, roles, alive[roles.old.name], hearing_of(roles.candidate))


def roles_of(site: Site, record: Record, uuids: dict[str, str]) -> Roles | None:
    """Return who is who, None while that cannot be told (pure).

    Of more than two servers the candidate is the one in sync; the others are plain replicas and never promoted.
    """
    names = {uuid: name for name, uuid in uuids.items()}
    unknown = [name for name in site.hosts if name not in uuids]
    if record.primary not in names and len(unknown) == 1:
        names[record.primary] = unknown[0]
    primary = names.get(record.primary)
    if primary is None or primary not in site.hosts:
        return None
    others = [host.name for host in site.others(primary)]
    if record.in_sync is not None and record.opened:
        others = [name for name in others if uuids.get(name) == record.in_sync.server_uuid] or others
    if not others:
        return None
    other = others[0]
    there = {name: uuid for uuid, name in names.items()}
    if record.opened:
        return Roles(site.hosts[other], site.hosts[primary], there.get(other, ""), record.primary)
    return Roles(site.hosts[primary], site.hosts[other], record.primary, there.get(other, ""))


def view_of(
    seen: Seen,
    window_seconds: float,
    *,
    ordered: bool = False,
    loss_allowed: bool = False,
    silent: bool = False,
    candidate: Server | None = None,
) -> ManagerView:
    """Return what `decide_manager` takes (pure). `candidate` is a better look at it than its guard's report."""
    return ManagerView(
        record=seen.record,
        candidate=candidate or seen.candidate,
        old=SOMEBODY if seen.old_answers else None,
        candidate_hears_old=seen.hearing.within(window_seconds),
        fence=Fence.UNTRIED,
        drain_session_holds=False,
        hold_if_unproven=False,
        ordered=ordered,
        loss_allowed=loss_allowed,
        silent=silent,
    )


def _record(site: Site) -> tuple[Record | None, str]:
    try:
        record = site.keeper.record()
    except ToolError as error:
        return None, error.what
    return record, "" if record else "the keeper has no record"
