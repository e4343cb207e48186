"""What is wrong in the store: jobs that left nothing, holes, odd sizes, drills, cleanup, silent hosts. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from holdfast.backup.alarm_engine import Finding
from holdfast.backup.coverage import Coverage
from holdfast.backup.manifest import Manifest
from holdfast.backup.schedule import CLOCKS_DIFFER
from holdfast.backup.watch_heartbeat import Heartbeat, is_silent
from holdfast.clock import compact_utc, format_utc
from holdfast.config_watch import LimitsConfig
from holdfast.notify import bytes_text, duration_text

DAYS_TO_MEND_A_HOLE = 30  # for so long every second is promised; an older hole is no news


@dataclass(frozen=True)
class Drill:
    """What a restore drill left; `problem` is empty when it passed."""

    at: datetime
    problem: str


@dataclass(frozen=True)
class Cleanup:
    """When this host's cleanup ran last, whatever came of it: of its refusals and failures it tells itself."""

    at: datetime


@dataclass(frozen=True)
class StoreView:
    """The store as it shows itself at `now`. By host: `archived` is its last binlog, `streamed` its stream's last sign.

    `streamed` is None where nothing should be streamed.
    `born`: since when this host watches. `cleanup_seen`: whether this host is the one that cleans up, and so knows.
    """

    now: datetime
    born: datetime
    zone: ZoneInfo
    speaker: str
    database_hosts: Sequence[str]
    manifests: Sequence[Manifest]
    archived: Mapping[str, datetime]
    streamed: Mapping[str, datetime] | None
    covered: Coverage
    damaged: Sequence[str]
    drills: Sequence[Drill]
    heartbeats: Mapping[str, Heartbeat]
    cleanup: Cleanup | None
    cleanup_seen: bool


def store_findings(view: StoreView, limits: LimitsConfig) -> list[Finding]:
    """Everything that is wrong, in the order of the rules."""
    return [finding for rule in RULES for finding in rule(view, limits)]


def overdue(view: StoreView, limits: LimitsConfig) -> Iterator[Finding]:
    """No success for too long, by job and for binlogs by host."""
    nightly = max((item.finished_at for item in view.manifests), default=None)
    full = max((item.finished_at for item in view.manifests if item.type == "full"), default=None)
    jobs = [
        ("backup", "backup of either kind", nightly, limits.success_maximum_age_hours, "mysql-backup-incremental"),
        ("full", "full backup", full, limits.full_maximum_age_hours, "mysql-backup-full"),
        *[
            (
                f"binlogs-{host}",
                f"binlog of {host}",
                view.archived.get(host),
                limits.success_maximum_age_hours,
                f"mysql-backup-binlogs on {host}",
            )
            for host in view.database_hosts
        ],
    ]
    for subject, noun, last, hours, program in jobs:
        # Wall clocks: in the night that has 25 hours the next backup is due 25 hours after the last.
        # A site that was set up today is not late; one whose watcher lost its memory is.
        if _wall(view.now, view.zone) - _wall(last or view.born, view.zone) <= timedelta(hours=hours):
            continue
        what = f"no {noun} has ever reached the store"
        if last is not None:
            what = f"no {noun} has reached the store since {format_utc(last)}, {_age(view.now, last)} ago"
        yield Finding(
            "backup_overdue",
            what,
            f"{hours} h are allowed. What was written since is on the servers alone.",
            f"Run {program} by hand and read what it says.",
            subject=subject,
        )


def stream(view: StoreView, limits: LimitsConfig) -> Iterator[Finding]:
    """The stream of binlogs, of whichever host is the replica. One that lies in the future says nothing."""
    if view.streamed is None:
        return
    signs = [at for at in view.streamed.values() if at - view.now <= CLOCKS_DIFFER]
    last = max(signs, default=None)
    if view.now - (last or view.born) <= timedelta(minutes=limits.stream_maximum_age_minutes):
        return
    what = "no binlog has ever been streamed to the store"
    if last is not None:
        what = f"no binlog was streamed to the store since {format_utc(last)}, {_age(view.now, last)} ago"
    yield Finding(
        "stream_stale",
        what,
        "If both servers were lost now, all since the last hourly archive would be lost, not a minute.",
        "See `systemctl status holdfast-binlog-stream` on the replica; nobody streams without a healthy replica.",
    )


def holes(view: StoreView, limits: LimitsConfig) -> Iterator[Finding]:
    """Moments of the promised days that cannot be restored."""
    del limits
    for hole in view.covered.holes:
        if view.now - hole.end > timedelta(days=DAYS_TO_MEND_A_HOLE):
            continue
        missing = f" Missing: {hole.missing.one_line()[:200]}." if hole.missing else ""
        yield Finding(
            "binlog_hole",
            f"no moment from {format_utc(hole.start)} to {format_utc(hole.end)} can be restored",
            f"A binlog between them is not archived.{missing}",
            "If a server still has it, mysql-backup-binlogs there archives it. If none has, take a full backup now.",
            subject=compact_utc(hole.start),
        )


def damage(view: StoreView, limits: LimitsConfig) -> Iterator[Finding]:
    """Objects that do not count, and chains that are broken."""
    del limits
    found = [*view.damaged, *view.covered.broken]
    if found:
        yield Finding(
            "backup_damaged",
            f"{len(found)} of the store's objects do not count: {'; '.join(found[:3])[:600]}",
            "What stands upon them cannot be restored.",
            "Look at the objects' older versions in the store; take a full backup now.",
        )
    future = [item for item in view.manifests if item.started_at - view.now > CLOCKS_DIFFER]
    if future:
        yield Finding(
            "backup_damaged",
            f"{future[-1].id} lies in the future: the clock here shows {format_utc(view.now)}",
            "Either that host's clock was wrong or this one's is. Nothing is cleaned up meanwhile.",
            f"See `timedatectl` on {future[-1].host} and on this host.",
            subject="future",
        )


