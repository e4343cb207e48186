from __future__ import annotations

from typing import Any

import pytest

from holdfast.failover.guard_look import ALL_READ, BUSY_WORKERS, CHANNELS, LEAVING, STATE, extra, look, peer_of
from holdfast.failover.timers import Marker
from support.guards import A1, B1, B2, LOOK, REPLICA, A, B, reported

STATE_ROW: dict[str, Any] = {
    "server_uuid": A,
    "version": "9.7.4-2",
    "read_only": 0,
    "super_read_only": 0,
    "offline_mode": 0,
    "source_enabled": 1,
    "replica_enabled": 1,
    "gtid_executed": f"{A}:1-9,\n{B}:1",
    "semi_sync": "Rpl_semi_sync_source_clients=1,Rpl_semi_sync_source_wait_sessions=3,Rpl_semi_sync_source_yes_tx=77",
}
CHANNEL: dict[str, Any] = {
    "Channel_Name": "",
    "Source_Host": "10.0.0.2",
    "Source_UUID": "",
    "Source_Log_File": "binlog.000007",
    "Read_Source_Log_Pos": 4711,
    "Replica_IO_Running": "Yes",
    "Replica_SQL_Running": "Yes",
    "Replica_SQL_Running_State": ALL_READ,
    "Last_IO_Error": "",
    "Last_SQL_Error": "",
}


class Answers:
    """A session that answers the guard's questions from tables."""

    def __init__(self, state: dict[str, Any], channels: list[dict[str, Any]], busy: int = 0) -> None:
        self.tables = {STATE: [state], CHANNELS: channels}
        self.busy = busy
        self.asked: list[str] = []

    def rows(self, sql: str, args: object = ()) -> list[dict[str, Any]]:
        self.asked.append(sql)
        return self.tables[sql]

    def value(self, sql: str, args: object = ()) -> Any:
        self.asked.append(sql)
        assert sql == BUSY_WORKERS
        return self.busy


def test_a_primary_takes_two_questions() -> None:
    session = Answers(STATE_ROW, [])
    seen = look(session, A1, {})
    assert session.asked == [STATE, CHANNELS]
    assert (seen.server.instance, seen.server.writable, seen.server.waiting) == (A1, True, 3)
    assert (seen.acknowledged, seen.replicas) == (77, 1)
    assert seen.gtid_executed == f"{A}:1-9,{B}:1"
    assert (seen.server.source_of_channel, seen.server.receiving, seen.server.applier_idle) == ("", False, True)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"receiving": True, "applying": True, "applier_idle": True}),
        ({"Replica_IO_Running": "Connecting"}, {"receiving": True}),
        ({"Replica_IO_Running": "No"}, {"receiving": False}),
        ({"Replica_SQL_Running": "No", "Replica_SQL_Running_State": ""}, {"applying": False, "applier_idle": False}),
        ({"Replica_SQL_Running_State": "Reading event from the relay log"}, {"applier_idle": False}),
        ({}, {"source_of_channel": B}),
        ({"Source_Host": "10.9.9.9", "Source_UUID": "u"}, {"source_of_channel": "u"}),
        ({"Source_Host": "10.9.9.9"}, {"source_of_channel": "the server at 10.9.9.9"}),
    ],
)
def test_a_channel(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    seen = look(Answers(STATE_ROW, [CHANNEL | changes]), A1, {"10.0.0.2": B})
    assert {name: getattr(seen.server, name) for name in expected} == expected


def test_only_a_connected_receiver_is_connected() -> None:
    for state, connected in (("Yes", True), ("Connecting", False), ("No", False)):
        assert look(Answers(STATE_ROW, [CHANNEL | {"Replica_IO_Running": state}]), A1, {}).io_connected is connected


def test_an_applier_with_busy_workers_is_not_idle() -> None:
    assert not look(Answers(STATE_ROW, [CHANNEL], busy=1), A1, {}).server.applier_idle


def test_the_default_channel_counts_and_any_other_is_one_too() -> None:
    named = CHANNEL | {"Channel_Name": "x", "Source_Host": "10.0.0.3"}
    assert look(Answers(STATE_ROW, [named, CHANNEL]), A1, {}).source_host == "10.0.0.2"
    assert look(Answers(STATE_ROW, [named]), A1, {}).source_host == "10.0.0.3"


def test_read_only_of_the_server_is_the_one_that_keeps_everybody_out() -> None:
    seen = look(Answers(STATE_ROW | {"read_only": 1}, []), A1, {})
    assert (seen.read_only, seen.server.read_only) == (True, False)


def test_without_the_plugin_nothing_waits() -> None:
    assert look(Answers(STATE_ROW | {"semi_sync": None}, []), A1, {}).server.waiting == 0


def marker(instance: Any = B1, executed: str | None = f"{A}:1-100") -> Marker:
    made = Marker(2.0)
    made.want(1.0, instance)
    made.executed = executed
    return made


@pytest.mark.parametrize(
    ("report", "mark", "has_mine"),
    [
        (reported(), marker(), True),
        (reported(), marker(executed=None), False),
        (reported(), marker(instance=B2), False),
        (reported(gtid_executed=f"{A}:1-99"), marker(), False),
        (reported(gtid_executed=f"{A}:1-101"), marker(), True),
    ],
)
def test_what_proves_that_the_peer_has_everything(report: Any, mark: Marker, has_mine: bool) -> None:
    peer = peer_of(report, A, LOOK, mark)
    assert peer is not None
    assert peer.has_mine is has_mine


@pytest.mark.parametrize(
    ("report", "streams"),
    [
        (reported(), True),
        (reported(io_connected=False), False),
        (reported(notices=(LEAVING,)), False),
        (reported(server=None), False),
    ],
)
def test_who_streams(report: Any, streams: bool) -> None:
    peer = peer_of(report, A, LOOK, marker())
    assert bool(peer and peer.replicates_from_me) is streams


def test_errant_transactions_are_what_the_other_lacks() -> None:
    peer = peer_of(reported(gtid_executed=f"{A}:1-90"), A, LOOK, marker())
    assert peer is not None
    assert not peer.lacks_nothing_extra
    assert str(extra(LOOK.gtid_executed, f"{A}:1-90")) == f"{A}:91-100"
    assert REPLICA.source_of_channel == A


def test_a_peer_whose_set_is_none_is_an_error() -> None:
    with pytest.raises(ValueError, match="GTID set"):
        peer_of(reported(gtid_executed="nonsense"), A, LOOK, marker())
