"""The guard's loop and its API: the real look, decision and steps against a server and a keeper in memory."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from holdfast.config import Config, parse
from holdfast.database import DatabaseError
from holdfast.errors import ConfigurationError, ToolError
from holdfast.failover import guard_api, own_server
from holdfast.failover.guard import Guard, own_host
from holdfast.failover.guard_alarms import GuardAlarms
from holdfast.failover.guard_look import CHANNELS, STATE
from holdfast.failover.guard_session import SESSIONS, OverdueError
from holdfast.failover.guard_steps import ONLINE, READ_ONLY, SOURCE_OFF, SOURCE_ON
from holdfast.failover.health_service import in_sync_of
from holdfast.failover.heartbeat import Beat
from holdfast.failover.https import RefusedError, Request, UnreachableError
from holdfast.failover.record import Record, SwapAnswer, SwapRequest, decide_swap
from holdfast.failover.surroundings import Seen
from holdfast.failover.wire import GuardReport, WireError, from_json
from support.guards import A1, B1, RECORD, REPORT, A, B

SWITCHES = {
    "SET GLOBAL offline_mode": "offline_mode",
    "SET GLOBAL super_read_only": "super_read_only",
    "SET GLOBAL read_only": "read_only",
    "SET GLOBAL rpl_semi_sync_source_enabled": "source_enabled",
}


class FakeMysqld:
    """A process; `pid` grows with each restart."""

    def __init__(self, number: int = 1) -> None:
        self.instance = replace(A1, process_start=number)
        self.pid = number
        self.runs = True

    def kill(self) -> None:
        self.runs = False

    def wait(self, timeout_seconds: float) -> bool:
        return not self.runs

    def close(self) -> None:
        pass


class FakeSession:
    """The server as a session shows it: switches that SET changes."""

    account = "holdfast_guard"

    def __init__(self, world: World) -> None:
        self.world = world
        self.mysqld = world.mysqld

    def rows(self, sql: str, args: object = ()) -> list[dict[str, Any]]:
        if self.world.error:
            raise self.world.error
        if sql == STATE:
            return [self.world.state]
        assert sql in (CHANNELS, SESSIONS)
        return []

    def value(self, sql: str, args: object = ()) -> Any:
        return self.world.state["gtid_executed"]

    def act(self, sql: str, args: object = ()) -> None:
        self.world.done.append(sql)
        if self.world.hangs:
            raise OverdueError("timed out", number=2013)
        name, _, value = sql.partition(" = ")
        if name in SWITCHES:
            self.world.state[SWITCHES[name]] = int(value == "ON")

    def kill_others(self, *, account: str = "", spare_streams: bool = True) -> None:
        self.world.done.append(f"kill {account or 'all'}")

    def close(self) -> None:
        self.world.done.append("close")


class World:
    """A server, a keeper and a peer in memory, on a clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.record: Record | None = RECORD
        self.keeper_up = True
        self.mysqld = FakeMysqld()
        self.error: DatabaseError | None = None
        self.hangs = False
        self.done: list[str] = []
        self.state: dict[str, Any] = {
            "version": "9.7.4",
            "read_only": 0,
            "super_read_only": 0,
            "offline_mode": 0,
            "source_enabled": 1,
            "replica_enabled": 1,
            "gtid_executed": f"{A}:1-100",
            "semi_sync": "Rpl_semi_sync_source_clients=1",
        }

    def open_session(self, *_: object) -> FakeSession:
        if self.error:
            raise self.error
        if not self.mysqld.runs:
            raise DatabaseError("Connection refused", number=2003)
        return FakeSession(self)

    def take(self) -> list[str]:
        done, self.done = self.done, []
        return done


class FakeKeeper:
    """The real rules over a record in memory."""

    def __init__(self, world: World) -> None:
        self.world = world

    def record(self) -> Record | None:
        if not self.world.keeper_up:
            raise UnreachableError("no route")
        return self.world.record

    def swap(self, request: SwapRequest) -> SwapAnswer:
        if not self.world.keeper_up:
            raise UnreachableError("no route")
        answer = decide_swap(self.world.record, request)
        self.world.record = answer.record
        return answer


