"""The manager's loop and what conducts a promotion, against servers in memory: when it acts, holds, what it says."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from holdfast import lock
from holdfast.errors import UsageError
from holdfast.failover import explain
from holdfast.failover.command import conduct
from holdfast.failover.conduct import Conductor, HeldError, Order
from holdfast.failover.look import look
from holdfast.failover.manager import Manager
from holdfast.failover.memory import Memory
from holdfast.failover.promotion import Ended, Terms
from holdfast.failover.record import Record
from support.failover_fakes import UUIDS, World

PROCEED = Terms(hold_if_unproven=False)


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


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def kill_primary(rig: Rig) -> None:
    rig.world.crash("db1", back=False)
    rig.world.db["db2"].receiving = False
    rig.world.heard_age = 99.0


def test_a_dead_primary_is_replaced_after_silence_and_window(rig: Rig) -> None:
    rig.run(20)
    died = rig.world.now
    kill_primary(rig)
    rig.run(100)
    assert rig.world.record == Record(9, 2, UUIDS["db2"], True, None)
    assert 35 <= rig.world.now - died <= 46
    assert rig.told[0] == "FAILOVER started: db1 -> db2, term 2"
    assert "FAILOVER done: db2 is the primary, term 2" in rig.told[1] and "detection" in rig.told[1]


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


@pytest.mark.parametrize("lost", [False, True])
def test_a_switchover_by_order(rig: Rig, lost: bool) -> None:
    rig.world.broken |= {"lost answers"} if lost else set()
    course = conduct(rig.conductor, Order("switchover", PROCEED, ordered=True), wanted="db2")
    assert (course.ended, rig.term) == (Ended.PROMOTED, 2)
    assert rig.world.diary[:2] == ["swap promote", "db1.set_read_only"]


@pytest.mark.parametrize(("times_lost", "term"), [(1, 2), (2, 2), (3, 1)])
def test_a_session_that_the_candidates_guard_ends_is_opened_anew(rig: Rig, times_lost: int, term: int) -> None:
    seen, left = look(rig.conductor.site, {}), [times_lost]

    def ends_it() -> None:
        (rig.world.broken.add if left[0] else rig.world.broken.discard)("db2.look")
        left[0] -= 1
        if left[0] >= 0:
            rig.world.before["db2.look"] = ends_it

    rig.world.before["db2.look"] = ends_it
    order = Order("failover", PROCEED, ordered=True)
    with contextlib.nullcontext() if term == 2 else pytest.raises(HeldError, match="lost connection") as held:
        rig.conductor.promote(seen, order)
    assert rig.term == term
    assert len([line for line in rig.world.said if "a new one is tried" in line]) == min(times_lost, 2)
    assert held is None or "order it again" in held.value.remedy


def test_an_order_for_the_wrong_host_changes_nothing(rig: Rig) -> None:
    order = Order("switchover", PROCEED, ordered=True)
    with pytest.raises(UsageError, match="db1 is the primary already"):
        conduct(rig.conductor, order, wanted="db1")
    with pytest.raises(UsageError, match="db2 is not the record's primary: db1 is"):
        conduct(rig.conductor, order, unwanted="db2")
    assert rig.world.diary == []


def test_an_order_is_held_where_acknowledged_transactions_may_be_missing(rig: Rig) -> None:
    rig.world.record = Record(7, 1, UUIDS["db1"], True, None)
    with pytest.raises(HeldError, match="nobody is in sync") as caught:
        conduct(rig.conductor, Order("failover", PROCEED, ordered=True))
    assert "--allow-data-loss" in caught.value.remedy
    assert rig.world.diary == []


def test_a_person_may_allow_the_loss_and_the_fence_must_then_be_proven(rig: Rig) -> None:
    kill_primary(rig)
    rig.world.broken |= {"db1.sql", "db1.guard"}
    rig.world.record = Record(7, 1, UUIDS["db1"], True, None)
    order = Order("failover", PROCEED, ordered=True, loss_allowed=True)
    course = conduct(rig.conductor, order)
    assert course.ended is Ended.HELD and "a person allowed a loss" in course.why
    off = Order("failover", Terms(False, old_primary_is_off=True), ordered=True, loss_allowed=True)
    assert conduct(rig.conductor, off).ended is Ended.PROMOTED
    assert rig.world.diary[0] == "swap allow_loss"


def test_a_loss_that_need_not_be_is_not_taken(rig: Rig) -> None:
    conduct(rig.conductor, Order("failover", PROCEED, ordered=True, loss_allowed=True))
    assert rig.world.diary[0] == "swap promote"


def test_a_person_gets_past_an_elected_candidate_that_restarted(rig: Rig) -> None:
    rig.conductor.memory.put("uuids", UUIDS)
    rig.world.record = Record(8, 2, UUIDS["db2"], False, rig.world.db["db2"].instance)
    kill_primary(rig)
    rig.world.crash("db2")
    assert conduct(rig.conductor, Order("failover", PROCEED, ordered=True)).ended is Ended.HELD
    rig.world.broken |= {"db1.sql", "db1.guard"}
    order = Order("failover", Terms(False, old_primary_is_off=True), ordered=True, loss_allowed=True)
    assert conduct(rig.conductor, order).ended is Ended.PROMOTED
    assert rig.world.record and (rig.world.record.term, rig.world.record.primary) == (4, UUIDS["db2"])


@pytest.mark.parametrize("primary_answers", [True, False])
def test_the_events_that_ran_on_the_old_primary_run_on_the_new(rig: Rig, primary_answers: bool) -> None:
    rig.world.db["db1"].events = {"`a`.`nightly`": "ENABLED", "`a`.`off`": "DISABLED"}
    rig.world.db["db2"].events = {"`a`.`nightly`": "REPLICA_SIDE_DISABLED", "`a`.`off`": "REPLICA_SIDE_DISABLED"}
    rig.run(10)
    if not primary_answers:
        kill_primary(rig)
        rig.run(100)
    else:
        conduct(rig.conductor, Order("switchover", PROCEED, ordered=True))
    assert rig.world.db["db2"].events == {"`a`.`nightly`": "ENABLED", "`a`.`off`": "REPLICA_SIDE_DISABLED"}


def test_what_a_program_that_ended_after_opening_left_is_done_by_the_manager(rig: Rig) -> None:
    rig.world.db["db1"].events = {"`a`.`nightly`": "ENABLED"}
    rig.world.db["db2"].events = {"`a`.`nightly`": "REPLICA_SIDE_DISABLED"}
    rig.run(10)
    rig.world.record = Record(20, 2, UUIDS["db2"], True, None)
    rig.world.db["db2"].channel, rig.world.db["db2"].receiving = "", False
    rig.manager.tick()
    assert rig.world.db["db2"].events == {"`a`.`nightly`": "ENABLED"}
    assert "db2 is the primary, term 2" in rig.told[-1]
    rig.manager.tick()
    assert len(rig.told) == 1


def screen(rig: Rig) -> str:
    seen = look(rig.conductor.site, {})
    return explain.screen(
        seen,
        explain.reasons(seen, 10.0, None),
        manager="mysql_failover",
        since=rig.conductor.memory.get("in_sync"),
        last=rig.conductor.memory.get("last"),
        pause=None,
        watch="looked at now",
        now=datetime(2026, 11, 25, tzinfo=UTC),
    )


def test_status_says_who_would_be_promoted(rig: Rig) -> None:
    rig.run(10)
    text = screen(rig)
    assert "record     term 1, version 7: primary db1, opened" in text
    assert "in sync    db2, since 2" in text
    assert "if the primary died now: db2 would be promoted, with every acknowledged write" in text
    assert all(len(line) < 130 for line in text.splitlines())


def test_status_says_what_is_in_the_way(rig: Rig) -> None:
    rig.world.record = Record(7, 1, UUIDS["db1"], True, None)
    rig.world.broken |= {"db1.guard"}
    text = screen(rig)
    assert "NOTHING would be promoted" in text and "nobody is in sync" in text
    assert "db1        its guard does not answer" in text


def test_status_without_a_keeper(rig: Rig) -> None:
    rig.world.broken.add("keeper")
    text = screen(rig)
    assert "record     NONE: keeper: no answer" in text and "mysql-keeper rebuild" in text


def test_a_damaged_pause_counts_as_set_and_other_files_as_missing(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    memory.put("last", {"at": "now"})
    for name in ("pause", "last"):
        (tmp_path / "failover" / f"{name}.json").write_text("{")
    assert memory.pause(datetime.now(UTC)) is not None
    assert memory.get("last") == {}
    memory.end_pause()
    assert memory.pause(datetime.now(UTC)) is None
