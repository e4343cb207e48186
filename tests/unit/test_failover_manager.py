"""The manager's loop against servers in memory: when it acts, when it holds, and what it says."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from holdfast import lock
from holdfast.failover.record import Record
from support.failover_fakes import UUIDS
from support.failover_rig import Rig, kill_primary


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_a_dead_primary_is_replaced_after_silence_and_window(rig: Rig) -> None:
    rig.run(20)
    died = rig.world.now
    kill_primary(rig)
    rig.run(100)
    assert rig.world.record == Record(9, 2, UUIDS["db2"], True, None)
    assert 35 <= rig.world.now - died <= 46
    assert rig.told[0] == "FAILOVER started: db1 -> db2, term 2"
    assert "FAILOVER done: db2 is the primary, term 2" in rig.told[1] and "detection" in rig.told[1]


def test_what_costs_a_time_limit_is_learnt_before_the_decision(rig: Rig) -> None:
    """A frozen host answers nobody; its fence must not find that out while nobody can write."""
    rig.run(20)
    kill_primary(rig)
    rig.world.broken |= {"db1.sql", "db1.guard"}
    for _ in range(20):
        rig.world.sleep(rig.manager.tick())
        time.sleep(0.05)
    assert rig.term == 2
    assert "fence db1: on no way did anybody answer a moment ago" in rig.world.said


def test_nothing_happens_while_the_primary_answers_if_only_with_an_error(rig: Rig) -> None:
    rig.world.broken |= {"db1.full", "db1.guard"}
    rig.run(200)
    assert (rig.term, rig.told, rig.world.diary) == (1, [], [])


def test_a_primary_that_its_replica_hears_is_not_dead(rig: Rig) -> None:
    rig.world.broken |= {"db1.sql", "db1.guard"}
    rig.run(200)
    assert (rig.term, rig.world.diary) == (1, [])
    what, remedy = rig.alarms.standing["held"]
    assert "db2 still hears db1" in what and "acts when" in remedy
    rig.world.broken.clear()
    rig.run(10)
    assert rig.alarms.standing == {}


@pytest.mark.parametrize(
    ("spoil", "what", "remedy"),
    [
        (
            lambda world: setattr(world, "record", Record(7, 1, UUIDS["db1"], True, None)),
            "nobody is in sync",
            "--allow-data-loss",
        ),
        (lambda world: world.crash("db2"), "is not the one that is in sync", "--allow-data-loss"),
        (
            lambda world: world.broken.add("db2.guard"),
            "db2's guard does not answer",
            "systemctl status mysql-guard on db2",
        ),
    ],
)
def test_it_holds_and_says_what_would_make_it_act(rig: Rig, spoil: Any, what: str, remedy: str) -> None:
    rig.run(20)
    kill_primary(rig)
    spoil(rig.world)
    rig.run(100)
    assert rig.term == 1 and rig.world.diary == []
    assert what in rig.alarms.standing["held"][0] and remedy in rig.alarms.standing["held"][1]


def test_a_keeper_that_is_lost_is_an_alarm_of_its_own(rig: Rig) -> None:
    rig.world.broken.add("keeper")
    rig.run(30)
    assert "no record" in rig.alarms.standing["keeper"][0]
    rig.world.broken.clear()
    rig.run(10)
    assert rig.alarms.standing == {}


def test_a_pause_holds_it_until_it_ends(rig: Rig) -> None:
    now = datetime.now(UTC)
    rig.conductor.memory.set_pause(now, timedelta(hours=2), "anna")
    rig.run(10)
    kill_primary(rig)
    rig.run(100)
    assert rig.term == 1 and "paused by anna" in rig.alarms.standing["held"][0]
    rig.conductor.memory.end_pause()
    rig.run(20)
    assert rig.term == 2


def test_a_pause_of_more_than_four_hours_is_an_alarm(rig: Rig) -> None:
    rig.conductor.memory.set_pause(datetime.now(UTC) - timedelta(hours=5), timedelta(hours=9), "anna")
    rig.run(10)
    assert "paused by anna" in rig.alarms.standing["pause"][0]


def test_a_manager_that_restarts_finishes_what_it_finds(rig: Rig) -> None:
    rig.world.record = Record(8, 2, UUIDS["db2"], False, rig.world.db["db2"].instance)
    kill_primary(rig)
    rig.manager.tick()
    assert rig.world.record == Record(9, 2, UUIDS["db2"], True, None)


def test_it_leaves_a_promotion_to_whoever_is_at_work(rig: Rig) -> None:
    rig.world.record = Record(8, 2, UUIDS["db2"], False, rig.world.db["db2"].instance)
    with lock.hold("promotion", rig.state):
        rig.manager.tick()
    assert rig.world.diary == []


def test_an_unproven_fence_starts_the_background_fencer(rig: Rig) -> None:
    rig.run(10)
    kill_primary(rig)
    rig.world.broken |= {"db1.sql", "db1.guard"}
    rig.run(100)
    assert (rig.term, rig.fencers) == (2, [2])
    assert "UNPROVEN" in rig.told[-1]
