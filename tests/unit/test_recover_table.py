"""Which tables and which moment `recover_table` takes, and what it says before and after."""

from __future__ import annotations

from typing import Any

import pytest

from unit.test_mysql_roles import ROLES, load

plays = load(ROLES.parent / "playbooks/filter_plugins/recover_table.py")
ORDERS = {"name": "shop.orders", "database": "shop", "table": "orders"}


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("shop.orders", ["shop.orders"]),
        ("shop.orders, shop.items,shop.orders", ["shop.orders", "shop.items"]),
        (["shop.orders"], ["shop.orders"]),
        ("", [""]),
    ],
)
def test_tables_are_given_as_a_list_or_with_commas(given: Any, names: list[str]) -> None:
    assert [one["name"] for one in plays.names(given)] == names


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        (("2026-11-23 15:04 UTC", "", "", ""), ["--to-time", "2026-11-23 15:04 UTC"]),
        (("", "u:1", "", ""), ["--to-gtid", "u:1"]),
        (("", "", "u:1", ""), ["--before-gtid", "u:1"]),
        (("", "", "", "drop shop.orders"), ["--before-statement", "drop shop.orders"]),
        (("", "", "", ""), []),
        (("", "u:1", "u:2", ""), []),
    ],
)
def test_there_is_one_moment(moment: tuple[str, ...], words: list[str]) -> None:
    assert plays.target(*moment) == words


@pytest.mark.parametrize(
    ("tables", "words", "confirm", "said"),
    [
        ("", ["--last"], "", "recover_tables=DATABASE.TABLE"),
        ("orders", ["--last"], "", "it was 'orders'"),
        ("shop.orders,crm.people", ["--last"], "", "several databases"),
        ("shop.o'hara", ["--last"], "", "a quote in its name"),
        ("shop.orders", [], "", "Say one moment"),
        ("shop.orders", ["--last"], "db2", "the primary is db1, but confirm is 'db2'"),
    ],
)
def test_it_refuses(tables: str, words: list[str], confirm: str, said: str) -> None:
    found = plays.problems(plays.names(tables), words, "db1", confirm)
    assert len(found) == 1 and said in found[0]


@pytest.mark.parametrize("confirm", ["", "db1"])
def test_it_takes_a_table_and_a_moment(confirm: str) -> None:
    assert plays.problems([ORDERS], ["--last"], "db1", confirm) == []


def test_the_plan_says_what_is_there_and_who_refers_to_it() -> None:
    keys = [{"name": "shop.items", "parent": "orders"}, {"name": "shop.orders", "parent": "orders"}]
    lines = plays.plan([ORDERS], [{"name": "orders", "about_rows": 7}], keys, "db1", "db2")
    assert "about 7 rows: it is renamed aside and kept" in lines[0]
    assert lines[1].startswith("Foreign keys of shop.items refer")
    assert lines[2].startswith("The restore itself happens beside db2")
    assert "is not there now" in plays.plan([ORDERS], [], [], "db1", "db2")[0]


def told(**changes: Any) -> dict[str, Any]:
    table = {"table": "orders", "rows": 5, "aside": None} | changes.pop("table", {})
    return {"database": "shop", "tables": [table], "orphans": {}, "foreign_keys": 2} | changes


@pytest.mark.parametrize(
    ("found", "late", "words"),
    [
        (told(), [0, 0], "5 rows, equal by checksum"),
        (told(), [0, 0], "2 foreign keys checked"),
        (told(), [0, 0], "Every server has it"),
        (told(), [0, 1], "NOT ON EVERY SERVER YET"),
        (told(orphans={"shop.items to shop.orders (x)": 3}), [0], "REFER TO NOTHING: 3 of shop.items to shop.orders"),
        (told(table={"aside": "o_aside", "rows_aside": 9}), [0], "9 rows, without a primary key"),
        (
            told(table={"aside": "o_aside", "rows_aside": 9, "rows_since": 4, "rows_changed": 1}),
            [0],
            "shop.o_aside: 9 rows, of which 4 are only there (written since that moment) and 1 are other",
        ),
    ],
)
def test_the_report(found: dict[str, Any], late: list[int], words: str) -> None:
    assert words in "\n".join(plays.report(found, "just before transaction u:1", 20, 31.6, late))
