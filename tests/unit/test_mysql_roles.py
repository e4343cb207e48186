"""What the two MySQL roles decide, as tables: which servers may be touched, and which variables differ."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROLES = Path(__file__).parents[2] / "roles"


def load(path: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


cluster = load(ROLES / "mysql_replication/filter_plugins/mysql_cluster.py")
variables = load(ROLES / "mysql_server/filter_plugins/mysql_variables.py")

ADDRESSES = {"db1": "10.0.0.1", "db2": "10.0.0.2"}


def server(host: str, **facts: Any) -> dict[str, Any]:
    blank: dict[str, Any] = {
        "host": host,
        "address": ADDRESSES[host],
        "answers": True,
        "version": "9.7.4",
        "server_uuid": f"uuid-{host}",
        "writable": False,
        "sealed": True,
        "gtid_executed": "",
        "channels": [],
        "schemas": [],
        "accounts": 0,
        "foreign_tables": [],
        "clones": True,
    }
    return blank | facts


def primary(host: str = "db1", **facts: Any) -> dict[str, Any]:
    usual = {"writable": True, "sealed": False, "gtid_executed": "uuid-db1:1-9", "schemas": ["shop"], "accounts": 5}
    return server(host, **(usual | facts))


def replica(host: str = "db2", source: str = "10.0.0.1", **facts: Any) -> dict[str, Any]:
    channel = {"channel": "", "source": source, "receiver": "ON", "applier": "ON", "error": ""}
    usual = {"gtid_executed": "uuid-db1:1-9", "schemas": ["shop"], "accounts": 5, "channels": [channel]}
    return server(host, **(usual | facts))


def holder(host: str = "db2", **facts: Any) -> dict[str, Any]:
    return replica(host, **({"channels": []} | facts))


def decide(*servers: dict[str, Any], errant: dict[str, str] | None = None, cloned: dict[str, str] | None = None) -> Any:
    return cluster.decide(servers, "db1", errant or {}, cloned or {})


@pytest.mark.parametrize(
    ("servers", "action", "leader", "seed"),
    [
        ([server("db1"), server("db2")], "bootstrap", "db1", ["db2"]),
        ([server("db1", gtid_executed="uuid-db1:1-3"), server("db2")], "bootstrap", "db1", ["db2"]),
        ([primary(), server("db2")], "bootstrap", "db1", ["db2"]),
        ([primary(), server("db2", gtid_executed="uuid-db2:1-3")], "bootstrap", "db1", ["db2"]),
        ([primary(), replica()], "keep", "db1", []),
        ([replica("db1", source="10.0.0.2"), primary("db2")], "keep", "db2", []),
        ([primary(), replica(source="db1")], "keep", "db1", []),
    ],
)
def test_a_cluster_that_is_understood(servers: list[dict[str, Any]], action: str, leader: str, seed: list[str]) -> None:
    decision = decide(*servers)
    assert (decision["action"], decision["primary"], decision["seed"]) == (action, leader, seed)
    assert decision["problems"] == []


@pytest.mark.parametrize(
    ("servers", "errant", "words"),
    [
        ([primary(), primary("db2")], {}, "db1 and db2 are writable"),
        ([holder("db1"), replica()], {}, "No server is writable, though there is data on db1 and db2"),
        ([holder("db1"), server("db2")], {}, "No server is writable, though there is data on db1"),
        ([replica("db1", source="10.0.0.2", writable=True), holder("db2")], {}, "db1 is writable and replicates"),
        ([primary(), replica(source="10.9.9.9")], {}, "db2 replicates from 10.9.9.9, which is not the primary db1"),
        ([primary(), replica()], {"db2": "uuid-db2:1"}, "db2 has transactions that the primary db1 lacks: uuid-db2:1"),
        ([primary(), holder()], {}, "db2 holds data and replicates from nobody"),
        ([primary(), server("db2", schemas=["theirs"])], {}, "db2 holds data and replicates from nobody"),
        ([primary(), replica(sealed=False)], {}, "db2 has super_read_only=OFF though db1 is the primary"),
        (
            [primary(foreign_tables=["shop.old (MyISAM)"]), server("db2")],
            {},
            "on db1 convert or drop shop.old (MyISAM)",
        ),
    ],
)
def test_a_cluster_that_is_refused(servers: list[dict[str, Any]], errant: dict[str, str], words: str) -> None:
    decision = decide(*servers, errant=errant)
    assert decision["action"] == "refuse"
    assert words in " ".join(decision["problems"])


def test_an_interrupted_seeding_goes_on_only_when_the_clone_is_untouched() -> None:
    assert decide(primary(), holder(), cloned={"db2": "uuid-db1:1-9"})["attach"] == ["db2"]
    assert decide(primary(), holder(), cloned={"db2": "uuid-db1:1-8"})["action"] == "refuse"


def test_a_silent_server_leaves_everything_open() -> None:
    silent = {"host": "db2", "address": "10.0.0.2", "answers": False}
    assert decide(primary(), silent)["action"] == "unknown"
    assert decide(server("db1"), silent) | {"notices": []} == {
        "action": "unknown",
        "primary": "",
        "seed": [],
        "attach": [],
        "replicas": [],
        "problems": [],
        "notices": [],
        "silent": ["db2"],
    }


def test_stopped_replication_is_told_and_not_refused() -> None:
    channel = {"channel": "", "source": "10.0.0.1", "receiver": "OFF", "applier": "ON", "error": "error 1045"}
    decision = decide(primary(), replica(channels=[channel]))
    assert decision["action"] == "keep"
    assert decision["notices"] == ["db2: replication does not run (receiver OFF, applier ON). error 1045"]


def test_answers_become_records_in_the_order_of_the_questions() -> None:
    state = {"server_uuid": "u", "version": "9.7.4", "read_only": 1, "super_read_only": 1, "gtid_executed": "u:1,\nv:2"}
    rows = [[state], [], [{"name": "shop"}], [{"name": "shop.t (MyISAM)"}], [{"strangers": 2}], [{"name": "clone"}]]
    answers = [{"item": {"item": "db1"}, "query_result": rows}, {"item": {"item": "db2"}, "skipped": True}]
    first, second = cluster.observe(answers, ADDRESSES)
    assert (first["gtid_executed"], first["writable"], first["sealed"], first["clones"]) == (
        "u:1,v:2",
        False,
        True,
        True,
    )
    assert second == {"host": "db2", "address": "10.0.0.2", "answers": False}
    assert cluster.primary_of([first | {"writable": True}, second]) == "db1"


def test_as_many_questions_are_asked_as_answers_are_read() -> None:
    text = (ROLES / "mysql_replication/vars/main.yml").read_text()
    questions = text.split("__mysql_replication_questions:")[1].split("\n  - ")
    assert len(questions) - 1 == 6


@pytest.mark.parametrize(
    ("name", "wanted", "running"),
    [
        ("innodb_buffer_pool_size", "256M", "268435456"),
        ("long_query_time", 2, "2.000000"),
        ("long_query_time", "0.5", "0.500000"),
        ("slow_query_log", True, "ON"),
        ("gtid_mode", "on", "ON"),
        ("local_infile", 0, "OFF"),
        ("sql_mode", "B,A", "A,B"),
        ("log_bin", "binlog", "ON"),
        ("relay_log", "relay", "/var/lib/mysql/relay"),
        ("default_time_zone", "+00:00", "+00:00"),
    ],
)
def test_values_that_mean_the_same(name: str, wanted: Any, running: str) -> None:
    shown = {"time_zone" if name == "default_time_zone" else name: running}
    assert variables.differences({name: wanted}, shown, []) == []


def test_differences_are_named_with_the_value_that_set_global_takes() -> None:
    wanted = {"max_connections": 400, "back_log": "1K", "read_only": "ON", "mysqlx": "OFF"}
    running = {"max_connections": "500", "back_log": "80", "read_only": "OFF"}
    assert variables.differences(wanted, running, ["read_only"]) == [
        {"name": "back_log", "value": "1024", "running": "80", "static": True},
        {"name": "max_connections", "value": "400", "running": "500", "static": False},
    ]


def test_a_pool_is_compared_as_the_server_rounds_it() -> None:
    pool = {"innodb_buffer_pool_chunk_size": "134217728", "innodb_buffer_pool_instances": "2"}
    wanted = {"innodb_buffer_pool_size": "300M"}
    assert variables.differences(wanted, pool | {"innodb_buffer_pool_size": str(512 << 20)}, []) == []
    assert variables.differences(wanted, pool | {"innodb_buffer_pool_size": str(256 << 20)}, [])


def test_what_a_restart_would_change_is_read_from_the_files_that_the_server_reads() -> None:
    lines = [
        "--user=mysql",
        "--back-log=80",
        "--back_log=99",
        "--max_connections=400",
        "--skip-name-resolve",
        "--read_only=ON",
    ]
    running = {"back_log": "80", "max_connections": "500", "skip_name_resolve": "ON", "read_only": "OFF"}
    assert variables.pending(lines, running, [], ["read_only"]) == ["back_log", "max_connections"]
    by_hand = {"name": "max_connections", "source": "DYNAMIC", "path": ""}
    assert variables.pending(lines, running, [by_hand], ["read_only"]) == ["back_log"]
    assert variables.pending([], running, [], []) == []


def test_what_a_file_no_longer_says_waits_for_a_restart_too() -> None:
    row = {"name": "back_log", "source": "GLOBAL", "path": "/etc/mysql/mysql.conf.d/a.cnf"}
    assert variables.pending([], {"back_log": "99"}, [row], []) == ["back_log"]
    assert variables.pending(["--back_log=99"], {"back_log": "99"}, [row], []) == []
    assert variables.pending([], {"back_log": "99"}, [row], ["back_log"]) == []
    renamed = [row | {"name": "log_slave_updates"}, row | {"name": "log_replica_updates"}]
    assert variables.pending(["--log-replica-updates=ON"], {"log_replica_updates": "ON"}, renamed, []) == []


def test_persisted_names_are_read_from_every_section() -> None:
    entry = {"Value": "1", "Metadata": {"User": "root"}}
    text = json.dumps(
        {
            "Version": 2,
            "mysql_dynamic_variables": {"max_connections": entry},
            "mysql_static_variables": {"back_log": entry},
            "mysql_server": {"mysql_server_static_options": {"port": entry}},
        }
    )
    assert variables.persisted_names(text) == ["back_log", "max_connections", "port"]


def test_privileges_are_written_one_way() -> None:
    assert variables.privileges({"shop.*": ["select", "INSERT"], "a.b": "Select, update"}) == {
        "shop.*": "SELECT,INSERT",
        "a.b": "SELECT,UPDATE",
    }
