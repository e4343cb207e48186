"""Moments: UTC inside, zones only where a person writes or reads one."""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from holdfast.errors import UsageError

_NAMED_ZONE = re.compile(r"(?P<local>.+?)\s+(?P<zone>[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*)")


def utc_now() -> datetime:
    """This moment, aware, in UTC."""
    return datetime.now(UTC)


def format_utc(moment: datetime) -> str:
    """The moment as 2026-11-23T18:00:00Z; fractions of a second are dropped."""
    return _in_utc(moment).strftime("%Y-%m-%dT%H:%M:%SZ")


def compact_utc(moment: datetime) -> str:
    """The moment as 20261123T180000Z, for names."""
    return _in_utc(moment).strftime("%Y%m%dT%H%M%SZ")


def parse_utc(text: str) -> datetime:
    """What `format_utc` or `compact_utc` wrote; ValueError for anything else."""
    for pattern in ("%Y-%m-%dT%H:%M:%SZ", "%Y%m%dT%H%M%SZ"):
        try:
            return datetime.strptime(text, pattern).replace(tzinfo=UTC)
        except ValueError:
            continue
    raise ValueError(f"{text!r} is not a UTC time such as 2026-11-23T18:00:00Z")


def parse_target_time(text: str, zone: str = "UTC") -> datetime:
    """A moment that a person wrote, in UTC.

    It must say its zone: an offset (`+01:00`, `Z`) or a name (`2026-10-25 12:00:00 Europe/Berlin`). `zone` is the
    site's, and only serves the advice. Raises UsageError, with both candidates, for a local time that occurs twice
    or not at all when clocks change.
    """
    named = _NAMED_ZONE.fullmatch(text.strip())
    local_text = named["local"] if named else text.strip()
    try:
        local = datetime.fromisoformat(local_text)
    except ValueError:
        raise UsageError(
            f"{text!r} is not a time", remedy=f"Write it as '2026-11-23 18:00:00 {zone}' or 2026-11-23T18:00:00Z."
        ) from None
    if local.tzinfo is not None:
        if named:
            raise UsageError(f"{text!r} has both an offset and a zone", remedy="Leave one of them out.")
        return local.astimezone(UTC)
    if not named:
        raise UsageError(
            f"{text!r} does not say its zone",
            meaning="An hour more or less decides what is restored, so no zone is assumed.",
            remedy=f"Write '{text.strip()} {zone}' or '{text.strip()}Z' (UTC).",
        )
    return _resolve(text, local, _zone(named["zone"]))


def _resolve(text: str, local: datetime, zone: tzinfo) -> datetime:
    earlier, later = sorted(local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if earlier == later:
        return earlier
    exists = earlier.astimezone(zone).replace(tzinfo=None) == local
    raise UsageError(
        f"{text!r} {'occurs twice' if exists else 'does not exist'}: clocks are changed there then",
        meaning=f"It can mean {format_utc(earlier)} or {format_utc(later)}.",
        remedy="Give one of these two.",
    )


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise UsageError(f"{name!r} is not a known time zone", remedy="Write one such as Europe/Berlin.") from None


def _in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no zone")
    return moment.astimezone(UTC)
