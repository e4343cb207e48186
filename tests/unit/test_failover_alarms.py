"""Alarms are told once, again each hour, and once when over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast import config
from holdfast.failover.alarms import Alarms
from holdfast.notify import Message

Build = Callable[..., dict[str, Any]]


def test_an_alarm_is_told_once_again_each_hour_and_when_it_is_over(configuration: Build) -> None:
    told: list[Message] = []
    seconds = [0.0]
    alarms = Alarms(config.parse(configuration()), "mysql-keeper", send=told.append, clock=lambda: seconds[0])
    alarms.end("disk")
    for _ in range(5):
        alarms.begin("disk", "the disk is full", "Swaps are refused.", "Make room.", "keeper.md")
        alarms.begin("guard", "the guard is silent", "", "", "keeper.md")
    assert len(told) == 2
    assert told[0].text().splitlines() == [
        "FAILED mysql-keeper of lab (db1)",
        "the disk is full",
        "Swaps are refused.",
        "To do: Make room.",
        "Runbook: docs/runbooks/keeper.md",
    ]
    seconds[0] = 3600.0
    alarms.begin("disk", "the disk is full", "Swaps are refused.", "Make room.", "keeper.md")
    assert len(told) == 3
    seconds[0] = 3720.0
    alarms.end("disk")
    alarms.end("disk")
    assert [message.text() for message in told[3:]] == [
        "OK mysql-keeper of lab (db1), took 1 h 2 min\nover: the disk is full"
    ]
    alarms.begin("disk", "the disk is full", "", "", "keeper.md")
    assert len(told) == 5
