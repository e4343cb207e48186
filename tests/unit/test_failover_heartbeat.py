from __future__ import annotations

import time
from pathlib import Path
from typing import Any, cast

import pytest

from holdfast.database import Connection, DatabaseError
from holdfast.failover.heartbeat import COMMIT, DATABASE, FREE_BYTES, TABLE, Beat, Heartbeat, Room, free_bytes, is_grey
from support.hosts import wait_until

LOCK = "Waiting for global read lock"
GREY: dict[str, Any] = {"waiting": 0, "state": "waiting for handler commit", "room_seconds": float("inf")}


@pytest.mark.parametrize(
    ("since", "changes", "grey"),
    [
        (70.0, {}, True),
        (70.1, {}, False),
        (None, {}, False),
        (70.0, {"waiting": 1}, False),  # a follower in a group whose leader waits for the replica looks the same
        (70.0, {"state": "Waiting for semi-sync ACK from replica"}, False),
        (70.0, {"state": LOCK}, False),  # somebody holds it on purpose
        (70.0, {"state": "Waiting for table metadata lock"}, False),
        (70.0, {"room_seconds": 0.0}, False),  # it waits for room
        (10.0, {"room_seconds": 89.0}, False),  # there is some again, which it finds out within a minute
        (10.0, {"room_seconds": 90.0}, True),
    ],
)
def test_when_a_server_can_no_longer_write(since: float | None, changes: dict[str, Any], grey: bool) -> None:
    assert is_grey(Beat(waiting_since=since), 100.0, 30.0, **(GREY | changes)) is grey


def test_how_long_there_has_been_room() -> None:
    room = Room()
    assert room.seconds(100.0, FREE_BYTES) == float("inf")
    assert room.seconds(110.0, FREE_BYTES - 1) == 0
    assert room.seconds(130.0, FREE_BYTES) == 20


class FakeConnection:
    """Takes every statement; `errors` by statement, each once."""

    def __init__(self, *errors: tuple[str, DatabaseError]) -> None:
        self.errors = dict(errors)
        self.done: list[str] = []

    def value(self, sql: str, args: object = ()) -> int:
        return 42

    def execute(self, sql: str, args: object = ()) -> int:
        self.done.append(sql)
        if sql in self.errors:
            raise self.errors.pop(sql)
        return 1

    def close(self) -> None:
        self.done.append("close")


def beating(connection: FakeConnection) -> Heartbeat:
    return Heartbeat("db1", lambda: cast(Connection, connection))


def test_it_makes_its_table_when_there_is_none() -> None:
    connection = FakeConnection((COMMIT, DatabaseError("no such table", number=1146)))
    heart = beating(connection)
    before = time.monotonic()
    heart.once(3)
    assert connection.done == [COMMIT, DATABASE, TABLE, COMMIT]
    assert heart.beat.committed_began >= before
    assert heart.beat.waiting_since is None
    assert heart.beat.session_id == 42


def test_an_error_is_told_and_ends_the_session() -> None:
    connection = FakeConnection((COMMIT, DatabaseError("the table is full", number=1114)))
    heart = beating(connection)
    heart.once(3)
    assert (heart.beat.committed_began, heart.beat.error) == (0.0, "the table is full")
    assert connection.done[-1] == "close"
    heart.once(3)
    assert heart.beat.error == ""


def test_it_writes_only_on_a_primary_and_at_once_when_poked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.failover.heartbeat.INTERVAL_SECONDS", 60.0)
    connection = FakeConnection()
    heart = beating(connection)
    heart.poke()
    time.sleep(0.2)
    assert connection.done == []
    heart.term = 3
    heart.poke()
    wait_until(lambda: connection.done == [COMMIT], "the first commit", every_seconds=0.01)
    heart.term = None
    heart.poke()
    wait_until(lambda: connection.done == [COMMIT, "close"], "it hangs up", every_seconds=0.01)


def test_room_that_cannot_be_told_speaks_against_a_kill(tmp_path: Path) -> None:
    assert free_bytes(tmp_path) > 0
    assert free_bytes(tmp_path / "none") == 0
