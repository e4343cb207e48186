"""Telling people without waiting for Telegram: a promotion must not be slower because a chat is."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Iterator

from holdfast.config import Config
from holdfast.notify import send

log = logging.getLogger(__name__)


@contextlib.contextmanager
def messenger(config: Config, last_seconds: float = 30.0) -> Iterator[Callable[[str], None]]:
    """Give a function that sends a text in the background; leaving the block waits for what is not sent yet."""
    texts: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def deliver() -> None:
        while (text := texts.get()) is not None:
            for failure in send(config.notifications, text):
                log.warning("notification not sent: %s", failure)

    def tell(text: str) -> None:
        log.warning("%s", text.replace("\n", "; "))
        texts.put(f"{text}\n({config.cluster}, {config.host})")

    thread = threading.Thread(target=deliver, name="messenger", daemon=True)
    thread.start()
    try:
        yield tell
    finally:
        texts.put(None)
        thread.join(last_seconds)
