"""When which backup is due. Pure; the zone's two odd nights a year included."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from holdfast.backup.manifest import BackupType, Manifest

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

CLOCKS_DIFFER = timedelta(hours=1)  # at most, between the hosts


@dataclass(frozen=True)
class Due:
    """The backup that the schedule asked for last, and the backup that answered it, if any."""

    type: BackupType
    at: datetime
    answered_by: str | None


def due_backup(now: datetime, zone: ZoneInfo, weekday: str, time_of_day: time, manifests: Iterable[Manifest]) -> Due:
    """What was due last at `now` (aware), and whether a complete backup of any host has started since.

    An incremental is answered by any backup (a promoted one is better), a full by a full only. One from the future, of
    a host whose clock was wrong, answers nothing, or no backup would be due until then.
    """
    today = now.astimezone(zone).date()
    days = [today - timedelta(days=back) for back in range(3)]
    at, day = max((instant, day) for day in days if (instant := due_instant(day, zone, time_of_day)) <= now)
    kind: BackupType = "full" if WEEKDAYS[day.weekday()] == weekday else "incremental"
    answers = [
        manifest.id
        for manifest in manifests
        if at <= manifest.started_at <= now + CLOCKS_DIFFER and (kind == "incremental" or manifest.type == "full")
    ]
    return Due(kind, at, min(answers, default=None))


def next_backups(now: datetime, zone: ZoneInfo, weekday: str, time_of_day: time) -> dict[BackupType, datetime]:
    """When the next full and the next incremental are due (UTC)."""
    found: dict[BackupType, datetime] = {}
    today = now.astimezone(zone).date()
    for day in (today + timedelta(days=ahead) for ahead in range(9)):
        kind: BackupType = "full" if WEEKDAYS[day.weekday()] == weekday else "incremental"
        if (at := due_instant(day, zone, time_of_day)) > now:
            found.setdefault(kind, at)
    return found


def due_instant(day: date, zone: ZoneInfo, time_of_day: time) -> datetime:
    """The one instant of that day, in UTC.

    The first when the clock shows the time twice; when it skips the time, the one as long after midnight as it says.
    """
    # fold=0 is exactly that: the offset before the change. Through UTC, or Python compares wall clocks.
    return datetime.combine(day, time_of_day, tzinfo=zone).replace(fold=0).astimezone(UTC)
