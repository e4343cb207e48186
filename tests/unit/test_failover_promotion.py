"""The promotion against servers in memory: order, limits, lost answers, restarts of every part, the way back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest

from holdfast.failover.candidate import Candidate
from holdfast.failover.promotion import Course, Ended, Promotion, Terms
from holdfast.failover.record import Record
from support.failover_fakes import UUIDS, World

DRAIN = ["db2.go_offline", "db2.kill_others", "db2.set_source False", "db2.stop_receiving"]
DETACH = ["db2.detach", "db2.set_source True", "swap open"]
TERMS = Terms(hold_if_unproven=False)


def elected(*broken: str, loss: bool = False) -> World:
    world = World()
    world.broken |= set(broken)
    world.record = Record(8, 2, UUIDS["db2"], False, None if loss else world.db["db2"].instance)
    return world


def run(world: World, terms: Terms = TERMS, **times: float) -> Course:
    site = world.site(**times)
    return Promotion(site, Candidate(site, site.hosts["db2"]), site.hosts["db1"], UUIDS["db1"], terms).run()


def record_of(world: World) -> tuple[int, str, bool]:
    assert world.record is not None
    name = next(name for name, uuid in UUIDS.items() if uuid == world.record.primary)
    return world.record.term, name, world.record.opened


def test_fence_drain_detach_open_in_this_order() -> None:
    world = elected()
    world.db["db2"].relay = f"{UUIDS['db1']}:11-12"
    world.db["db1"].executed = f"{UUIDS['db1']}:1-12"
    course = run(world)
    assert world.diary == ["db1.set_read_only", "db1.kill_others", "db1.set_source True", *DRAIN, *DETACH]
    assert (course.ended, course.opened, record_of(world)) == (Ended.PROMOTED, True, (2, "db2", True))
    assert list(course.seconds) == ["fence", "drain", "opened", "writable"]
    assert sorted(course.seconds.values()) == list(course.seconds.values())
    assert UUIDS["db1"] + ":11-12" in world.db["db2"].executed


def test_an_unproven_fence_does_not_stop_it_where_the_policy_is_proceed() -> None:
    world = elected("db1.sql", "db1.guard")
    course = run(world)
    assert (course.ended, course.fence.name) == (Ended.PROMOTED, "GIVEN_UP")


@pytest.mark.parametrize(
    ("terms", "loss"), [(Terms(hold_if_unproven=True), False), (Terms(hold_if_unproven=False), True)]
)
def test_an_unproven_fence_holds_it_where_it_must(terms: Terms, loss: bool) -> None:
    world = elected("db1.sql", "db1.guard", loss=loss)
    course = run(world, terms)
    assert (course.ended, record_of(world)) == (Ended.HELD, (2, "db2", False))
    assert "not proven to be fenced" in course.why and "old-primary-is-off" in course.why
    assert world.diary == []


def test_a_person_who_says_that_it_is_off_lets_a_loss_go_on() -> None:
    world = elected("db1.sql", "db1.guard", loss=True)
    assert run(world, Terms(hold_if_unproven=False, old_primary_is_off=True)).ended is Ended.PROMOTED


def test_a_candidate_that_restarted_is_not_finished() -> None:
    world = elected("db1.sql", "db1.guard")
    world.crash("db2")
    course = run(world)
    assert (course.ended, record_of(world)) == (Ended.HELD, (2, "db2", False))
    assert "restarted after it was elected" in course.why


def test_a_candidate_that_restarted_is_rolled_back_when_the_old_primary_answers() -> None:
    world = elected()
    world.crash("db2")
    course = run(world)
    assert (course.ended, record_of(world)) == (Ended.ROLLED_BACK, (3, "db1", True))
    assert world.diary == ["swap roll_back"]


def test_a_script_whose_caller_would_open_the_candidate_does_not_roll_back_itself() -> None:
    world = elected()
    world.crash("db2")
    course = run(world, Terms(hold_if_unproven=False, may_roll_back=False))
    assert (course.ended, record_of(world), world.diary) == (Ended.WOULD_ROLL_BACK, (2, "db2", False), [])


def test_a_full_old_primary_counts_as_answering() -> None:
    world = elected("db1.full", "db1.guard")
    world.crash("db2")
    assert run(world).ended is Ended.ROLLED_BACK


@pytest.mark.parametrize("verb", ["go_offline", "kill_others", "set_source False", "stop_receiving", "detach", "look"])
def test_a_candidate_that_restarts_between_two_steps_is_never_opened(verb: str) -> None:
    world = elected("db1.sql", "db1.guard")
    world.before[f"db2.{verb}"] = lambda: world.crash("db2")
    course = run(world)
    assert (course.ended, record_of(world)) == (Ended.HELD, (2, "db2", False))
    assert "swap open" not in world.diary


def test_a_stale_report_of_the_instance_before_does_not_pass_for_the_one_that_runs() -> None:
    """The guard still tells the instance that was elected; SQL is on the one that booted after it."""
    world = elected("db1.sql", "db1.guard")
    elected_instance = world.db["db2"].instance

    def restart() -> None:
        world.crash("db2")
        world.guard_age = 60.0  # what it says is from before
        world.record = Record(8, 2, UUIDS["db2"], False, elected_instance)

    world.before["db2.kill_others"] = restart
    assert run(world).ended is Ended.HELD
    assert "swap open" not in world.diary


@pytest.mark.parametrize("verb", ["go_offline", "kill_others", "set_source False", "stop_receiving", "detach"])
def test_a_step_that_fails_once_is_taken_again_in_a_new_session(verb: str) -> None:
    world = elected("db1.sql", "db1.guard")
    world.broken.add(f"db2.{verb}")
    world.before[f"db2.{verb}"] = lambda: world.before.__setitem__(
        f"db2.{verb}", lambda: world.broken.discard(f"db2.{verb}")
    )
    assert run(world).ended is Ended.PROMOTED
    assert world.diary.count("db2.go_offline") == 2 or verb == "go_offline"


@pytest.mark.parametrize("verb", ["go_offline", "stop_receiving", "detach"])
def test_a_step_that_never_works_holds_it(verb: str) -> None:
    world = elected("db1.sql", "db1.guard", f"db2.{verb}")
    course = run(world)
    assert (course.ended, record_of(world)) == (Ended.HELD, (2, "db2", False))


def test_an_applier_that_does_not_end_is_waited_for_while_the_old_primary_is_silent() -> None:
    world = elected("db1.sql", "db1.guard", "applier")
    world.db["db2"].relay = f"{UUIDS['db1']}:11"
    ends = world.now + 100

    def look() -> None:
        world.before["db2.look"] = look
        if world.now > ends:
            world.broken.discard("applier")

    world.before["db2.look"] = look
    assert run(world, drain_seconds=30).ended is Ended.PROMOTED
    assert world.now > ends


def test_an_applier_that_does_not_end_goes_back_to_an_old_primary_that_answers() -> None:
    world = elected("db1.guard", "db2.io", "applier")
    world.db["db2"].relay = f"{UUIDS['db1']}:11"
    began = world.now
    course = run(world, drain_seconds=30)
    assert (course.ended, record_of(world)) == (Ended.ROLLED_BACK, (3, "db1", True))
    assert 30 <= world.now - began < 45


@pytest.mark.parametrize("loss", [False, True])
def test_an_applier_that_does_not_run_is_started(loss: bool) -> None:
    """A replica that has just booted has its channel stopped; its guard starts it only for a primary that lives."""
    world = elected("db1.sql", loss=loss)
    world.db["db2"].applying = world.db["db2"].receiving = False
    world.db["db2"].relay = f"{UUIDS['db1']}:11"
    course = run(world)
    assert (course.ended, record_of(world)) == (Ended.PROMOTED, (2, "db2", True))
    assert UUIDS["db1"] + ":11" in world.db["db2"].executed
    assert world.now < 1060, "it must not wait for what cannot come"


def test_an_applier_that_stops_again_holds_it_with_its_words() -> None:
    world = elected("db1.sql", "db1.guard")
    world.db["db2"].applying, world.db["db2"].applier_error = False, "Error executing row event: no such table"
    world.db["db2"].relay = f"{UUIDS['db1']}:11"
    course = run(world)
    assert (course.ended, record_of(world)) == (Ended.HELD, (2, "db2", False))
    assert "no such table" in course.why and "SHOW REPLICA STATUS on db2" in course.why


def test_a_long_wait_for_the_applier_is_told() -> None:
    world = elected("db1.sql", "db1.guard", "applier")
    world.db["db2"].relay = f"{UUIDS['db1']}:11"
    ends = world.now + 20

    def look() -> None:
        world.before["db2.look"] = look
        if world.now > ends:
            world.broken.discard("applier")

    world.before["db2.look"] = look
    run(world)
    assert len([line for line in world.said if "still being applied" in line]) in (3, 4)


def test_every_answer_of_the_keeper_to_a_swap_is_lost() -> None:
    world = elected("db1.sql", "db1.guard", "lost answers")
    course = run(world)
    assert (course.ended, record_of(world)) == (Ended.PROMOTED, (2, "db2", True))
    assert world.diary.count("swap open") == 1


@pytest.mark.parametrize("verb", ["db2.go_offline", "db2.stop_receiving", "db2.detach", "keeper.swap"])
def test_a_term_that_moved_on_ends_it(verb: str) -> None:
    world = elected("db1.sql", "db1.guard")

    def move() -> None:
        world.record = Record(20, 3, UUIDS["db1"], True, None)

    world.before[verb] = move
    course = run(world)
    assert course.ended is Ended.OVERTAKEN
    assert record_of(world) == (3, "db1", True)


def test_a_keeper_that_is_silent_for_a_while_is_waited_for() -> None:
    world = elected("db1.sql", "db1.guard")
    world.before["db2.detach"] = lambda: world.broken.add("keeper")
    later: Callable[[], None] = lambda: (  # noqa: E731
        world.broken.discard("keeper") if world.now > 1008 else world.before.__setitem__("keeper.record", later)
    )
    world.before["keeper.record"] = later
    assert run(world).ended is Ended.PROMOTED


def test_a_keeper_that_is_gone_holds_it() -> None:
    world = elected("keeper")
    assert run(world).ended is Ended.HELD
    assert world.diary == []


def test_a_guard_that_does_not_open_is_told() -> None:
    world = elected("db1.sql", "db1.guard")
    world.guard_opens = False
    course = run(world)
    assert (course.ended, course.opened) == (Ended.PROMOTED, False)
    assert "its guard has not opened it" in course.why


def test_without_a_guard_of_the_candidate_nothing_goes_on() -> None:
    world = elected("db1.sql", "db1.guard", "db2.guard")
    course = run(world)
    assert (course.ended, world.diary) == (Ended.HELD, [])
    assert "does not answer" in course.why


def test_a_manager_that_restarts_at_any_step_finishes_what_it_finds() -> None:
    """Each verb is the last that a killed manager did; the next one has only the record."""
    whole = elected("db1.sql", "db1.guard")
    run(whole)
    for number in range(1, len(whole.diary) + 1):
        world = elected("db1.sql", "db1.guard")

        class Killed(BaseException):
            pass

        def kill(world: World = world, number: int = number, killed: type[BaseException] = Killed) -> None:
            if len(world.diary) >= number:
                raise killed
            world.before["db2.look"] = kill

        world.before["db2.look"] = kill
        with contextlib.suppress(Killed):
            run(world)
        world.before.clear()
        course = run(world)
        if not (world.record and world.record.opened):
            pytest.fail(f"killed after {whole.diary[number - 1]}: {course.ended} {course.why}")
        assert record_of(world) == (2, "db2", True)
