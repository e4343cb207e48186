"""Promotions by order, what is left to do after one, and the status screen, against servers in memory."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from holdfast.errors import UsageError
from holdfast.failover import explain
from holdfast.failover.command import conduct
from holdfast.failover.conduct import HeldError, Order
from holdfast.failover.look import look
from holdfast.failover.memory import Memory
from holdfast.failover.promotion import Ended, Terms
from holdfast.failover.record import Record
from support.failover_fakes import UUIDS
from support.failover_rig import Rig, kill_primary

PROCEED = Terms(hold_if_unproven=False)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


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
