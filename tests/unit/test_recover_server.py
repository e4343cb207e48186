"""What `recover_server` refuses, and what its plan says."""

from __future__ import annotations

from typing import Any

import pytest

from unit.test_mysql_roles import ROLES, cluster, holder, load, primary, replica, server

plays = load(ROLES.parent / "playbooks/filter_plugins/recover_server.py")
SILENT = {"host": "db2", "address": "10.0.0.2", "answers": False, "channels": []}


def asked(
    servers: list[dict[str, Any]], host: str = "db2", source: str = "clone", confirm: str = "", **more: Any
) -> Any:
    leads, holding = cluster.primary_of(servers), cluster.holding(servers)
    return plays.problems(servers, host, leads, holding, source, confirm, **({"left": False} | more))


@pytest.mark.parametrize(
    ("servers", "changes", "words"),
    [
        ([primary(), SILENT], {"host": ""}, "it was ''"),
        ([primary(), SILENT], {"source": "tape"}, "clone or offsite"),
        ([primary(), SILENT], {"confirm": "db1"}, "recover_host is db2, but confirm is 'db1'"),
        ([primary(), SILENT], {"host": "db1"}, "db1 takes writes: it is not lost"),
        ([primary(), SILENT], {"left": True}, "its data files are there"),
        ([primary(), holder()], {}, "rebuild_replica"),
        ([holder("db1"), SILENT], {}, "No server takes writes"),
        ([primary(), primary("db2")], {}, "or more than one"),
    ],
)
def test_it_refuses(servers: list[dict[str, Any]], changes: dict[str, Any], words: str) -> None:
    found = asked(servers, **changes)
    assert words in "".join(found)


@pytest.mark.parametrize("servers", [[primary(), SILENT], [primary(), server("db2")], [primary(), replica()]])
@pytest.mark.parametrize("source", ["clone", "offsite"])
def test_it_takes_an_empty_host_and_goes_on_where_it_broke_off(servers: list[dict[str, Any]], source: str) -> None:
    assert asked(servers, source=source, confirm="db2") == []


def test_the_plan() -> None:
    assert "it is cloned from db1, and becomes its replica" in plays.plan("db1", "db2", "clone", blank=True)[0]
    assert "restored from offsite; what came since, db1 sends it" in plays.plan("db1", "db2", "offsite", blank=True)[0]
    assert "by a run that did not end" in plays.plan("db1", "db2", "clone", blank=False)[0]
