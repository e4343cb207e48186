"""Alarms of a program that runs for ever: each cause is told once when it begins, and once when it has ended.

Telling takes a thread of its own: whoever watches over a server does not wait for Telegram.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

from holdfast.config import NotificationsConfig
from holdfast.notify import Job, duration_text, send

log = logging.getLogger(__name__)

RETRY_SECONDS = 30.0
ATTEMPTS = 40


@dataclass(frozen=True)
class Alarm:
    """What is wrong, what it means, what to do. `cause` is its identity: the words may change while it lasts."""

    cause: str
    what: str
    meaning: str
    remedy: str


@dataclass
class _Standing:
    since: float
    told: Alarm | None = None


class Alarms:
    """Which causes stand. `tell` gets the texts; `now` is on the caller's monotonic clock, in seconds."""

    def __init__(self, job: Job, runbook: str, tell: Callable[[str], None]) -> None:
        self._job = job
        self._runbook = runbook
        self._tell = tell
        self._standing: dict[str, _Standing] = {}

    def stand(self, now: float, alarm: Alarm, *, after_seconds: float = 0.0) -> None:
        """The cause is there; told once, when it has lasted that long."""
        standing = self._standing.setdefault(alarm.cause, _Standing(now))
        if standing.told is None and now - standing.since >= after_seconds:
            standing.told = alarm
            log.warning("alarm %s: %s", alarm.cause, alarm.what)
            self._tell(self.text(alarm))

    def end(self, now: float, cause: str) -> None:
        """The cause is not there (any more); told if it had been told."""
        standing = self._standing.pop(cause, None)
        if standing is not None and standing.told is not None:
            lasted = duration_text(now - standing.since)
            log.warning("alarm %s: closed after %s", cause, lasted)
            head = f"CLOSED {self._job.name} of {self._job.cluster} ({self._job.host})"
            self._tell(f"{head}\n{standing.told.what}\nIt is over, after {lasted}.")

    def keep(self, now: float, alarm: Alarm, stands: bool, *, after_seconds: float = 0.0) -> None:
        """`stand` or `end`."""
        if stands:
            self.stand(now, alarm, after_seconds=after_seconds)
        else:
            self.end(now, alarm.cause)

    def standing(self) -> tuple[str, ...]:
        """What was told and is not over, for status pages."""
        return tuple(one.told.what for one in self._standing.values() if one.told is not None)

    def text(self, alarm: Alarm) -> str:
        """The message."""
        head = f"ALARM {self._job.name} of {self._job.cluster} ({self._job.host})"
        return "\n".join(
            [head, alarm.what, alarm.meaning, f"To do: {alarm.remedy}", f"Runbook: {self._runbook}/{self._job.runbook}"]
        )


class Teller:
    """Sends texts in their order, in a thread of its own; each is tried again while it cannot be sent, for 20 minutes.

    `send_once` returns what failed.
    """

    def __init__(self, send_once: Callable[[str], list[str]], *, retry_seconds: float = RETRY_SECONDS) -> None:
        self._send = send_once
        self._retry_seconds = retry_seconds
        self._texts: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="alarms", daemon=True).start()

    def __call__(self, text: str) -> None:
        """Send it some time."""
        self._texts.put(text)

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            text = self._texts.get()
            for attempt in range(ATTEMPTS):
                failures = self._send(text)
                if not failures:
                    break
                if attempt == 0:
                    log.warning("alarm not sent, tried again: %s", "; ".join(failures))
                pause.wait(self._retry_seconds)


def teller(config: NotificationsConfig) -> Teller:
    """A Teller by the site's channels."""
    return Teller(lambda text: send(config, text))
