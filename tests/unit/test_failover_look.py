"""The manager's look: who is waited for and who is not, and what becomes of an answer that comes late."""

from __future__ import annotations

import threading
import time

import pytest

from holdfast.failover.look import Lookout, Watch, look
from support.failover_fakes import UUIDS, World
from support.hosts import wait_until

LIMIT_SECONDS = 20.0  # after which a question to a frozen host ends, as over the network


@pytest.fixture
def world() -> World:
    return World()


def freeze(world: World, verb: str) -> threading.Event:
    """Let a question stand until the event is set."""
    thawed = threading.Event()
    world.before[verb] = lambda: None if thawed.wait(LIMIT_SECONDS) else world.broken.add(verb)
    return thawed


@pytest.mark.parametrize("verb", ["db1.look", "db1.report"])
def test_a_frozen_primary_keeps_nobody_waiting_and_its_late_answer_counts(world: World, verb: str) -> None:
    site, uuids = world.site(), dict(UUIDS)
    with Lookout(site) as lookout:
        assert lookout.look(uuids).old_answers
        thawed, asked, began = freeze(world, verb), world.now, time.monotonic()
        seen = lookout.look(uuids)
        assert time.monotonic() - began < 1.5
        assert seen.old_answers is (verb == "db1.report")
        assert (seen.reports["db1"] is None) is (verb == "db1.report")
        assert seen.candidate is not None
        world.now += 5
        thawed.set()
        wait_until(lambda: all(asked.answer.done() for asked in lookout._open.values()), "it has answered")
        world.broken.add("db1.sql")
        late = lookout.look(uuids)
        if verb == "db1.look":
            assert not late.old_answers and late.old_asked_at is not None
            assert asked <= late.old_asked_at < asked + 1, "not when it was heard of"
        assert not lookout.look(uuids).old_answers


def test_the_candidate_is_waited_for(world: World) -> None:
    """Whether it hears the primary is what keeps a cut network from becoming a failover."""
    site, uuids = world.site(), dict(UUIDS)
    with Lookout(site) as lookout:
        thawed = freeze(world, "db2.hearing")
        threading.Timer(1.0, thawed.set).start()
        assert lookout.look(uuids).hearing.connected


def test_who_looks_once_waits_for_everybody(world: World) -> None:
    thawed = freeze(world, "db1.look")
    threading.Timer(1.0, thawed.set).start()
    assert look(world.site(), {}).old_answers


def test_that_no_way_answers_is_learnt_in_the_background(world: World) -> None:
    site, uuids = world.site(), dict(UUIDS)
    with Lookout(site) as lookout:
        roles = lookout.look(uuids).roles
        assert roles is not None
        thawed = freeze(world, "db1.sql")
        assert not lookout.no_way_answers(roles, 10.0), "not known yet, and not waited for"
        world.broken |= {"db1.sql", "db1.guard"}
        thawed.set()
        wait_until(lambda: lookout.no_way_answers(roles, 10.0), "no way answers", every_seconds=0.01)
        world.broken.discard("db1.guard")
        wait_until(lambda: not lookout.no_way_answers(roles, 10.0), "one does again", every_seconds=0.01)
        assert all(not lookout.no_way_answers(roles, 10.0) for _ in range(20)), "and that stays so"


def test_the_silence_is_counted_from_what_was_answered() -> None:
    watch = Watch(30, 10)
    watch.heard("a", 95.0, 100.0)
    assert watch.silent_for(110.0) == 10, "the first look begins the time"
    watch.heard("a", 112.0, 118.0)
    assert (watch.silent_for(120.0), watch.due_in(120.0)) == (8, 32)
    watch.heard("a", None, 130.0)
    assert watch.due_in(152.0) == 0
    watch.heard("b", None, 153.0)
    assert watch.silent_for(153.0) == 0
