"""When nothing may be deleted at all, and why. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from holdfast.backup.bulk import Moment
from holdfast.backup.drills import newest_passed
from holdfast.backup.manifest import newest
from holdfast.backup.retention import BACKUP, BINLOG, Decision, Held
from holdfast.clock import format_utc
from holdfast.config_retention import RetentionConfig
from holdfast.notify import bytes_text

CLOCK_MAXIMUM = timedelta(hours=1)
# A manifest's host may be some minutes ahead of this one: clocks of servers are off by minutes.
FUTURE_SLACK = timedelta(minutes=10)


@dataclass(frozen=True)
class Refusal:
    """What is not as it must be; `limit` when a person who has looked may go beyond it."""

    what: str
    remedy: str
    limit: bool = False


@dataclass(frozen=True)
class Case:
    """What a refusal is judged by."""

    held: Held
    decisions: Sequence[Decision]
    policy: RetentionConfig
    moment: Moment


def store_clock(case: Case) -> Refusal | None:
    """This host's clock and the store's differ by an hour or more."""
    if case.moment.store is None or abs(case.moment.now - case.moment.store) < CLOCK_MAXIMUM:
        return None
    return Refusal(
        f"this host's clock says {format_utc(case.moment.now)}, the store's {format_utc(case.moment.store)}",
        "Correct this host's clock (timedatectl), then run it again.",
    )


def future(case: Case) -> Refusal | None:
    """A backup or a binlog is of a time that has not come."""
    limit = case.moment.now + FUTURE_SLACK
    last = newest(case.held.manifests)
    late = max(case.held.entries, key=lambda entry: entry.archived_at, default=None)
    if last is not None and max(last.started_at, last.finished_at) > limit:
        name, at, host = last.id, max(last.started_at, last.finished_at), last.host
    elif late is not None and late.archived_at > limit:
        name, at, host = late.entry_name, late.archived_at, late.host
    else:
        return None
    return Refusal(
        f"{name} is of {format_utc(at)}, and it is {format_utc(case.moment.now)} here",
        f"Compare the clocks of this host and of {host}; if that one was wrong, wait until the moment has passed.",
    )


def stale(case: Case) -> Refusal | None:
    """No backup came lately: either they fail, and what is there is all there will be, or this clock runs ahead."""
    last = newest(case.held.manifests)
    days = case.policy.newest_backup_maximum_age_days
    if last is not None and case.moment.now - last.started_at <= timedelta(days=days):
        return None
    have = "there is no backup" if last is None else f"the newest backup, {last.id}, is more than {days} days old"
    return Refusal(
        have, "Find out why no backup comes (mysql-backup-status); compare this host's clock with another's."
    )


def no_drill(case: Case) -> Refusal | None:
    """Drills run here, and none passed lately. Where none ever ran there is nothing to wait for."""
    drills = [drill for drill in case.held.drills if drill.at <= case.moment.now + FUTURE_SLACK]
    days = case.policy.drill_maximum_age_days
    last = newest_passed(drills)
    if not drills or (last is not None and case.moment.now - last.at <= timedelta(days=days)):
        return None
    since = "none ever passed" if last is None else f"the last that passed was on {format_utc(last.at)}"
    return Refusal(
        f"no restore drill passed for {days} days: {since}",
        "Run a drill and see why it fails; until one passes nobody knows whether what is newer can be restored.",
    )


def too_much(case: Case) -> Refusal | None:
    """More would go than one run may delete."""
    gone = [item for item in case.decisions if item.delete]
    backups = [item for item in gone if item.kind == BACKUP]
    binlogs = [item for item in gone if item.kind == BINLOG]
    policy, found = case.policy, []
    if len(backups) > policy.maximum_backups:
        found.append(f"{len(backups)} backups, the limit is {policy.maximum_backups}")
    if len(binlogs) > policy.maximum_binlogs:
        found.append(f"{len(binlogs)} binlogs, the limit is {policy.maximum_binlogs}")
    shares = (
        ("of the backups", len(backups), sum(item.kind == BACKUP for item in case.decisions)),
        ("of all bytes", sum(item.size for item in gone), sum(item.size for item in case.decisions)),
    )
    for name, part, whole in shares:
        if 100 * part > policy.maximum_share_percent * whole:
            found.append(f"{100 * part / whole:.0f}% {name}, the limit is {policy.maximum_share_percent}%")
    if not found:
        return None
    return Refusal(
        f"one run would delete {'; '.join(found)}",
        "Look at mysql-backup-cleanup --dry-run. If all of it is right, run mysql-backup-cleanup --allow-more once.",
        limit=True,
    )


Rule = Callable[[Case], "Refusal | None"]
RULES: tuple[Rule, ...] = (store_clock, future, stale, no_drill, too_much)


def refusals(case: Case) -> list[Refusal]:
    """Every reason not to delete anything; empty when there is none."""
    return [found for rule in RULES if (found := rule(case))]


def summary(decisions: Iterable[Decision]) -> str:
    """What stays and what goes, in one line (pure)."""
    decided = list(decisions)
    gone, kept = ([item for item in decided if item.delete == delete] for delete in (True, False))
    return f"{_count(gone)} go; {_count(kept)} stay"


def _count(decisions: Sequence[Decision]) -> str:
    kinds = [item.kind for item in decisions]
    objects, size = sum(len(item.objects) for item in decisions), sum(item.size for item in decisions)
    return f"{kinds.count(BACKUP)} backups, {kinds.count(BINLOG)} binlogs, {objects} objects, {bytes_text(size)}"
