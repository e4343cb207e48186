"""What `rebuild_replica` refuses and what its plan says, from what servers and record say of themselves."""

from __future__ import annotations

from typing import Any

import pytest

from unit.test_mysql_roles import ROLES, load, primary, replica, server

rebuild = load(ROLES / "mysql_replication/filter_plugins/mysql_rebuild.py")

HEALTHY = [primary(), replica()]
SILENT = {"host": "db2", "address": "10.0.0.2", "answers": False}
ERROR = {"channel": "", "source": "10.0.0.1", "receiver": "ON", "applier": "OFF", "error": "1062, duplicate key"}


def told(named: str = "db1", *, opened: bool = True, in_sync: str = "") -> dict[str, Any]:
    """Return what `mysql-keeper show --json` prints."""
    instance = {"server_uuid": f"uuid-{in_sync}"} if in_sync else None
    record = {"primary": f"uuid-{named}", "opened": opened, "in_sync": instance}
    return {"record": record, "hosts": {"uuid-db1": "db1", "uuid-db2": "db2"}}


@pytest.mark.parametrize(
    ("servers", "host", "record", "words"),
    [
        (HEALTHY, "", {}, "No host is none of the servers db1, db2"),
        (HEALTHY, "db3", {}, "db3 is none of the servers"),
        ([primary(), SILENT], "db2", {}, "does not answer"),
        (HEALTHY, "db1", {}, "db1 takes writes"),
        (HEALTHY, "db1", told(), "db1 takes writes"),
        ([primary(), replica(writable=True)], "db2", told(), "db2 takes writes"),
        ([server("db1"), replica()], "db2", told(), "but it is none"),
        ([SILENT | {"host": "db1"}, replica()], "db2", told(), "but it is none"),
        (HEALTHY, "db2", told("db2"), "the record's primary is db2"),
        (HEALTHY, "db2", told(opened=False), "A promotion of db1 is under way"),
        ([primary(foreign_tables=["shop.old (MyISAM)"]), replica()], "db2", told(), "shop.old (MyISAM)"),
        ([primary(), replica(clones=False)], "db2", told(), "no clone plugin"),
    ],
)
def test_it_refuses(servers: list[dict[str, Any]], host: str, record: dict[str, Any], words: str) -> None:
    found = rebuild.problems(servers, host, record)
    assert len(found) == 1
    assert words in found[0]


@pytest.mark.parametrize(
    "servers",
    [HEALTHY, [primary(), server("db2")], [primary(), replica(channels=[])], [primary(), replica(channels=[ERROR])]],
)
@pytest.mark.parametrize("record", [{}, told(), told(in_sync="db2")])
def test_it_takes_a_server_that_stays_out_and_one_in_health(
    servers: list[dict[str, Any]], record: dict[str, Any]
) -> None:
    assert rebuild.problems(servers, "db2", record) == []


@pytest.mark.parametrize(
    ("replica_", "errant", "record", "salvage", "words"),
    [
        (replica(channels=[]), "", {}, True, "no transaction that db1 lacks"),
        (replica(channels=[]), "uuid-db2:1-3", told(), True, "uuid-db2:1-3: saved offsite first"),
        (replica(channels=[]), "uuid-db2:1-3", told(), False, "uuid-db2:1-3: LOST"),
        (replica(), "", told(in_sync="db2"), True, "The record counts on it"),
        (replica(), "", told(in_sync="db2"), True, "is it really the one that you mean?"),
        (replica(channels=[ERROR]), "", told(), True, "1062, duplicate key"),
    ],
)
def test_the_plan_says_what_is_lost_and_what_is_in_danger(
    replica_: dict[str, Any], errant: str, record: dict[str, Any], salvage: bool, words: str
) -> None:
    lines = rebuild.plan([primary(), replica_], "db2", errant, record, salvage=salvage)
    assert lines[0].startswith("ALL DATA of db2 is erased")
    assert lines[-1] == "Until it has caught up nobody can replace db1, should that die."
    assert any(words in line for line in lines), lines
