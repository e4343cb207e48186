"""What must be true of the pair after mysql_replication, whichever of the two is the primary."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import pytest

LAB = os.environ.get("HOLDFAST_LAB") or "1"
ADDRESSES = {"db1": f"10.203.{LAB}.11", "db2": f"10.203.{LAB}.12"}
testinfra_hosts = ["local://"]


@dataclass(frozen=True)
class Server:
    """One server of the pair, asked as root over its socket."""

    name: str
    host: Any

    def value(self, query: str) -> str:
        """Return the one value of a query, without the line breaks that MySQL puts into GTID sets."""
        arguments = "mysql --no-defaults --batch --raw --skip-column-names --execute %s"
        return "".join(str(self.host.check_output(arguments, query)).split("\n"))


@pytest.fixture(scope="module")
def pair(host: Any) -> tuple[Server, Server]:
    """Return primary and replica. Fails unless exactly one server is writable."""
    servers = [Server(name, host.get_host(f"podman://holdfast{LAB}-{name}")) for name in ADDRESSES]
    writable = [server for server in servers if server.value("SELECT @@GLOBAL.read_only") == "0"]
    assert [server.name for server in writable] in (["db1"], ["db2"])
    return writable[0], next(server for server in servers if server is not writable[0])


def test_the_replica_accepts_no_write_and_the_primary_has_no_source(pair: tuple[Server, Server]) -> None:
    primary, replica = pair
    assert replica.value("SELECT @@GLOBAL.super_read_only") == "1"
    assert primary.value("SELECT COUNT(*) FROM performance_schema.replication_connection_configuration") == "0"


def test_the_replica_follows_the_primary_over_tls_by_gtid(pair: tuple[Server, Server]) -> None:
    primary, replica = pair
    query = (
        "SELECT CONCAT_WS(' ', HOST, USER, SSL_ALLOWED, AUTO_POSITION, CONNECTION_RETRY_INTERVAL) "
        "FROM performance_schema.replication_connection_configuration"
    )
    assert replica.value(query) == f"{ADDRESSES[primary.name]} holdfast_replication YES 1 2"


def test_receiver_and_applier_run(pair: tuple[Server, Server]) -> None:
    query = (
        "SELECT CONCAT_WS(' ', c.SERVICE_STATE, a.SERVICE_STATE) "
        "FROM performance_schema.replication_connection_status c "
        "JOIN performance_schema.replication_applier_status a USING (CHANNEL_NAME)"
    )
    assert pair[1].value(query) == "ON ON"


def test_a_commit_arrives_and_is_acknowledged(pair: tuple[Server, Server]) -> None:
    primary, replica = pair
    primary.value("CREATE DATABASE holdfast_probe; DROP DATABASE holdfast_probe")
    executed = primary.value("SELECT @@GLOBAL.gtid_executed")
    assert replica.value(f"SELECT WAIT_FOR_EXECUTED_GTID_SET('{executed}', 20)") == "0"
    status = "SELECT VARIABLE_VALUE FROM performance_schema.global_status WHERE VARIABLE_NAME = "
    assert primary.value(f"{status}'Rpl_semi_sync_source_status'") == "ON"
    assert int(primary.value(f"{status}'Rpl_semi_sync_source_clients'")) >= 1
    assert replica.value(f"{status}'Rpl_semi_sync_replica_status'") == "ON"


def test_the_replica_has_no_transaction_of_its_own(pair: tuple[Server, Server]) -> None:
    primary, replica = pair
    theirs = replica.value("SELECT @@GLOBAL.gtid_executed")
    assert primary.value(f"SELECT GTID_SUBTRACT('{theirs}', @@GLOBAL.gtid_executed)") == ""


def test_the_servers_are_two(pair: tuple[Server, Server]) -> None:
    primary, replica = pair
    for identity in ("server_uuid", "server_id"):
        assert primary.value(f"SELECT @@GLOBAL.{identity}") != replica.value(f"SELECT @@GLOBAL.{identity}")