class FakeHeartbeat:
    """Commits at once whenever it may."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.term: int | None = None

    @property
    def beat(self) -> Beat:
        return Beat(committed_began=self.world.now)

    def poke(self) -> None:
        pass


class FakeSurroundings:
    """What is seen of the peer."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.report: GuardReport | None = REPORT

    @property
    def seen(self) -> Seen:
        return Seen(self.report, self.world.now, self.world.now, "")

    def ask(self) -> GuardReport:
        if self.report is None:
            raise ToolError("silent")
        return self.report


class NoAlarms:
    """Nobody is told."""

    def begin(self, *_: str) -> None:
        pass

    def end(self, key: str) -> None:
        pass


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def config(configuration: Any, failover_section: Any, tmp_path: Path) -> Config:
    return parse(configuration(failover=failover_section, state_directory=str(tmp_path)))


def made(world: World, config: Config, monkeypatch: pytest.MonkeyPatch) -> Guard:
    monkeypatch.setattr(own_server, "open_session", world.open_session)
    guard = Guard(config, GuardAlarms(NoAlarms()), clock=lambda: world.now)
    guard.keeper = guard._reader = cast(Any, FakeKeeper(world))
    guard.surroundings = cast(Any, FakeSurroundings(world))
    guard._heartbeat = cast(Any, FakeHeartbeat(world))
    return guard


@pytest.fixture
def guard(world: World, config: Config, monkeypatch: pytest.MonkeyPatch) -> Guard:
    return made(world, config, monkeypatch)


def tick(guard: Guard, world: World, times: int = 1, seconds: float = 1.0) -> None:
    for _ in range(times):
        guard.tick()
        world.now += seconds


def test_in_health_nothing_is_done(guard: Guard, world: World) -> None:
    tick(guard, world, 20)
    assert world.done == ["kill holdfast_guard"]  # what an earlier guard has left
    assert guard.memory.highest_term == 3
    report = from_json(GuardReport, guard_api.handler(guard, guard._config.failover, "db1")(request("GET", "/report")))
    assert (report.host, report.server_uuid, report.highest_term) == ("db1", A, 3)
    assert report.server is not None
    assert report.server.writable


def test_a_server_that_was_restarted_is_opened_again(guard: Guard, world: World) -> None:
    tick(guard, world)
    world.mysqld.runs = False
    world.mysqld = FakeMysqld(2)
    world.state.update(read_only=1, super_read_only=1)
    world.take()
    tick(guard, world, 3)
    assert world.take() == [
        "close", "kill holdfast_guard", "kill all", SOURCE_ON, ONLINE,
        "SET GLOBAL super_read_only = OFF", "SET GLOBAL read_only = OFF",
    ]  # fmt: skip
    assert guard.memory.answered is not None
    assert guard.memory.answered.process_start == 2


def test_it_is_not_opened_by_a_record_from_before_the_session(guard: Guard, world: World) -> None:
    tick(guard, world)
    world.mysqld.runs = False
    world.mysqld = FakeMysqld(2)
    world.state.update(read_only=1, super_read_only=1)
    world.keeper_up = False
    world.take()
    tick(guard, world, 10)
    assert world.take() == ["close", "kill holdfast_guard"]


def test_without_the_replica_it_goes_on_by_the_record_and_takes_it_in_again(guard: Guard, world: World) -> None:
    around = cast(FakeSurroundings, guard.surroundings)
    tick(guard, world)
    around.report = None
    world.state["semi_sync"] = "Rpl_semi_sync_source_clients=0,Rpl_semi_sync_source_wait_sessions=2"
    world.take()
    tick(guard, world, 9)
    assert world.take() == []
    tick(guard, world, 3)
    assert world.take() == [SOURCE_OFF]
    assert world.record is not None
    assert world.record.in_sync is None
    assert guard.swapped_alone
    tick(guard, world, 5)
    assert world.take() == []
    again = replace(B1, process_start=2)
    assert REPORT.server is not None
    around.report = replace(REPORT, server=replace(REPORT.server, instance=again))
    world.state["semi_sync"] = "Rpl_semi_sync_source_clients=1"
    tick(guard, world, 5)
    assert world.take() == [SOURCE_ON]
    assert world.record.in_sync == again
    assert not guard.swapped_alone


