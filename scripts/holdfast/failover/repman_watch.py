"""Watching Replication Manager from outside of it, and its pause with an end; a timer runs this every minute."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from holdfast.clock import format_utc, parse_utc
from holdfast.errors import UsageError
from holdfast.failover.repman import PROTECTS_NOTHING, Alert, Seen, complaints
from holdfast.failover.repman_api import Api, ApiError

log = logging.getLogger(__name__)
FOLDER = Path("/var/lib/holdfast/repman")
PAUSE_FILE = "pause.json"
TOLD_FILE = "told.json"
# A tick, a restart or a switchover passes through states that look bad for a moment.
PATIENCE = timedelta(minutes=2)
AGAIN = timedelta(hours=1)
LONG_PAUSE = timedelta(hours=4)
LONGEST_PAUSE = timedelta(hours=24)


@dataclass(frozen=True)
class Pause:
    """A pause that somebody asked for; times in UTC."""

    since: datetime
    until: datetime


@dataclass(frozen=True)
class Complaint:
    """Since when something is wrong, and when people were told; None: not yet."""

    since: datetime
    told: datetime | None


@dataclass(frozen=True)
class Watched:
    """What one look comes to: what people are told now, and what the next look has to know."""

    alerts: tuple[Alert, ...]
    known: Mapping[str, Complaint]


def watch(seen: Seen | None, pause: Pause | None, known: Mapping[str, Complaint], now: datetime) -> Watched:
    """Tell what is wrong after two minutes, again each hour, and once when it is over (pure)."""
    found = dict(complaints(seen, paused=pause is not None))
    if pause is not None and now - pause.since >= LONG_PAUSE:
        head = f"Replication Manager is paused since {format_utc(pause.since)}, until {format_utc(pause.until)}"
        found["pause"] = Alert(head, "`mysql-repman resume`, if it is not meant.", PROTECTS_NOTHING)
    alerts: list[Alert] = []
    still: dict[str, Complaint] = {}
    for key, alert in found.items():
        before = known.get(key, Complaint(now, None))
        patience = timedelta(0) if key == "pause" else PATIENCE
        due = now - before.since >= patience if before.told is None else now - before.told >= AGAIN
        still[key] = Complaint(before.since, now) if due else before
        if due:
            alerts.append(alert)
    over = [key for key, before in known.items() if key not in found and before.told is not None]
    alerts += [Alert(f"OK Replication Manager: what was wrong is over ({key})") for key in over]
    return Watched(tuple(alerts), still)


def pause_for(text: str) -> timedelta:
    """How long `90m` or `2h` is. Raises UsageError for anything else, and for more than 24 hours."""
    unit = {"m": timedelta(minutes=1), "h": timedelta(hours=1)}.get(text[-1:])
    if (
        unit is None
        or not re.fullmatch(r"[0-9]+", text[:-1])
        or not timedelta(0) < int(text[:-1]) * unit <= LONGEST_PAUSE
    ):
        raise UsageError(f"{text!r} is not a time such as 30m or 2h, at most {LONGEST_PAUSE // timedelta(hours=1)}h")
    return int(text[:-1]) * unit


def keep_pause(api: Api, folder: Path, now: datetime) -> Pause | None:
    """Make Replication Manager what the pause file says, also after it was restarted; end a pause that is over.

    Without a pause nothing is changed: a person who made it manual in its GUI is told, not overruled.
    """
    pause = read_pause(folder)
    if pause is not None and now >= pause.until:
        api.set_automatic(True)
        (folder / PAUSE_FILE).unlink(missing_ok=True)
        log.info("the pause that ended %s is over: automatic again", format_utc(pause.until))
        return None
    if pause is not None:
        api.set_automatic(False)
    return pause


def look(api: Api, folder: Path, now: datetime) -> tuple[Seen | None, Pause | None]:
    """What Replication Manager shows, None where it does not answer, and the pause in force."""
    try:
        pause = keep_pause(api, folder, now)
        return api.look(), pause
    except ApiError as error:
        log.warning("%s", error)
        return None, read_pause(folder)


def read_pause(folder: Path) -> Pause | None:
    """The pause that was asked for; a file that cannot be understood counts as one that is over."""
    document = _read(folder / PAUSE_FILE)
    try:
        return Pause(parse_utc(document["since"]), parse_utc(document["until"])) if document else None
    except (KeyError, TypeError, ValueError):
        moment = datetime.fromisoformat("2000-01-01T00:00:00+00:00")
        return Pause(moment, moment)


def write_pause(folder: Path, pause: Pause) -> None:
    """Keep a pause. Raises OSError."""
    _write(folder / PAUSE_FILE, {"since": format_utc(pause.since), "until": format_utc(pause.until)})


def read_known(folder: Path) -> dict[str, Complaint]:
    """What earlier looks found; nothing where that cannot be read, so that people are told again."""
    try:
        return {
            key: Complaint(parse_utc(entry["since"]), parse_utc(entry["told"]) if entry["told"] else None)
            for key, entry in _read(folder / TOLD_FILE).items()
        }
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}


def write_known(folder: Path, known: Mapping[str, Complaint]) -> None:
    """Keep what was found for the next look. Raises OSError."""
    entries = {
        key: {"since": format_utc(entry.since), "told": format_utc(entry.told) if entry.told else None}
        for key, entry in known.items()
    }
    _write(folder / TOLD_FILE, entries)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        return {"unreadable": None}


def _write(path: Path, document: Mapping[str, Any]) -> None:
    new = path.with_suffix(".new")
    new.write_text(json.dumps(document) + "\n", encoding="utf-8")
    new.chmod(0o644)
    new.rename(path)
