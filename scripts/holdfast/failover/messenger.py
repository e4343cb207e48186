"""Telling people without waiting for Telegram: a promotion must not be slower because a chat is."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator

from holdfast.config import Config
from holdfast.failover.outbox import Outbox

log = logging.getLogger(__name__)


@contextlib.contextmanager
def messenger(config: Config, last_seconds: float = 30.0) -> Iterator[Callable[[str], None]]:
    """Give a function that sends a text in the background; leaving the block waits for what is not sent yet."""
    outbox = Outbox(config.notifications)

    def tell(text: str) -> None:
        log.warning("%s", text.replace("\n", "; "))
        outbox.put(f"{text}\n({config.cluster}, {config.host})")

    try:
        yield tell
    finally:
        outbox.close(last_seconds)
