"""What `recover_datacenter` refuses, which target it restores to, and what it says before and after."""

from __future__ import annotations

import json
from typing import Any

import pytest

from unit.test_mysql_roles import ROLES, cluster, holder, load, primary, replica, server

plays = load(ROLES.parent / "playbooks/filter_plugins/recover_datacenter.py")
HOSTS = ["db1", "db2"]
ASKED: dict[str, Any] = {
    "hosts": HOSTS, "host": "db1", "confirm": "", "holding": [], "leftovers": [], "to": "", "backup": "",
    "done": False, "without_binlogs": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"host": ""}, "one of db1, db2 (it was '')"),
        ({"host": "app1"}, "it was 'app1'"),
        ({"confirm": "db2"}, "recover_host is db1, but confirm is 'db2'"),
        ({"to": "2026-11-23 15:04:05 UTC", "without_binlogs": True}, "different targets"),
        ({"backup": "x", "without_binlogs": True}, "different targets"),
        ({"holding": ["db2"]}, "db2 runs MySQL with data"),
        ({"holding": ["db1"]}, "empty /var/lib/mysql"),
        ({"leftovers": ["db1"]}, "db1 does not answer, but its data files are there"),
    ],
)
def test_it_refuses(changes: dict[str, Any], words: str) -> None:
    found = plays.problems(**(ASKED | changes))
    assert len(found) == 1
    assert words in found[0]


@pytest.mark.parametrize("changes", [{}, {"confirm": "db1"}, {"host": "db2"}, {"done": True, "holding": HOSTS}])
def test_it_takes_empty_hosts_and_goes_on_where_it_broke_off(changes: dict[str, Any]) -> None:
    assert plays.problems(**(ASKED | changes)) == []


@pytest.mark.parametrize(
    ("servers", "hosts"),
    [
        ([server("db1"), server("db2")], []),
        ([server("db1", gtid_executed="uuid-db1:1-3"), {"host": "db2", "answers": False}], []),
        ([server("db1", gtid_executed="uuid-db2:1-3"), server("db2")], ["db1"]),
        ([primary(), replica()], ["db1", "db2"]),
        ([server("db1"), holder()], ["db2"]),
    ],
)
def test_a_server_that_holds_something_is_known(servers: list[dict[str, Any]], hosts: list[str]) -> None:
    assert cluster.holding(servers) == hosts


@pytest.mark.parametrize(
    ("to", "backup", "without", "argv", "words"),
    [
        ("", "", False, ["--last"], "everything that was archived"),
        ("2026-11-23 15:04 UTC", "", False, ["--to-time", "2026-11-23 15:04 UTC"], "before 2026-11-23 15:04 UTC"),
        ("", "", True, ["--backup", "newest"], "the newest whole backup as it is, WITHOUT any binary logs"),
        ("", "some-full", False, ["--backup", "some-full"], "backup some-full as it is, WITHOUT any binary logs"),
    ],
)
def test_the_target(to: str, backup: str, without: bool, argv: list[str], words: str) -> None:
    assert plays.target(to, backup, without_binlogs=without) == argv
    lines = plays.intent(HOSTS, "db1", to, backup, done=False, without_binlogs=without)
    assert words in lines[0] and lines[0].endswith("db2 is cloned from it.")


def test_a_second_run_says_that_nothing_is_restored_again() -> None:
    assert "by an earlier run" in "".join(plays.intent(HOSTS, "db1", "", "", done=True, without_binlogs=False))


@pytest.mark.parametrize(
    ("text", "term"), [("", 1001), ("{}", 1001), ("[1]", 1001), (json.dumps({"record": {"term": 7}}), 1007)]
)
def test_the_new_record_begins_beyond_every_term_of_before(text: str, term: int) -> None:
    assert plays.first_term(text) == term


def test_the_report_has_the_moment_the_times_and_what_is_left_to_do() -> None:
    noted = {
        "plan": {"reaches": "2026-11-23T14:04:05Z", "backup": "b", "binlogs": ["x", "y"], "seconds": 61},
        "install_seconds": 90.4,
        "restore_seconds": 30,
    }
    lines = plays.report(noted, "db1", HOSTS, ["shop.clean_up"], 120, 240.4)
    text = "\n".join(lines)
    assert "is of 2026-11-23T14:04:05Z, from b and 2 binary logs" in text
    assert "4 min 0 s in all: 1 min 30 s for packages and plan, 30 s for the restore (planned 1 min 1 s)" in text
    assert "shop.clean_up" in text and "mysql-backup-full on db2" in lines[-1]
    assert len(plays.report(noted, "db1", HOSTS, [], 120, 240)) == len(lines) - 1
