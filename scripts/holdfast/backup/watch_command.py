"""What a person asks mysql-backup-watch for: a silence, what stands, a canary."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from holdfast.backup.alarm_engine import Memory, Silence, silenced
from holdfast.backup.alarm_memory import load_memory, save_memory
from holdfast.backup.alarm_names import ALARMS
from holdfast.backup.watch import LOCK, MEMORY
from holdfast.clock import format_utc
from holdfast.config import Config
from holdfast.errors import ConfigurationError, ToolError, UsageError
from holdfast.lock import hold
from holdfast.notify import duration_text, send

LONGEST_SILENCE = timedelta(days=35)  # longer than the days of a hole that nobody can mend
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def duration_of(text: str) -> timedelta:
    """How long 90m, 2h or 3d is. Raises UsageError for anything else, for nothing, and for more than 35 days."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})([mhd])", text.strip())
    if match is None or (found := int(match[1]) * _UNITS[match[2]]) > LONGEST_SILENCE:
        raise UsageError(f"{text!r} is no duration", remedy="Write minutes, hours or days: 90m, 2h, 3d; at most 35d.")
    return found


def alarm_of(text: str) -> str:
    """The alarm, by name or by name:subject. Raises UsageError for one that does not exist."""
    name, colon, subject = text.partition(":")
    if name not in ALARMS or bool(colon) != bool(subject):
        raise UsageError(
            f"{text!r} is not an alarm",
            meaning=f"There are {', '.join(ALARMS)}.",
            remedy="Give one of them, or what a message names, such as disk_filling:/var.",
        )
    return text


def silence(config: Config, alarm: str, duration: timedelta, reason: str, by: str, now: datetime) -> str:
    """Send nothing about an alarm for a while, and tell people so; what was done, in a line for the terminal.

    Raises UsageError without a reason, LockedError while a run is at work, ToolError when it cannot be remembered.
    """
    if not reason.strip():
        raise UsageError("--reason is empty", remedy="Say why nobody needs to hear of it: others will ask.")
    made = Silence(alarm, now + duration, " ".join(reason.split()), by)
    _change(config, now, lambda memory: silenced(memory, made))
    said = f"{alarm} is silent until {format_utc(made.until)} ({made.reason}; {by})"
    # Whoever is on call must know; a chat that is down is no reason not to be silent.
    failures = send(config.notifications, f"SILENCED on {config.host} ({config.cluster}): {said}")
    return "\n".join([said, *(f"not told: {failure}" for failure in failures)])


def end_silence(config: Config, alarm: str, now: datetime) -> str:
    """Let an alarm be told again. Raises UsageError when it is not silent."""
    memory = load_memory(config.state_directory / MEMORY, now)
    if alarm not in {known.alarm for known in memory.silences if known.until > now}:
        raise UsageError(f"{alarm} is not silent", remedy="See `mysql-backup-watch show`.")
    _change(config, now, lambda memory: _without(memory, alarm))
    return f"{alarm} is told again"


def show(config: Config, now: datetime) -> str:
    """What stands on this host, since when, whether people know, and what is silent (as it was at the last run)."""
    memory = load_memory(config.state_directory / MEMORY, now)
    lines = [f"Alarms of {config.host}: {len(memory.standing) or 'none'}"]
    for key, standing in sorted(memory.standing.items()):
        told = "not told yet" if standing.told is None else f"told {format_utc(standing.told)}"
        lines.append(f"  {key}  since {format_utc(standing.began)}, {told}")
        lines.append(f"    {standing.what}")
    lines += [f"  {key}  over since {format_utc(over.ended)}, not told yet" for key, over in memory.over.items()]
    for known in memory.silences:
        if known.until > now:
            left = duration_text((known.until - now).total_seconds())
            lines.append(f"Silent for {left} more: {known.alarm} ({known.reason}; {known.by})")
    return "\n".join(lines)


def self_test(config: Config, now: datetime) -> str:
    """Send a canary by every channel. Raises ConfigurationError without Telegram, ToolError when it is not accepted."""
    if config.notifications.telegram is None:
        raise ConfigurationError(
            "notifications.telegram is null",
            meaning="No alarm of this host reaches a chat.",
            remedy="Set holdfast_programs_telegram_enabled and its chat, and run playbooks/backups.yml.",
        )
    head = f"TEST of {config.cluster} ({config.host}) at {format_utc(now)}"
    text = f"{head}: alarms of this host arrive. Nothing is to be done."
    if failures := send(config.notifications, text):
        raise ToolError(
            "the canary was not accepted: " + "; ".join(failures),
            meaning="Alarms of this host do not arrive either.",
            remedy="See docs/runbooks/watch_failed.md: token, chat, and the way to api.telegram.org.",
        )
    return "Telegram accepted the canary; see that it is in the chat"


def _without(memory: Memory, alarm: str) -> Memory:
    return replace(memory, silences=tuple(known for known in memory.silences if known.alarm != alarm))


def _change(config: Config, now: datetime, change: Callable[[Memory], Memory]) -> None:
    path = config.state_directory / MEMORY
    with hold(LOCK, config.state_directory):
        try:
            save_memory(path, change(load_memory(path, now)))
        except OSError as error:
            raise ToolError(
                f"{path} cannot be written: {error}", meaning="Nothing was changed.", remedy="Make room on that disk."
            ) from None
