"""What a guard raises the alarm for. Each cause is a row: when it stands, after how long, and what people are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from holdfast.failover.guard_look import LEAVING
from holdfast.failover.guard_view import Situation
from holdfast.failover.heartbeat import Beat
from holdfast.failover.protocol import GuardStep
from holdfast.failover.surroundings import Seen

RUNBOOK = "guard.md"
OWN_WRITE_SECONDS = 2.0  # of milliseconds


class Tells(Protocol):
    """Where alarms go; see alarms.py."""

    def begin(self, key: str, what: str, meaning: str, remedy: str, runbook: str) -> None:
        """Something is wrong, or still is."""

    def end(self, key: str) -> None:
        """It is no longer wrong."""


@dataclass(frozen=True)
class Cause:
    """`what` may say more than is known beforehand: {detail}. It must have stood for `after_seconds`."""

    key: str
    after_seconds: float
    what: str
    meaning: str
    remedy: str


@dataclass(frozen=True)
class Facts:
    """What the causes are judged by."""

    situation: Situation
    step: GuardStep
    around: Seen
    beat: Beat
    sql_error: str
    keeper_error: str


def _writes_alone(facts: Facts) -> str:
    record = facts.situation.record
    return "acknowledges alone" if facts.situation.writes and record and record.in_sync is None else ""


def _commits_wait(facts: Facts) -> str:
    seen = facts.situation.seen
    if not (facts.situation.writes and seen and seen.server.waiting and facts.keeper_error):
        return ""
    return f"{seen.server.waiting} commits wait, and the keeper cannot be asked"


def _replication(facts: Facts) -> str:
    seen, record = facts.situation.seen, facts.situation.record
    if seen is None or record is None or record.primary == facts.situation.me or not record.opened:
        return ""
    if seen.channel_error:
        return seen.channel_error[:300]
    if not seen.server.source_of_channel:
        return "it has no source"
    return "" if seen.server.receiving and seen.server.applying else "its threads do not run"


def _errant(facts: Facts) -> str:
    found = facts.situation.errant if facts.step is GuardStep.STAY_OUT else None
    return f"{found.count()} transactions, {found.one_line()[:300]}" if found else ""


def _channel_on_primary(facts: Facts) -> str:
    seen = facts.situation.seen
    return seen.source_host if facts.step is GuardStep.ALARM and seen else ""


def _own_write(facts: Facts) -> str:
    """A full disk shows either way: as an error, or as a commit that MySQL lets wait for room."""
    seen, waiting_since = facts.situation.seen, facts.beat.waiting_since
    if not facts.situation.writes or seen is None:
        return ""
    hangs = waiting_since is not None and facts.situation.now - waiting_since >= OWN_WRITE_SECONDS
    return facts.beat.error or ("it does not come back" if hangs and not seen.server.waiting else "")


CAUSES: tuple[tuple[Cause, Callable[[Facts], str]], ...] = (
    (
        Cause(
            "keeper",
            10.0,
            "the keeper gives no record: {detail}",
            "Writes go on while the replica answers. If it does not, commits wait, and nobody can be promoted.",
            "See `systemctl status mysql-keeper` on the failover manager's host, and the network to it.",
        ),
        lambda facts: facts.keeper_error,
    ),
    (
        Cause(
            "commits-wait",
            5.0,
            "{detail}",
            "The replica does not acknowledge, and without the keeper this server may not go on alone: writes stand.",
            "Bring the keeper or the replica back; either is enough.",
        ),
        _commits_wait,
    ),
    (
        Cause(
            "alone",
            5.0,
            "the primary acknowledges without a replica",
            "Writes go on, on one server only. If it is lost they are lost, so nobody is promoted without a person.",
            "Bring the replica back; it is taken in again by itself once it has caught up.",
        ),
        _writes_alone,
    ),
    (
        Cause(
            "sql",
            20.0,
            "MySQL on this host does not answer: {detail}",
            "The guard cannot see or serve it.",
            "See `systemctl status mysql` and /var/log/mysql/error.log.",
        ),
        lambda facts: facts.sql_error if facts.situation.seen is None else "",
    ),
    (
        Cause(
            "replication",
            60.0,
            "this replica does not replicate: {detail}",
            "The primary is or will be alone; this server cannot be promoted.",
            "See SHOW REPLICA STATUS; if its data is damaged, playbooks/rebuild_replica.yml.",
        ),
        _replication,
    ),
    (
        Cause(
            "errant",
            15.0,
            "this server has transactions that the primary does not have: {detail}",
            "It stays out: as a replica it would differ from its source for ever.",
            "They are being saved offsite (a message says where). Look at them, then playbooks/rebuild_replica.yml.",
        ),
        _errant,
    ),
    (
        Cause(
            "channel",
            5.0,
            "the record's primary is configured to replicate from {detail}",
            "It is not opened: nobody but a promotion may remove a channel.",
            "If it has applied all, on this host: STOP REPLICA; RESET REPLICA ALL.",
        ),
        _channel_on_primary,
    ),
    (
        Cause(
            "peer",
            10.0,
            "the peer's guard does not answer: {detail}",
            "Its server is not watched, and cannot be taken in sync again.",
            "See `systemctl status mysql-guard` on the peer, and the network to it.",
        ),
        lambda facts: facts.around.error,
    ),
    (
        Cause(
            "writes",
            10.0,
            "a write of the guard's own fails on the primary: {detail}",
            "The application's writes fail or hang too.",
            "See the disk (df) and /var/log/mysql/error.log.",
        ),
        _own_write,
    ),
    (
        Cause(
            "kill",
            0.0,
            "the guard ends mysqld by SIGKILL",
            "It answered before and no longer does, or a statement of the guard did not come back. It boots read-only.",
            "Look at what it did before, in /var/log/mysql/error.log and in the guard's log.",
        ),
        lambda facts: "yes" if facts.step is GuardStep.KILL_SERVER and facts.situation.observed_runs else "",
    ),
)


class GuardAlarms:
    """Holds the causes' times, and begins and ends alarms."""

    def __init__(self, alarms: Tells) -> None:
        self._alarms = alarms
        self._since: dict[str, float] = {}
        self._standing: dict[str, str] = {}

    def look(self, situation: Situation, step: GuardStep, around: Seen, beat: Beat, errors: tuple[str, str]) -> None:
        """Judge every cause. `errors`: SQL's and the keeper's last complaint."""
        facts = Facts(situation, step, around, beat, *errors)
        for cause, judge in CAUSES:
            detail = judge(facts)
            if not detail:
                self._since.pop(cause.key, None)
                if self._standing.pop(cause.key, None) is not None:
                    self._alarms.end(cause.key)
                continue
            since = self._since.setdefault(cause.key, situation.now)
            if situation.now - since >= cause.after_seconds:
                what = cause.what.format(detail=detail)
                self._standing.setdefault(cause.key, what)
                self._alarms.begin(cause.key, what, cause.meaning, cause.remedy, RUNBOOK)

    def notices(self, *, leaving: bool) -> tuple[str, ...]:
        """What stands, for the report."""
        return (*([LEAVING] if leaving else []), *self._standing.values())
