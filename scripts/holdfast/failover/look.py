"""What a manager sees: the record, both servers, and how long the primary has been silent."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from holdfast.errors import ToolError
from holdfast.failover.parties import Hearing, Host, Site
from holdfast.failover.probe import Found, hearing_of, probe, report_of, sql_answers
from holdfast.failover.protocol import Fence, ManagerView, Server
from holdfast.failover.record import Instance, Record
from holdfast.failover.wire import GuardReport

# a primary that lives answers in milliseconds; whoever needs longer is heard in the next look
PATIENCE_SECONDS = 0.5
# what was found out no longer ago than this is not asked again: a look each 5 s, and a time limit
LATELY_SECONDS = 10.0
# for who looks once: every question has a time limit of its own
WHOLE_SECONDS = 60.0
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
    """One look. `keeper_error` says why there is no record, empty when the keeper answered.

    `old_asked_at`: when the old primary was asked for the answer that it gave, by the site's clock; None without one.
    """

    record: Record | None
    keeper_error: str
    reports: dict[str, GuardReport | None]
    roles: Roles | None
    old_answers: bool
    hearing: Hearing
    old_asked_at: float | None = None

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

    def heard(self, who: str, asked_at: float | None, now: float) -> None:
        """Take note of a look at the primary: when it was asked for what it answered. Another one starts anew."""
        if who != self._who:
            self._who, self._last_answer = who, now
        elif asked_at is not None:
            self._last_answer = max(self._last_answer, asked_at)

    def silent_for(self, now: float) -> float:
        """Seconds since its last answer, or since it was first asked."""
        return now - self._last_answer

    def due_in(self, now: float) -> float:
        """Seconds until it counts as silent; 0 or less: it does."""
        return self._silence_seconds + self._window_seconds - self.silent_for(now)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question that is with a thread, and when it was asked."""

    at: float
    answer: Future[Any]


class Lookout:
    """Looks again and again, and waits long for nobody of whom it knows that nothing depends on an answer now.

    That is the primary: one that is dead or frozen answers after a time limit or never, and must not make the manager
    late. An answer of its that comes later counts in the next look, by the moment at which it was asked for.
    """

    def __init__(self, site: Site, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._site, self._patience_seconds = site, patience_seconds
        self._pool = ThreadPoolExecutor(2 * len(site.hosts) + 2, thread_name_prefix="look")
        self._open: dict[tuple[str, str], _Asked] = {}
        self._ways: _Asked | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.shutdown()

    def look(self, uuids: dict[str, str]) -> Seen:
        """Ask everybody. `uuids` is what is known of host names and is added to."""
        record, error = _record(self._site)
        roles = None if record is None else roles_of(self._site, record, uuids)
        late = {
            (name, what): self._ask((name, what), ask, host)
            for name, host in self._site.hosts.items()
            for what, ask in (("report", _report), ("login", _login))
        }
        hearing = None if roles is None else self._pool.submit(hearing_of, roles.candidate)
        self._wait(late, spared="" if roles is None else roles.old.name)
        found = {key: self._take(key, before) for key, before in late.items()}
        reports: dict[str, GuardReport | None] = {}
        for name in self._site.hosts:
            answer = found[name, "report"]
            reports[name] = None if answer is None else answer.answer.result()
        uuids |= {name: report.server_uuid for name, report in reports.items() if report and report.server_uuid}
        candidate = roles.candidate if roles else None
        roles = None if record is None else roles_of(self._site, record, uuids)
        if roles is None:
            return Seen(record, error, reports, None, False, Hearing(False, None))
        key = (roles.old.name, "login")
        logins = [asked for asked in (found[key], late[key]) if asked is not None]
        answered = [asked.at for asked in logins if asked.answer.result()]
        heard = hearing.result() if hearing and roles.candidate is candidate else hearing_of(roles.candidate)
        answers = bool(logins) and logins[0].answer.result()
        return Seen(record, error, reports, roles, answers, heard, max(answered, default=None))

    def _ask(self, key: tuple[str, str], ask: Callable[[Host], object], host: Host) -> _Asked | None:
        """Ask, unless an earlier question is still with its thread; an answer that came since the last look."""
        late = None
        if key in self._open and self._open[key].answer.done():
            late = self._open.pop(key)
        if key not in self._open:
            self._open[key] = _Asked(self._site.clock.now(), self._pool.submit(ask, host))
        return late

    def no_way_answers(self, roles: Roles, window_seconds: float) -> bool:
        """Whether lately nobody answered on any way to the old primary, so that a fence would ask in vain.

        To learn that takes a time limit, so it is asked in the background while the primary is silent.
        """
        question = (roles.old.name, "ways")
        self._ways = (
            self._ask(question, lambda host: probe(host, roles.candidate, window_seconds), roles.old) or self._ways
        )
        if self._ways is None or self._site.clock.now() - self._ways.at > LATELY_SECONDS:
            return False
        found: Found = self._ways.answer.result()
        return not (found.sql or found.guards)

    def _wait(self, keys: Collection[tuple[str, str]], spared: str) -> None:
        """Wait for everybody, and for the spared one a short time only."""
        began = time.monotonic()
        wait([self._open[name, what].answer for name, what in keys if name != spared])
        mine = [self._open[name, what].answer for name, what in keys if name == spared]
        wait(mine, timeout=max(0.0, self._patience_seconds - (time.monotonic() - began)))

    def _take(self, key: tuple[str, str], late: _Asked | None) -> _Asked | None:
        return self._open.pop(key) if self._open[key].answer.done() else late


def look(site: Site, uuids: dict[str, str]) -> Seen:
    """Ask everybody once, and wait for all of them. `uuids` is what is known of host names and is added to."""
    with Lookout(site, patience_seconds=WHOLE_SECONDS) as lookout:
        return lookout.look(uuids)


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


def _report(host: Host) -> GuardReport | None:
    return report_of(host.direct)


def _login(host: Host) -> bool:
    return sql_answers(host.direct)
