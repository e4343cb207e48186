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
from holdfast.failover.repman import Alert
from holdfast.notify import send

SPOOL = Path("/var/lib/holdfast/repman/spool")
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
    waiting = sorted(spool.glob("*.json"))
    for old in waiting[:-KEPT]:
        old.unlink(missing_ok=True)
    for path in waiting[-KEPT:]:
        try:
            alert = Alert(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            with contextlib.suppress(OSError):
                path.rename(path.with_suffix(".unreadable"))
            return [f"{path}: cannot be read and was put aside: {error}"]
        failures = send(config.notifications, text_of(alert, config))
        if failures:
            return failures
        path.unlink(missing_ok=True)
    return []
