from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from holdfast.cluster import ReplicaChannel, ServerState, assess_source, observe, series_of
from holdfast.config import BackupConfig, parse
from holdfast.database import Connection
from holdfast.gtid import GtidSet

UUID = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
CHANNEL = ReplicaChannel(True, True, 0, "", "db1")
STATE = ServerState(
    UUID, "9.7.4", "9.7", False, False, GtidSet.parse(f"{UUID}:1-5"), "binlog.000001", 4, (), 0, Path("/var/lib/mysql")
)
REPLICA = replace(STATE, read_only=True, super_read_only=True, channels=(CHANNEL,))


@pytest.fixture
def policy(configuration: Callable[..., dict[str, Any]]) -> BackupConfig:
    return parse(configuration()).backup


@pytest.mark.parametrize(
    ("state", "age", "work", "reason", "on_primary"),
    [
        (REPLICA, None, True, "healthy replica of db1", False),
        (REPLICA, 0.1, True, "healthy replica of db1", False),
        (replace(REPLICA, channels=(replace(CHANNEL, lag_seconds=600),)), 1, True, "healthy replica of db1", False),
        (
            replace(REPLICA, channels=(replace(CHANNEL, lag_seconds=601),)),
            99,
            False,
            "replica of db1: 601 s behind, 600 s are allowed",
            False,
        ),
        (
            replace(REPLICA, channels=(replace(CHANNEL, lag_seconds=None),)),
            99,
            False,
            "replica of db1: its lag is unknown",
            False,
        ),
        (
            replace(REPLICA, channels=(replace(CHANNEL, io_running=False, last_error="no route"),)),
            1,
            False,
            "replica of db1: the receiver does not run: no route",
            False,
        ),
        (
            replace(REPLICA, channels=(CHANNEL, replace(CHANNEL, sql_running=False, source_host="db3"))),
            1,
            False,
            "replica of db3: the applier does not run",
            False,
        ),
        (
            replace(REPLICA, read_only=False),
            99,
            False,
            "replicates and yet accepts writes, so it may hold transactions of its own",
            False,
        ),
        (
            replace(REPLICA, channels=()),
            99,
            False,
            "read-only and no replica: perhaps an old primary, freshly started",
            False,
        ),
        (
            STATE,
            23.9,
            False,
            "primary: no replica is connected, the last backup is 24 h old; it steps in at 24 h",
            True,
        ),
        (STATE, 24, True, "primary: no replica is connected and the last backup is 24 h old", True),
        (STATE, None, True, "primary: no replica is connected and there is no backup yet", True),
        (
            replace(STATE, connected_replicas=1),
            None,
            False,
            "primary: 1 replica(s) connected, the first backup is theirs",
            True,
        ),
        (
            replace(STATE, connected_replicas=1),
            30,
            False,
            "primary: 1 replica(s) connected, the last backup is 30 h old; it steps in at 48 h",
            True,
        ),
        (
            replace(STATE, connected_replicas=1),
            48,
            True,
            "primary: 1 replica(s) connected and the last backup is 48 h old",
            True,
        ),
    ],
)
def test_who_takes_the_backup(
    state: ServerState, age: float | None, work: bool, reason: str, on_primary: bool, policy: BackupConfig
) -> None:
    verdict = assess_source(state, last_backup_age_hours=age, config=policy)
    assert (verdict.work, verdict.reason, verdict.on_primary) == (work, reason, on_primary)


class Answers:
    """A session that knows the answers of a 9.7 replica."""

    def rows(self, sql: str) -> list[dict[str, Any]]:
        if sql.startswith("SELECT"):
            return [
                {
                    "server_uuid": UUID,
                    "version": "9.7.4-2",
                    "read_only": 1,
                    "super_read_only": 1,
                    "data_directory": "/var/lib/mysql/",
                    "gtid_executed": f"{UUID}:1-5",
                }
            ]
        if sql == "SHOW BINARY LOG STATUS":
            return [{"File": "binlog.000007", "Position": 158}]
        return [
            {
                "Replica_IO_Running": "Connecting",
                "Replica_SQL_Running": "Yes",
                "Seconds_Behind_Source": None,
                "Last_IO_Error": "refused",
                "Last_SQL_Error": "",
                "Source_Host": "10.203.3.11",
            }
        ]

    def value(self, sql: str) -> int:
        del sql
        return 0


def test_observe() -> None:
    assert observe(cast(Connection, Answers())) == ServerState(
        server_uuid=UUID,
        version="9.7.4-2",
        series="9.7",
        read_only=True,
        super_read_only=True,
        gtid_executed=GtidSet.parse(f"{UUID}:1-5"),
        binlog_file="binlog.000007",
        binlog_position=158,
        channels=(ReplicaChannel(False, True, None, "refused", "10.203.3.11"),),
        connected_replicas=0,
        data_directory=Path("/var/lib/mysql"),
    )


def test_series() -> None:
    assert series_of("8.4.6-6") == "8.4"
