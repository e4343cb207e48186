from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from holdfast import clock
from holdfast.errors import UsageError

MOMENT = datetime(2026, 11, 23, 18, 0, 0, 999, tzinfo=UTC)


def test_moments_are_written_in_utc() -> None:
    assert clock.format_utc(MOMENT) == "2026-11-23T18:00:00Z"
    assert clock.compact_utc(MOMENT.astimezone(timezone(timedelta(hours=5)))) == "20261123T180000Z"
    assert clock.utc_now().tzinfo is UTC


def test_a_moment_without_zone_is_a_bug() -> None:
    with pytest.raises(ValueError, match="no zone"):
        clock.format_utc(datetime(2026, 1, 1))


def test_what_was_written_is_read() -> None:
    assert clock.parse_utc("2026-11-23T18:00:00Z") == clock.parse_utc("20261123T180000Z")
    with pytest.raises(ValueError, match="not a UTC time"):
        clock.parse_utc("2026-11-23 18:00:00")


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-11-23T18:00:00Z", "2026-11-23T18:00:00Z"),
        ("2026-11-23 19:00:00+01:00", "2026-11-23T18:00:00Z"),
        ("2026-11-23 19:00:00 Europe/Berlin", "2026-11-23T18:00:00Z"),
        ("2026-07-01 20:00 Europe/Berlin", "2026-07-01T18:00:00Z"),
        (" 2026-11-23 18:00:00 UTC ", "2026-11-23T18:00:00Z"),
        ("2026-10-25 01:59:59 Europe/Berlin", "2026-10-24T23:59:59Z"),
        ("2026-10-25 03:00:00 Europe/Berlin", "2026-10-25T02:00:00Z"),
    ],
)
def test_a_target_with_a_zone_is_one_moment(text: str, utc: str) -> None:
    assert clock.format_utc(clock.parse_target_time(text)) == utc


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("2026-10-25 02:30:00 Europe/Berlin", ["occurs twice", "2026-10-25T00:30:00Z or 2026-10-25T01:30:00Z"]),
        ("2027-03-28 02:30:00 Europe/Berlin", ["does not exist", "2027-03-28T00:30:00Z or 2027-03-28T01:30:00Z"]),
        ("2026-11-23 18:00:00", ["does not say its zone", "2026-11-23 18:00:00 Europe/Paris"]),
        ("2026-11-23T18:00:00Z Europe/Berlin", ["both"]),
        ("2026-11-23 18:00 Mars/Phobos", ["not a known time zone"]),
        ("yesterday", ["is not a time"]),
        ("yesterday noon", ["is not a time"]),
    ],
)
def test_a_target_that_could_mean_two_moments_is_refused(text: str, parts: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        clock.parse_target_time(text, "Europe/Paris")
    for part in parts:
        assert part in str(caught.value)