def sizes(view: StoreView, limits: LimitsConfig) -> Iterator[Finding]:
    """The newest full against the server's data and the full before it; the newest incremental against its full."""
    fulls = [item for item in view.manifests if item.type == "full"]
    if fulls:
        newest = fulls[-1]
        complaints = []
        if (share := _percent(newest.stored_bytes, newest.data_bytes)) < limits.full_minimum_percent_of_data:
            complaints.append(
                f"{share:.0f}% of the server's {bytes_text(newest.data_bytes)} "
                f"({limits.full_minimum_percent_of_data}% is expected)"
            )
        before = [item for item in fulls[:-1] if item.engine == newest.engine]
        if before and _percent(newest.stored_bytes, before[-1].stored_bytes) < limits.full_minimum_percent_of_last:
            complaints.append(
                f"{_percent(newest.stored_bytes, before[-1].stored_bytes):.0f}% of the full before it, "
                f"{bytes_text(before[-1].stored_bytes)} ({limits.full_minimum_percent_of_last}% is expected)"
            )
        if complaints:
            yield Finding(
                "full_too_small",
                f"{newest.id} has {bytes_text(newest.stored_bytes)}: {' and '.join(complaints)}",
                "It may lack data: a full shrinks that much only when data was deleted.",
                "Compare the server's databases with what you expect, then restore it beside the server and look.",
            )
    last = view.manifests[-1] if view.manifests else None
    parent = next((item for item in fulls if last is not None and item.id == last.chain_id), None)
    if last is None or last.type == "full" or parent is None:
        return
    if _percent(last.stored_bytes, parent.stored_bytes) > limits.incremental_maximum_percent:
        yield Finding(
            "incremental_too_large",
            f"{last.id} has {bytes_text(last.stored_bytes)}, "
            f"{_percent(last.stored_bytes, parent.stored_bytes):.0f}% of its full ({parent.id})",
            "Nearly every page changed since, so the chain saves nothing and a restore takes twice as long.",
            "If it was one large change nothing is to be done; if it repeats, take fulls more often.",
        )


def drills(view: StoreView, limits: LimitsConfig) -> Iterator[Finding]:
    """The last drill, and whether one passed lately. A site younger than the limit is not late yet."""
    ordered = sorted(view.drills, key=lambda drill: drill.at)
    if ordered and ordered[-1].problem:
        yield Finding(
            "drill_failed",
            f"the restore drill of {format_utc(ordered[-1].at)} failed: {ordered[-1].problem[:400]}",
            "Until one passes nobody knows whether the backups can be restored.",
            "Restore the newest backup by hand, as the runbook says.",
        )
    passed = max((drill.at for drill in ordered if not drill.problem), default=None)
    since = passed or min((item.started_at for item in view.manifests), default=view.now)
    if view.now - since > timedelta(days=limits.drill_maximum_age_days):
        ever = "has ever passed" if passed is None else f"has passed since {format_utc(passed)}"
        yield Finding(
            "drill_overdue",
            f"no restore drill {ever}",
            f"{limits.drill_maximum_age_days} days are allowed. The cleanup deletes nothing meanwhile.",
            "Run a drill now, as the runbook says.",
        )


def cleanup(view: StoreView, limits: LimitsConfig) -> Iterator[Finding]:
    """The cleanup of this host, if it is the one that cleans up."""
    if not view.cleanup_seen or not view.manifests:
        return
    last = view.cleanup
    since = min(item.started_at for item in view.manifests) if last is None else last.at
    if view.now - since > timedelta(hours=limits.cleanup_maximum_age_hours):
        ever = "never run" if last is None else f"not run since {format_utc(last.at)}"
        yield Finding(
            "cleanup_overdue",
            f"the cleanup has {ever}",
            "Nothing is lost. The store grows, and costs more each day.",
            "Run `mysql-backup-cleanup --dry-run` on this host and read what it says.",
        )


def silent_hosts(view: StoreView, limits: LimitsConfig) -> Iterator[Finding]:
    """Hosts whose watcher has left no sign. Nobody speaks for a dead host but the others."""
    for host in (view.speaker, *view.database_hosts):
        heartbeat = view.heartbeats.get(host)
        if not is_silent(heartbeat, view.born, view.now, limits):
            continue
        what = f"the watcher of {host} has never left a sign"
        if heartbeat is not None:
            what = f"the watcher of {host} has left no sign since {format_utc(heartbeat.at)}"
        if heartbeat is not None and heartbeat.unsent:
            what = f"the watcher of {host} cannot send its messages; not told: {', '.join(heartbeat.unsent)[:300]}"
        yield Finding(
            "host_silent",
            what,
            "The host is down, or its cron, or its way to the store: none of its other alarms would come.",
            f"Log in to {host} and run mysql-backup-watch there.",
            subject=host,
        )


def _percent(part: int, whole: int) -> float:
    return 100.0 if whole == 0 else 100.0 * part / whole


def _wall(moment: datetime, zone: ZoneInfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None)


def _age(now: datetime, then: datetime) -> str:
    return duration_text((now - then).total_seconds())


RULES = (overdue, stream, holes, damage, sizes, drills, cleanup, silent_hosts)