def test_a_promoted_server_waits_for_nobody(guard: Guard, world: World) -> None:
    world.record = replace(RECORD, in_sync=None)
    world.state.update(read_only=1, super_read_only=1, semi_sync="Rpl_semi_sync_source_clients=0")
    cast(FakeSurroundings, guard.surroundings).report = None
    tick(guard, world, 3, seconds=0.2)
    assert world.take()[-2:] == ["SET GLOBAL read_only = OFF", SOURCE_OFF]


def test_a_guard_looks_often_while_its_server_is_being_promoted_and_not_for_ever(guard: Guard, world: World) -> None:
    world.state.update(read_only=1, super_read_only=1)
    world.record = replace(RECORD, primary=B, opened=False)
    guard.tick()
    assert guard.tick() == 1.0, "another's promotion"
    world.record = replace(RECORD, term=4, opened=False)
    guard.tick()
    assert guard.tick() == 0.2
    world.now += 60
    assert guard.tick() == 1.0, "it is held"
    world.record = replace(RECORD, term=5, opened=False)
    assert guard.tick() == 0.2


def test_without_keeper_and_replica_commits_wait(guard: Guard, world: World) -> None:
    tick(guard, world)
    cast(FakeSurroundings, guard.surroundings).report = None
    world.state["semi_sync"] = "Rpl_semi_sync_source_clients=0,Rpl_semi_sync_source_wait_sessions=2"
    world.keeper_up = False
    world.take()
    tick(guard, world, 30)
    assert world.take() == []
    world.keeper_up = True
    tick(guard, world, 3)
    assert world.take() == [SOURCE_OFF]


