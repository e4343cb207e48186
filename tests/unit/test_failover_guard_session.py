from __future__ import annotations

import time
from pathlib import Path
from typing import Any, cast

import pytest

from holdfast.database import Connection, DatabaseError
from holdfast.errors import ConfigurationError
from holdfast.failover import guard_session, guard_steps
from holdfast.failover.guard_session import OverdueError, Session, lingers
from holdfast.failover.mysqld import Mysqld

WAITS = "Waiting for semi-sync ACK from replica"


class FakeServer:
    """Stands in for a connection: sessions that KILL ends, and every statement in its order."""

    def __init__(self, *sessions: tuple[int, str, str, str], stubborn: tuple[int, ...] = ()) -> None:
        self.sessions: dict[int, dict[str, Any]] = {
            one[0]: dict(zip(("id", "user", "command", "state"), one, strict=True), info="INSERT INTO x")
            for one in sessions
        }
        self.stubborn = stubborn
        self.done: list[str] = []
        self.errors: dict[str, DatabaseError] = {}
        self.gone: set[int] = set()

    def rows(self, sql: str, args: object = ()) -> list[dict[str, Any]]:
        assert sql == guard_session.SESSIONS
        return list(self.sessions.values())

    def execute(self, sql: str, args: object = ()) -> int:
        self.done.append(sql)
        if sql in self.errors:
            raise self.errors[sql]
        if sql.startswith("KILL"):
            target = int(sql.split()[1])
            session = self.sessions[target]
            if target in self.gone:
                del self.sessions[target]
                raise DatabaseError("Unknown thread id", number=guard_session.NO_SUCH_THREAD)
            if not session["state"].startswith("Waiting for semi-sync") and target not in self.stubborn:
                del self.sessions[target]
        return 0

    def close(self) -> None:
        self.done.append("close")


def session_of(server: FakeServer, limit_seconds: float = 0.3) -> Session:
    return Session(cast(Connection, server), cast(Mysqld, None), "holdfast_guard", limit_seconds)


def everybody() -> FakeServer:
    return FakeServer(
        (5, "event_scheduler", "Daemon", ""),
        (6, "system user", "Connect", "Replica has read all relay log"),
        (11, "shop", "Query", WAITS),
        (12, "root", "Sleep", ""),
        (13, "holdfast_guard", "Sleep", ""),
        (14, "holdfast_replication", "Binlog Dump GTID", "Source has sent all binlog"),
    )


def test_every_session_is_ended_but_mysql_s_own_and_the_streams() -> None:
    server = everybody()
    session_of(server).kill_others()
    assert server.done == ["KILL 11", "KILL 12", "KILL 13"]
    assert server.sessions.keys() == {5, 6, 11, 14}


def test_a_fence_spares_no_stream() -> None:
    server = everybody()
    session_of(server).kill_others(spare_streams=False)
    assert "KILL 14" in server.done


def test_what_an_earlier_guard_has_left_is_ended() -> None:
    server = everybody()
    session_of(server).kill_others(account="holdfast_guard")
    assert server.done == ["KILL 13"]


def test_a_session_that_is_gone_by_then_is_no_error() -> None:
    server = everybody()
    server.gone = {12}
    session_of(server).kill_others()
    server = everybody()
    server.errors["KILL 12"] = DatabaseError("not allowed", number=1095)
    with pytest.raises(DatabaseError, match="not allowed"):
        session_of(server).kill_others()


def test_a_session_that_does_not_end_is_told_by_name() -> None:
    server = FakeServer((21, "root", "Query", "Waiting for acl lock"), stubborn=(21,))
    with pytest.raises(OverdueError, match=r"do not end: 21 \(root: Query, Waiting for acl lock\)"):
        session_of(server).kill_others()


