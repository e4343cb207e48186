"""Messages on their way: Replication Manager's scripts leave them here at once, a unit of its own sends them.

Replication Manager waits for its scripts in the loop that watches the servers. A message that waited for Telegram
there would delay a promotion by as long as Telegram takes.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import asdict
from pathlib import Path

from holdfast.config import Config
from holdfast.errors import UsageError
from holdfast.failover.repman import Alert, alert_of
from holdfast.notify import send

SPOOL = Path("/var/lib/holdfast/repman/spool")
# The name under which Replication Manager's script is called for a state that is over.
CLOSED = "mysql-repman-tell-closed"
# A site whose Telegram is down for a day has other worries than the oldest of these.
KEPT = 500


def leave(alert: Alert, spool: Path = SPOOL) -> None:
    """Put a message into the spool, after all that are there. Raises OSError."""
    name = f"{time.time_ns():020d}-{os.getpid()}"
    half = spool / f".{name}"
    half.write_text(json.dumps(asdict(alert)), encoding="utf-8")
    half.rename(spool / f"{name}.json")


def text_of(alert: Alert, config: Config) -> str:
    """The message as people get it."""
    lines = [alert.head, f"told by {config.host}"]
    if alert.todo:
        lines.append(f"To do: {alert.todo}")
    if alert.runbook:
        lines.append(f"Runbook: {config.notifications.runbooks.rstrip('/')}/{alert.runbook}")
    return "\n".join(lines)


def send_all(config: Config, spool: Path = SPOOL) -> list[str]:
    """Send what the spool holds, oldest first; what failed, in words. What was not sent stays, the newest 500 of it."""
    waiting = sorted([*spool.glob("*.json"), *spool.glob("*.told")])
    for old in waiting[:-KEPT]:
        old.unlink(missing_ok=True)
    for path in waiting[-KEPT:]:
        try:
            alert = _read(path)
        except (OSError, ValueError, TypeError, UsageError) as error:
            with contextlib.suppress(OSError):
                path.rename(path.with_suffix(".unreadable"))
            return [f"{path}: cannot be read and was put aside: {error}"]
        failures = [] if alert is None else send(config.notifications, text_of(alert, config))
        if failures:
            return failures
        path.unlink(missing_ok=True)
    return []


def _read(path: Path) -> Alert | None:
    """A message; None for what Replication Manager told and nobody needs to know."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        return Alert(**json.loads(text))
    name, *told = text.removesuffix("\n").split("\n")
    return alert_of(told, closed=name == CLOSED)
