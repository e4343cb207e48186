"""Messages on their way to people: in the background, and again when a channel refuses.

Nobody waits for Telegram, and a message that it refused is not lost: it is sent again after 10, 20, 40 ... 600 s, by
the channels that refused it only, and says then how old it is. What the process's end overtakes is in the log.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from holdfast import notify
from holdfast.clock import format_utc, utc_now
from holdfast.config import NotificationsConfig

FIRST_PAUSE_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 600.0
KEEP_SECONDS = 24 * 3600.0

log = logging.getLogger(__name__)
Send = Callable[[str, Collection[str]], Mapping[str, str]]


@dataclass
class _Letter:
    """A text, the channels that it still has to go by, when it was written and is due (monotonic seconds)."""

    text: str
    channels: Collection[str]
    written: float
    written_at: str
    due: float
    pause_seconds: float = FIRST_PAUSE_SECONDS
    tried: bool = False


class Outbox:
    """A thread that sends. `send` sends a text by some channels and returns what each that refused said."""

    def __init__(
        self,
        config: NotificationsConfig,
        *,
        send: Send | None = None,
        clock: Callable[[], float] = time.monotonic,
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        self._send = send or (lambda text, channels: notify.send_by(config, text, channels))
        self._channels = notify.channels_of(config)
        self._clock, self._first_pause_seconds = clock, first_pause_seconds
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    def put(self, text: str) -> None:
        """Send a text; returns at once."""
        self._queue.put(text)

    def close(self, last_seconds: float) -> None:
        """Try once more what is not sent yet, and wait for that for so long."""
        self._queue.put(None)
        self._thread.join(last_seconds)

    def _run(self) -> None:
        letters: list[_Letter] = []
        while True:
            due = min((letter.due for letter in letters), default=None)
            try:
                text = self._queue.get(timeout=None if due is None else max(0.0, due - self._clock()))
            except queue.Empty:
                letters = [letter for letter in letters if not self._deliver(letter)]
                continue
            if text is None:
                break
            now = self._clock()
            fresh = _Letter(text, self._channels, now, format_utc(utc_now()), now, self._first_pause_seconds)
            if not self._deliver(fresh):
                letters.append(fresh)
        for letter in letters:
            letter.due = self._clock()
            self._deliver(letter)

    def _deliver(self, letter: _Letter) -> bool:
        """Send a letter that is due; whether nothing is left to do for it."""
        if letter.due > self._clock():
            return False
        text = f"(of {letter.written_at}, could not be sent earlier)\n{letter.text}" if letter.tried else letter.text
        refused = self._send(text, letter.channels)
        for why in refused.values():
            log.warning("notification not sent: %s", why)
        letter.tried, letter.channels = True, list(refused)
        letter.due = self._clock() + letter.pause_seconds
        letter.pause_seconds = min(LONGEST_PAUSE_SECONDS, 2 * letter.pause_seconds)
        if refused and self._clock() - letter.written > KEEP_SECONDS:
            log.error("notification given up: %s", letter.text.replace("\n", "; "))
            return True
        return not refused
