"""Messages that a channel refuses: sent again by that channel only, and never in anybody's way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdfast.config import Config, TelegramConfig, parse
from holdfast.failover.alarms import Alarms
from holdfast.failover.outbox import Outbox


class Channels:
    """Telegram refuses as long as it is told to; the command never does."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.sent: list[tuple[str, str]] = []
        self.tried = 0

    def send(self, text: str, channels: Collection[str]) -> Mapping[str, str]:
        self.tried += 1
        refused = "telegram" in channels and self.refusals > 0
        self.refusals -= refused
        self.sent += [(channel, text) for channel in channels if not (refused and channel == "telegram")]
        return {"telegram": "telegram: TimedOut"} if refused else {}


@pytest.fixture
def config(configuration: Any) -> Config:
    known = parse(configuration())
    telegram_config = TelegramConfig(Path("/nowhere"), "1", "http://127.0.0.1:1")
    return replace(known, notifications=replace(known.notifications, telegram=telegram_config, command=("true",)))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_telegram_refused_is_sent_again_by_telegram_only(config: Config) -> None:
    channels = Channels(refusals=2)
    outbox = Outbox(config.notifications, send=channels.send, first_pause_seconds=0.05)
    outbox.put("the primary is dead")
    wait_for(lambda: len(channels.sent) == 2)
    assert channels.sent[0] == ("command", "the primary is dead")
    assert channels.sent[1][0] == "telegram"
    assert channels.sent[1][1].startswith("(of 20") and channels.sent[1][1].endswith("the primary is dead")
    assert channels.tried == 3
    outbox.close(5)
    assert len(channels.sent) == 2


def test_one_that_is_refused_does_not_stand_in_the_way_of_the_next(config: Config) -> None:
    channels = Channels(refusals=1)
    outbox = Outbox(config.notifications, send=channels.send, first_pause_seconds=60)
    outbox.put("first")
    outbox.put("second")
    wait_for(lambda: ("telegram", "second") in channels.sent)
    outbox.close(5)  # the last try
    assert [channel for channel, text in channels.sent if text.endswith("first")] == ["command", "telegram"]


def test_who_puts_does_not_wait(config: Config) -> None:
    stands = threading.Event()
    outbox = Outbox(config.notifications, send=lambda *_: {} if stands.wait(60) else {})
    began = time.monotonic()
    outbox.put("text")
    assert time.monotonic() - began < 1
    outbox.close(0.1)
    assert time.monotonic() - began < 2
    stands.set()


def test_alarms_go_by_the_outbox(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    put: list[str] = []
    monkeypatch.setattr(Outbox, "put", lambda _, text: put.append(text))
    alarms = Alarms(config, "guard")
    alarms.begin("disk", "the disk is full", "Writes fail.", "Make room.", "guard.md")
    alarms.end("disk")
    assert "the disk is full" in put[0] and put[1].endswith("over: the disk is full")
