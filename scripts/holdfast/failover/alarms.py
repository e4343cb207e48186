"""Alarms of a service: told once when something begins, again each hour while it lasts, and once when it is over."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from holdfast.config import Config
from holdfast.failover.outbox import Outbox
from holdfast.notify import Failed, Message, Succeeded

REPEAT_SECONDS = 3600.0

log = logging.getLogger(__name__)


@dataclass
class _Alarm:
    what: str
    began: float
    told: float


class Alarms:
    """Tells people of what lasts, by key. Sending is the outbox's work: a slow Telegram never delays the caller.

    `job` is the program's name for people, `clock` gives seconds that only grow.
    """

    def __init__(
        self,
        config: Config,
        job: str,
        *,
        send: Callable[[Message], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._job = job
        self._send = send
        self._clock = clock
        self._lock = threading.Lock()
        self._standing: dict[str, _Alarm] = {}
        self._outbox = Outbox(config.notifications) if send is None else None

    def begin(self, key: str, what: str, meaning: str, remedy: str, runbook: str) -> None:
        """Something is wrong, or still is. `runbook` is a file's name."""
        now = self._clock()
        with self._lock:
            alarm = self._standing.get(key)
            if alarm is not None and now - alarm.told < REPEAT_SECONDS:
                return
            self._standing[key] = _Alarm(what, alarm.began if alarm else now, now)
        log.error("%s. %s %s", what, meaning, remedy)
        address = f"{self._config.notifications.runbooks.rstrip('/')}/{runbook}"
        self._put(Failed(self._job, self._config.cluster, self._config.host, what, meaning, remedy, address))

    def end(self, key: str) -> None:
        """It is no longer wrong; nothing is said if it never was."""
        with self._lock:
            alarm = self._standing.pop(key, None)
        if alarm is not None:
            log.warning("over: %s", alarm.what)
            lasted = self._clock() - alarm.began
            self._put(Succeeded(self._job, self._config.cluster, self._config.host, lasted, f"over: {alarm.what}"))

    def _put(self, message: Message) -> None:
        if self._outbox is not None:
            self._outbox.put(message.text())
        elif self._send is not None:
            self._send(message)
