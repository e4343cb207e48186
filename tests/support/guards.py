"""What a guard's unit tests are made of: a pair in health, as its guards see it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from holdfast.failover.guard_look import Look
from holdfast.failover.guard_view import Situation
from holdfast.failover.protocol import Server
from holdfast.failover.record import Instance, Record
from holdfast.failover.wire import GuardReport

A = "aaaaaaaa-0000-0000-0000-000000000001"
B = "bbbbbbbb-0000-0000-0000-000000000002"
A1, B1, B2 = Instance(A, "boot", 1), Instance(B, "boot", 1), Instance(B, "boot", 2)
RECORD = Record(7, 3, A, True, B1)
PRIMARY = Server(A1, False, False, True, 0, "", False, False, True)
REPLICA = Server(B1, True, False, False, 0, A, True, True, True)
LOOK = Look(PRIMARY, False, True, "9.7.4", f"{A}:1-100", 50, 1, "", False, "", "")
REPLICA_LOOK = replace(
    LOOK, server=REPLICA, read_only=True, source_host="10.0.0.1", io_connected=True, received_position="binlog.1:500"
)
REPORT = GuardReport(
    host="db2",
    server_uuid=B,
    highest_term=3,
    server=REPLICA,
    gtid_executed=f"{A}:1-100",
    received_position="binlog.1:500",
    sql_error="",
    source_host="10.0.0.1",
    io_connected=True,
    in_sync_view="",
    version="9.7.4",
    swapped_alone=False,
    seconds_since_sql=0.1,
    notices=(),
)
SITUATION = Situation(
    now=100.0,
    me=A,
    record=RECORD,
    fresh=True,
    session_holds=True,
    swapped_alone=False,
    seen=LOOK,
    report=REPORT,
    observed_runs=True,
)


def reported(server: Server | None = REPLICA, **changes: Any) -> GuardReport:
    """Return the peer's report of such a server."""
    return replace(REPORT, server=server, **changes)


def looked(server: Server = PRIMARY, **changes: Any) -> Look:
    """Return a look at such a server."""
    return replace(LOOK, **{"server": server, "read_only": server.read_only, **changes})
