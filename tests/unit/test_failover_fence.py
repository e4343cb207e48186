"""The fence against servers in memory: each way, its order, what counts as proof, what is left when a way fails."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from holdfast.failover.fence import FenceRun, MovedOnError
from holdfast.failover.protocol import Fence, FenceStep
from holdfast.failover.record import Record
from support.failover_fakes import UUIDS, World

GENTLE = ["db1.set_read_only", "db1.kill_others", "db1.set_source True"]
BY_SQL = ["db1.go_offline", "db1.kill_others", "db1.set_source False", "db1.set_read_only"]


def elected(*broken: str) -> World:
    """A world just after the swap of term 2 to db2."""
    world = World()
    world.broken |= set(broken)
    world.record = Record(8, 2, UUIDS["db2"], False, world.db["db2"].instance)
    return world


def run(world: World, **options: bool) -> tuple[Fence, FenceRun]:
    site = world.site()
    fence = FenceRun(site, 2, site.hosts["db1"], site.hosts["db2"], **options)
    return fence.run(), fence


@pytest.mark.parametrize(
    ("broken", "robot", "expected", "diary"),
    [
        ((), False, Fence.PROVEN, GENTLE),
        (("db2.io",), False, Fence.PROVEN, ["db1.kill 2"]),
        (("db2.sql",), False, Fence.PROVEN, ["db1.kill 2"]),
        (("db1.set_read_only",), False, Fence.PROVEN, ["db1.kill 2"]),
        (("db1.sql", "db2.io"), False, Fence.PROVEN, ["db1.kill 2"]),
        (("db1.sql directly", "db1.guard directly"), False, Fence.PROVEN, GENTLE),
        (("db2.io", "db1.guard directly"), False, Fence.PROVEN, ["db1.kill 2"]),
        (("db2.io", "db1.guard"), False, Fence.PROVEN, BY_SQL),
        (("db2.io", "db1.kill"), False, Fence.PROVEN, BY_SQL),
        (("db2.io", "db1.guard", "db1.sql directly"), False, Fence.PROVEN, BY_SQL),
        (("db1.sql", "db1.guard"), True, Fence.PROVEN, ["robot db1"]),
        (("db1.sql", "db1.guard"), False, Fence.GIVEN_UP, []),
        (("db1.sql", "db1.guard", "robot"), True, Fence.GIVEN_UP, ["robot db1"]),
        # an account statement hangs in the server: nothing that is set comes back
        (("db2.io", "db1.guard", "db1.go_offline"), True, Fence.PROVEN, ["robot db1"]),
        (("db2.io", "db1.guard", "db1.kill_others"), False, Fence.GIVEN_UP, ["db1.go_offline"] * 3),
        (("db2.io", "db1.guard", "db1.set_read_only"), False, Fence.GIVEN_UP, [*BY_SQL[:3], *BY_SQL[:2], *BY_SQL[:2]]),
    ],
)
def test_the_ways_in_their_order(broken: tuple[str, ...], robot: bool, expected: Fence, diary: list[str]) -> None:
    world = elected(*broken)
    world.robot_knows |= {"db1"} if robot else set()
    fence, done = run(world)
    assert (fence, world.diary) == (expected, diary)
    assert done.proofs[-1].step is FenceStep.UNPROVEN or done.proofs[-1].done
    assert world.said[-1].startswith("fence db1: ")


def test_a_replica_that_does_not_catch_up_is_no_proof() -> None:
    world = elected()
    world.db["db1"].executed = f"{UUIDS['db1']}:1-11"
    assert run(world)[0] is Fence.PROVEN
    assert world.diary == ["db1.set_read_only", "db1.kill 2"]


def test_commits_that_still_wait_are_no_proof() -> None:
    world = elected()
    world.db["db1"].waiting = 2
    assert run(world)[0] is Fence.PROVEN
    assert world.diary == ["db1.set_read_only", "db1.kill 2"]


def test_switches_that_stand_as_wanted_prove_nothing() -> None:
    world = elected("db2.io", "db1.guard")
    db = world.db["db1"]
    db.offline, db.source_enabled, db.read_only = True, False, True
    assert run(world)[0] is Fence.PROVEN
    assert world.diary == ["db1.go_offline", "db1.kill_others"]


def test_a_kill_that_did_not_land_is_seen_and_the_next_way_taken() -> None:
    world = elected("db2.io", "db1.kill lands")
    assert run(world)[0] is Fence.PROVEN
    assert world.diary == ["db1.kill 2", "db1.kill 2", *BY_SQL]


def test_a_server_that_is_down_is_proven_by_its_guard() -> None:
    world = elected("db2.io")
    world.crash("db1", back=False)
    fence, done = run(world)
    assert fence is Fence.PROVEN and "no mysqld ran" in done.proofs[-1].text


@pytest.mark.parametrize("verb", ["go_offline", "kill_others", "set_source False", "set_read_only"])
def test_a_server_that_restarts_between_two_steps_is_fenced_from_the_start(verb: str) -> None:
    world = elected("db2.io", "db1.guard")
    world.before[f"db1.{verb}"] = lambda: world.crash("db1")
    assert run(world)[0] is Fence.PROVEN
    # what booted is read-only, and its sessions have to end too: a guard may be about to open it
    assert world.diary[-3:] == ["db1.go_offline", "db1.kill_others", "db1.set_source False"]


@pytest.mark.parametrize("verb", ["go_offline", "kill_others", "set_source False", "set_read_only"])
def test_a_server_that_dies_between_two_steps_is_not_proven(verb: str) -> None:
    world = elected("db2.io", "db1.guard")
    world.before[f"db1.{verb}"] = lambda: world.crash("db1", back=False)
    assert run(world)[0] is Fence.GIVEN_UP


def moved(world: World) -> Callable[[], None]:
    def move() -> None:
        world.record = Record(9, 3, UUIDS["db1"], True, None)

    return move


def test_a_term_that_moved_on_before_the_fence_ends_it() -> None:
    world = elected()
    moved(world)()
    with pytest.raises(MovedOnError, match="term 3"):
        run(world)
    assert world.diary == []


def test_a_term_that_moves_on_between_login_and_kill_ends_it() -> None:
    world = elected("db2.io", "db1.guard")
    calls = iter(range(9))
    site = world.site()

    def on_second() -> None:
        if next(calls):
            moved(world)()
        else:
            world.before["keeper.record"] = on_second

    world.before["keeper.record"] = on_second
    with pytest.raises(MovedOnError):
        FenceRun(site, 2, site.hosts["db1"], site.hosts["db2"]).run()
    assert world.diary == []


def test_the_records_primary_is_never_fenced() -> None:
    world = elected()
    site = world.site()
    with pytest.raises(MovedOnError, match="is the record's primary"):
        FenceRun(site, 2, site.hosts["db2"], site.hosts["db1"]).run()


@pytest.mark.parametrize("how", ["streams", "in sync"])
def test_a_replica_of_the_successor_is_left_alone(how: str) -> None:
    world = elected()
    world.record = Record(9, 2, UUIDS["db2"], True, world.db["db1"].instance if how == "in sync" else None)
    if how == "streams":
        world.db["db1"].channel, world.db["db1"].receiving = "db2", True
    assert run(world)[0] is Fence.PROVEN
    assert world.diary == []


def test_a_person_who_says_that_it_is_off_is_believed() -> None:
    world = elected("db1.sql", "db1.guard")
    fence, done = run(world, power_is_off=True)
    assert fence is Fence.PROVEN and "a person says" in done.proofs[-1].text


def test_a_dry_run_changes_nothing() -> None:
    world = World()
    site = world.site()
    lines = FenceRun(site, 1, site.hosts["db1"], site.hosts["db2"]).foresee()
    assert world.diary == []
    assert "db1: SQL answers directly, through its peer" in lines
    assert lines[-1].startswith("the fence would begin with: super_read_only=ON")


def test_a_dry_run_without_a_record_says_so() -> None:
    world = World()
    world.record = None
    site = world.site()
    assert "no record" in FenceRun(site, 1, site.hosts["db1"], site.hosts["db2"]).foresee()[0]


@pytest.mark.parametrize(
    ("robot", "expected", "diary"), [(False, Fence.GIVEN_UP, []), (True, Fence.PROVEN, ["robot db1"])]
)
def test_ways_on_which_nobody_answered_a_moment_ago_are_not_asked_again(
    robot: bool, expected: Fence, diary: list[str]
) -> None:
    world = elected()
    world.robot_knows = {"db1"} if robot else set()
    for verb in ("db1.report", "db1.look"):
        world.before[verb] = lambda: pytest.fail("that takes a time limit")
    assert (run(world, no_way_answers=True)[0], world.diary) == (expected, diary)