def test_a_statement_that_takes_too_long_is_overdue(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter((0.0, 5.0, 10.0, 10.1))
    monkeypatch.setattr(time, "monotonic", lambda: next(times))
    server = FakeServer()
    server.errors["SET x"] = DatabaseError("Lost connection (timed out)", number=2013)
    with pytest.raises(OverdueError):
        session_of(server, 5.0).act("SET x")
    with pytest.raises(DatabaseError) as caught:
        session_of(server, 5.0).act("SET x")
    assert not isinstance(caught.value, OverdueError)


@pytest.mark.parametrize(
    ("info", "state", "expected"),
    [
        ("INSERT INTO orders", WAITS, True),
        ("", WAITS, True),
        ("COMMIT", "waiting for handler commit", True),  # behind one that waits
        ("ALTER USER x", WAITS, True),
        ("set global x = 1", "waiting for handler commit", False),
        ("STOP REPLICA", "Killing replica", False),  # its effect still comes, on the applier at least (seen)
        ("RESET REPLICA ALL", "starting", False),
        ("SET GLOBAL x = 1", "Waiting for acl cache lock", False),
        ("DELETE FROM orders", "updating", False),
    ],
)
def test_what_may_linger(info: str, state: str, expected: bool) -> None:
    assert lingers({"info": info, "state": state}) is expected


KILLS = ["KILL 12"]
STEPS: list[tuple[Any, list[str]]] = [
    (guard_steps.go_offline, [guard_steps.OFFLINE, *KILLS]),
    (guard_steps.finish_fence, [guard_steps.OFFLINE, *KILLS, guard_steps.SOURCE_OFF, guard_steps.READ_ONLY]),
    (lambda s: guard_steps.lift_offline(s, has_channel=False), [*KILLS, guard_steps.SOURCE_ON, guard_steps.ONLINE]),
    (lambda s: guard_steps.lift_offline(s, has_channel=True), [*KILLS, guard_steps.ONLINE]),
    (
        lambda s: guard_steps.open_server(s, swapped_alone=False),
        [*KILLS, guard_steps.SOURCE_ON, guard_steps.ONLINE, guard_steps.NOT_SUPER_READ_ONLY, guard_steps.NOT_READ_ONLY],
    ),
    (
        lambda s: guard_steps.open_server(s, swapped_alone=True),
        [*KILLS, guard_steps.ONLINE, guard_steps.NOT_SUPER_READ_ONLY, guard_steps.NOT_READ_ONLY],
    ),
    (guard_steps.acknowledge_alone, [guard_steps.SOURCE_OFF]),
    (guard_steps.arm, [guard_steps.SOURCE_ON]),
    (
        lambda s: guard_steps.start_replica(s, replica_enabled=True),
        [*KILLS, guard_steps.SOURCE_OFF, "START REPLICA"],
    ),
    (
        lambda s: guard_steps.start_replica(s, replica_enabled=False),
        [*KILLS, guard_steps.SOURCE_OFF, guard_steps.REPLICA_ON, "STOP REPLICA IO_THREAD", "START REPLICA"],
    ),
]


@pytest.mark.parametrize(("step", "statements"), STEPS)
def test_the_order_of_each_step(step: Any, statements: list[str]) -> None:
    server = FakeServer((12, "root", "Sleep", ""))
    step(session_of(server))
    assert server.done == statements


def test_attaching(configuration_host: Any) -> None:
    server = FakeServer((12, "root", "Sleep", ""))
    account = guard_steps.Account("holdfast_replication", "secret")
    guard_steps.attach(session_of(server), configuration_host, account, Path("/tls/ca.pem"))
    assert server.done == [
        "KILL 12",
        guard_steps.SOURCE_OFF,
        guard_steps.REPLICA_ON,
        guard_steps.CHANGE_SOURCE,
        "START REPLICA",
    ]
    assert "secret" not in repr(account)


@pytest.fixture
def configuration_host() -> Any:
    """The peer."""
    from holdfast.config_failover import DatabaseHostConfig

    return DatabaseHostConfig("db1", "10.0.0.1", 3306, 33062, 7331, 3307, 7332, 7333)


def test_the_account_is_read_as_mysql_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "account.cnf"
    file.write_text('[client]\nuser=holdfast_replication\npassword="p#\'w"\n')
    assert guard_steps.account_in(file) == guard_steps.Account("holdfast_replication", "p#'w")
    file.write_text("[mysql]\nuser=x\n")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        guard_steps.account_in(file)