def test_a_lost_answer_is_not_taken_for_a_yes(guard: Guard, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    tick(guard, world)
    cast(FakeSurroundings, guard.surroundings).report = None
    world.state["semi_sync"] = "Rpl_semi_sync_source_clients=0"
    keeper = cast(FakeKeeper, guard.keeper)
    real = keeper.swap

    def lost(request: SwapRequest) -> SwapAnswer:
        real(request)
        raise UnreachableError("no answer in time")

    monkeypatch.setattr(keeper, "swap", lost)
    world.take()
    tick(guard, world, 15)
    assert world.record is not None
    assert world.record.in_sync is None
    assert world.take() == []
    monkeypatch.setattr(keeper, "swap", real)
    tick(guard, world, 3)
    assert world.take() == [SOURCE_OFF]


def test_a_statement_that_does_not_come_back_ends_the_server_once(guard: Guard, world: World) -> None:
    tick(guard, world)
    cast(FakeSurroundings, guard.surroundings).report = None
    world.state["semi_sync"] = "Rpl_semi_sync_source_clients=0"
    world.hangs = True
    tick(guard, world, 14)
    assert not world.mysqld.runs
    assert world.done.count(SOURCE_OFF) == 1


@pytest.mark.parametrize(
    ("number", "text", "killed"),
    [
        (2013, "Lost connection (timed out)", True),
        (2003, "Can't connect (timed out)", True),
        (2003, "Can't connect ([Errno 111] Connection refused)", False),
        (1040, "Too many connections", False),
        (1045, "Access denied", False),
        (3032, "The server is currently in offline mode", False),
    ],
)
def test_an_error_is_an_answer(guard: Guard, world: World, number: int, text: str, killed: bool) -> None:
    tick(guard, world)
    world.error = DatabaseError(text, number=number)
    tick(guard, world, 9)
    assert world.mysqld.runs
    tick(guard, world, 30)
    assert world.mysqld.runs is not killed
    assert guard.report().sql_error == text


def test_a_server_that_has_never_answered_is_not_killed(guard: Guard, world: World) -> None:
    world.error = DatabaseError("Lost connection (timed out)", number=2013)
    tick(guard, world, 60)
    assert world.mysqld.runs
    assert (guard.report().server_uuid, guard.report().server) == ("", None)


def test_an_older_record_is_not_followed(guard: Guard, world: World) -> None:
    tick(guard, world)
    world.record = replace(RECORD, term=2, primary=B, in_sync=None)
    world.take()
    tick(guard, world, 5)
    assert world.take() == []
    world.record = replace(RECORD, term=4, primary=B, in_sync=None)
    tick(guard, world, 1)
    assert world.take() == ["SET GLOBAL offline_mode = ON", "kill all", SOURCE_OFF, READ_ONLY]


def test_the_next_guard_remembers_the_term(
    guard: Guard, world: World, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick(guard, world)
    world.record = replace(RECORD, term=2, primary=B)
    another = made(world, config, monkeypatch)
    world.take()
    tick(another, world, 5)
    assert world.take() == ["kill holdfast_guard"]
    assert another.report().highest_term == 3


def test_a_bug_does_not_end_the_guard(guard: Guard, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    class Enough(BaseException):
        pass

    seen = itertools.count()

    def alive() -> None:
        if next(seen) == 3:
            raise Enough

    monkeypatch.setattr(threading.Event, "wait", lambda *_: None)
    monkeypatch.setattr(cast(Any, guard.surroundings), "start", lambda: None, raising=False)
    monkeypatch.setattr(guard, "tick", lambda: 1 / 0)
    with pytest.raises(Enough):
        guard.run(alive)


def request(method: str, path: str, peer: str = "app1", **document: Any) -> Request:
    return Request(peer, method, path, document)


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (request("POST", "/kill", "db2", term=9), "db2 may not ask"),
        (request("POST", "/kill", "db1", term=9), "db1 may not ask"),
        (request("POST", "/leave", "db2"), "db2 may not ask"),
        (request("POST", "/kill", term=3), f"{A} is the primary of term 3"),
        (request("POST", "/kill", term=2), "term 2 is over"),
        (request("GET", "/kill"), "a guard answers"),
        (request("POST", "/leave"), "switch over first"),
    ],
)
def test_what_is_refused(guard: Guard, world: World, asked: Request, error: str) -> None:
    tick(guard, world)
    with pytest.raises(RefusedError, match=error):
        guard_api.handler(guard, guard._config.failover, "db1")(asked)
    assert world.mysqld.runs


@pytest.mark.parametrize("term", [None, "4", 4.0, True, 0, -1])
def test_a_term_that_is_none(guard: Guard, world: World, term: object) -> None:
    tick(guard, world)
    with pytest.raises(WireError, match="term: must be a whole number"):
        guard_api.kill(guard, term)
    assert world.mysqld.runs


def test_a_fence_ends_the_server_and_older_records_with_it(guard: Guard, world: World) -> None:
    tick(guard, world)
    answer = guard_api.handler(guard, guard._config.failover, "db1")(request("POST", "/kill", term=4))
    assert answer["killed"] is True
    assert not world.mysqld.runs
    world.mysqld = FakeMysqld(2)
    world.state.update(read_only=1, super_read_only=1)
    world.take()
    tick(guard, world, 5)  # the keeper still says term 3
    assert world.take() == ["close", "kill holdfast_guard"]


def test_a_replica_leaves(guard: Guard, world: World) -> None:
    tick(guard, world)
    world.record = replace(RECORD, term=4, primary=B, in_sync=A1)
    around = cast(FakeSurroundings, guard.surroundings)
    assert REPORT.server is not None
    around.report = replace(REPORT, server=replace(REPORT.server, source_enabled=False))
    assert guard_api.leave(guard, clock=lambda: world.now) == {"left": True, "primary_goes_on": True}
    assert world.record.in_sync is None
    assert guard.report().notices[0].startswith("leaving")
    before, world.mysqld = world.mysqld, FakeMysqld(2)
    before.runs = False
    tick(guard, world)
    assert guard.report().notices == ()  # it is back
    world.keeper_up = False
    with pytest.raises(RefusedError, match="keeper does not answer"):
        guard_api.leave(guard, clock=lambda: world.now)


def test_the_report_lies_there_for_the_health_responder(guard: Guard, world: World, tmp_path: Path) -> None:
    file = tmp_path / "run" / "guard-report.json"
    tick(guard, world)
    guard_api.publish(guard, file)  # no folder: said in the log, no more
    file.parent.mkdir()
    guard_api.publish(guard, file)
    assert file.stat().st_mode & 0o777 == 0o644
    assert in_sync_of(file, file.stat().st_mtime) is True
    guard.record = replace(RECORD, in_sync=None)
    guard_api.publish(guard, file)
    assert in_sync_of(file, file.stat().st_mtime) is False


def test_a_host_that_is_none_of_the_pair(configuration: Any, failover_section: Any) -> None:
    with pytest.raises(ConfigurationError, match="has no app1"):
        own_host(parse(configuration(failover=failover_section, host="app1")))
