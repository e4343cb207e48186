"""When which backup is due: the ordinary week, and the two nights on which clocks change."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from holdfast.backup.manifest import Manifest
from holdfast.backup.schedule import due_backup, due_instant
from support.backups import full, incremental

BERLIN = ZoneInfo("Europe/Berlin")
TWO = time(2, 0)
SUNDAY = datetime(2026, 11, 22, 1, 0, tzinfo=UTC)
FULL = full("full", hours=0.0)
LATE_FULL = full("late", hours=5.0)
MONDAY = incremental("monday", FULL, hours=24.01)


@pytest.mark.parametrize(
    ("hours", "manifests", "kind", "due_hours", "answered_by"),
    [
        (0.0, [], "full", 0, None),
        (0.5, [FULL], "full", 0, "full"),
        (0.5, [full("early", hours=-1)], "full", 0, None),
        (0.5, [incremental("i", FULL, hours=0.1)], "full", 0, None),
        (6.0, [LATE_FULL], "full", 0, "late"),
        (23.99, [], "full", 0, None),
        (24.0, [FULL], "incremental", 24, None),
        (25.0, [FULL, MONDAY], "incremental", 24, "monday"),
        (25.0, [full("promoted", hours=24.2)], "incremental", 24, "promoted"),
        (-0.01, [], "incremental", -24, None),
    ],
)
def test_what_is_due(
    hours: float, manifests: list[Manifest], kind: str, due_hours: int, answered_by: str | None
) -> None:
    due = due_backup(SUNDAY + timedelta(hours=hours), BERLIN, "sunday", TWO, manifests)
    assert (due.type, due.at, due.answered_by) == (kind, SUNDAY + timedelta(hours=due_hours), answered_by)


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (date(2026, 10, 24), datetime(2026, 10, 24, 0, 0, tzinfo=UTC)),
        (date(2026, 10, 25), datetime(2026, 10, 25, 0, 0, tzinfo=UTC)),  # 02:00 happens twice: the first
        (date(2026, 10, 26), datetime(2026, 10, 26, 1, 0, tzinfo=UTC)),
        (date(2027, 3, 27), datetime(2027, 3, 27, 1, 0, tzinfo=UTC)),
        (date(2027, 3, 28), datetime(2027, 3, 28, 1, 0, tzinfo=UTC)),  # 02:00 does not happen: 03:00 by the new clock
        (date(2027, 3, 29), datetime(2027, 3, 29, 0, 0, tzinfo=UTC)),
    ],
)
def test_the_instant_of_a_day(day: date, expected: datetime) -> None:
    assert due_instant(day, BERLIN, TWO) == expected


@pytest.mark.parametrize("night", [date(2026, 10, 25), date(2027, 3, 28), date(2026, 11, 22)])
def test_each_night_gives_exactly_one_backup(night: date) -> None:
    """A run every quarter of an hour that takes what is due: one full for that Sunday, whatever the clocks do."""
    midnight = datetime.combine(night, time(0), tzinfo=UTC) - timedelta(hours=4)
    taken: list[Manifest] = [incremental("saturday", FULL, hours=0, started_at=midnight - timedelta(hours=18))]
    for quarter in range(4 * 20):
        now = midnight + timedelta(minutes=15 * quarter)
        due = due_backup(now, BERLIN, "sunday", TWO, taken)
        if due.answered_by is None:
            taken.append(full(f"{due.type}-{now}", started_at=now, type=due.type))
    assert [manifest.type for manifest in taken[1:]] == ["full"]
    assert taken[1].started_at == due_instant(night, BERLIN, TWO)


@pytest.mark.parametrize("weekday", ["monday", "saturday"])
def test_the_full_falls_on_the_configured_day(weekday: str) -> None:
    week = [due_backup(SUNDAY + timedelta(days=day), BERLIN, weekday, TWO, []).type for day in range(7)]
    assert week.count("full") == 1
    assert week[1 if weekday == "monday" else 6] == "full"


def test_a_backup_from_the_future_answers_nothing() -> None:
    """A host whose clock was a month ahead must not end all backups for a month."""
    ahead = full("ahead", hours=24 * 30)
    assert due_backup(SUNDAY + timedelta(hours=1), BERLIN, "sunday", TWO, [ahead]).answered_by is None
    barely = full("barely", hours=1.1)  # the hosts' clocks are never quite the same
    assert due_backup(SUNDAY + timedelta(hours=1), BERLIN, "sunday", TWO, [barely]).answered_by == "barely"
