"""A manager over servers in memory: its loop, its alarms, what it told people."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from holdfast import lock
from holdfast.failover.conduct import Conductor
from holdfast.failover.manager import Manager
from holdfast.failover.memory import Memory
from support.failover_fakes import World


class FakeAlarms:
    def __init__(self) -> None:
        self.standing: dict[str, tuple[str, str]] = {}

    def begin(self, key: str, what: str, meaning: str, remedy: str, runbook: str) -> None:
        self.standing[key] = (what, remedy)

    def end(self, key: str) -> None:
        self.standing.pop(key, None)


class Rig:
    def __init__(self, state: Path) -> None:
        self.world = World()
        self.told: list[str] = []
        self.fencers: list[int] = []
        self.state = state
        self.alarms = FakeAlarms()
        site = self.world.site()
        self.conductor = Conductor(site, Memory(state), self.told.append, self.fencers.append)
        self.manager = self.new_manager()

    def new_manager(self) -> Manager:
        alarms: Any = self.alarms
        return Manager(self.conductor, alarms, self.acting, silence_seconds=30.0, hold_if_unproven=False)

    @contextlib.contextmanager
    def acting(self) -> Iterator[None]:
        with lock.hold("promotion", self.state):
            yield

    def run(self, seconds: float) -> None:
        """Let the manager look for so long, or until the record moves."""
        end, term = self.world.now + seconds, self.term
        while self.world.now < end and self.term == term:
            self.world.sleep(self.manager.tick())

    @property
    def term(self) -> int:
        return self.world.record.term if self.world.record else 0


def kill_primary(rig: Rig) -> None:
    rig.world.crash("db1", back=False)
    rig.world.db["db2"].receiving = False
    rig.world.heard_age = 99.0
