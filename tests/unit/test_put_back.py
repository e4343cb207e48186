"""Which statements put restored tables in place, and in which order."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from holdfast.recovery.put_back import read_handover
from holdfast.recovery.put_back_plan import (
    Exchange,
    Present,
    Restored,
    Trigger,
    exchange,
    orphan_queries,
    qualified,
    rows_since,
)
from holdfast.recovery.table_definition import ForeignKey, parse

STAMP = "20261123T150405Z"
KEY = "  CONSTRAINT `{name}` FOREIGN KEY (`p`) REFERENCES `{parent}` (`id`){more}\n"


def create(table: str, *lines: str) -> str:
    body = ",\n".join(["  `id` int NOT NULL", "  PRIMARY KEY (`id`)", *(line.rstrip("\n") for line in lines)])
    return f"CREATE TABLE `{table}` (\n{body}\n) ENGINE=InnoDB"


def restored(table: str, *lines: str) -> Restored:
    return Restored(table, parse(create(table, *lines), "shop", table), 3, 77, ())


def present(table: str, *lines: str, triggers: tuple[str, ...] = (), number: int | None = None) -> Present:
    return Present(parse(create(table, *lines), "shop", table), triggers, number)


def child(table: str = "items", parent: str = "orders", database: str = "shop") -> ForeignKey:
    name = f"{table}_ibfk_1"
    line = KEY.format(name=name, parent=parent if database == "shop" else f"shop`.`{parent}", more=" ON DELETE CASCADE")
    return parse(create(table, line), database, table).foreign_keys[0]


def everything(plan: Exchange) -> list[str]:
    return [*(statement for statement, _ in plan.before), plan.rename, *plan.after]


def test_a_table_that_is_gone_comes_back_by_one_rename() -> None:
    plan = exchange("shop", [restored("orders")], {}, [], STAMP)
    assert everything(plan) == ["RENAME TABLE `holdfast_put_back`.`orders` TO `shop`.`orders`"]
    assert plan.asides == {}


def test_present_tables_go_aside_and_restored_ones_in_at_one_moment() -> None:
    both = [restored("orders"), restored("items")]
    plan = exchange("shop", both, {"orders": present("orders"), "items": present("items")}, [], STAMP)
    assert plan.rename == (
        f"RENAME TABLE `shop`.`orders` TO `shop`.`orders_aside_{STAMP}`,"
        f" `shop`.`items` TO `shop`.`items_aside_{STAMP}`,"
        " `holdfast_put_back`.`orders` TO `shop`.`orders`, `holdfast_put_back`.`items` TO `shop`.`items`"
    )
    assert plan.asides == {"orders": f"orders_aside_{STAMP}", "items": f"items_aside_{STAMP}"}


def test_keys_of_others_are_taken_away_before_and_given_again_at_the_end() -> None:
    plan = exchange("shop", [restored("orders")], {"orders": present("orders")}, [child()], STAMP)
    add = (
        "ALTER TABLE `shop`.`items` ADD CONSTRAINT `items_ibfk_1` FOREIGN KEY (`p`)"
        " REFERENCES `shop`.`orders` (`id`) ON DELETE CASCADE"
    )
    assert plan.before == (("ALTER TABLE `shop`.`items` DROP FOREIGN KEY `items_ibfk_1`", add),)
    assert plan.after == (add,)


def test_keys_between_tables_that_are_both_put_back_are_their_own_business() -> None:
    line = KEY.format(name="items_ibfk_1", parent="orders", more="")
    both = [restored("orders"), restored("items", line)]
    plan = exchange("shop", both, {"items": present("items", line)}, [child()], STAMP)
    assert plan.before == ()
    assert plan.after == (
        f"ALTER TABLE `shop`.`items_aside_{STAMP}` DROP FOREIGN KEY `items_aside_{STAMP}_ibfk_1`",
        "ALTER TABLE `shop`.`items` ADD CONSTRAINT `items_ibfk_1` FOREIGN KEY (`p`) REFERENCES `shop`.`orders` (`id`)",
    )


@pytest.mark.parametrize(
    ("line", "statements"),
    [
        ("  CONSTRAINT `t_chk_1` CHECK ((`id` > 0))", []),
        (
            "  CONSTRAINT `positive` CHECK ((`id` > 0))",
            [
                (
                    "ALTER TABLE `shop`.`t` DROP CHECK `positive`",
                    "ALTER TABLE `shop`.`t` ADD CONSTRAINT `positive` CHECK ((`id` > 0))",
                )
            ],
        ),
    ],
)
def test_a_named_check_makes_room_for_its_namesake(line: str, statements: list[tuple[str, str]]) -> None:
    plan = exchange("shop", [restored("t", line)], {"t": present("t", line)}, [], STAMP)
    assert list(plan.before) == statements


def test_a_key_by_a_persons_name_keeps_it_aside_and_is_dropped_by_it() -> None:
    line = KEY.format(name="known", parent="people", more="")
    plan = exchange("shop", [restored("t", line)], {"t": present("t", line)}, [], STAMP)
    assert plan.after[0] == f"ALTER TABLE `shop`.`t_aside_{STAMP}` DROP FOREIGN KEY `known`"
    assert plan.after[1].startswith("ALTER TABLE `shop`.`t` ADD CONSTRAINT `known`")


def test_triggers_leave_the_table_aside_and_numbers_go_on() -> None:
    plan = exchange("shop", [restored("t")], {"t": present("t", triggers=("log_it",), number=201)}, [], STAMP)
    assert plan.before == (("ALTER TABLE `holdfast_put_back`.`t` AUTO_INCREMENT = 201", ""),)
    assert plan.after == ("DROP TRIGGER `shop`.`log_it`",)


def test_rows_are_looked_for_where_they_lie_before_and_after() -> None:
    line = KEY.format(name="items_ibfk_1", parent="people", more="")
    tables, keys = [restored("orders"), restored("items", line)], [child(), child("notes")]
    before = orphan_queries("shop", tables, keys, moved=False)
    assert set(before) == {
        "shop.items to shop.people (items_ibfk_1)",
        "shop.notes to shop.orders (notes_ibfk_1)",
    }
    assert "FROM `holdfast_put_back`.`items` AS c LEFT JOIN `shop`.`people`" in "".join(before.values())
    assert "FROM `shop`.`notes` AS c LEFT JOIN `holdfast_put_back`.`orders`" in "".join(before.values())
    after = orphan_queries("shop", tables, keys, moved=True)
    assert set(after) == set(before) and "holdfast_put_back" not in "".join(after.values())


def test_a_key_names_its_parents_database_once() -> None:
    assert qualified(child()).count("`shop`.`orders`") == 1
    assert qualified(child(database="crm")).count("`shop`.`orders`") == 1


def test_rows_written_since_are_told_by_the_primary_key() -> None:
    only, other = rows_since("shop", "t", "t_aside", ["a", "b"], ["a", "b", "c"]) or ("", "")
    assert only.endswith("ON n.`a` = a.`a` AND n.`b` = a.`b` WHERE n.`a` IS NULL")
    assert other.endswith("WHERE NOT (n.`a` <=> a.`a` AND n.`b` <=> a.`b` AND n.`c` <=> a.`c`)")
    assert rows_since("shop", "t", "t_aside", [], ["c"]) is None


def test_the_handover_is_read_as_it_was_written() -> None:
    one = restored("items", KEY.format(name="items_ibfk_1", parent="orders", more=""))
    one = Restored(one.table, one.definition, 3, 77, (Trigger("x", "", "utf8mb4", "utf8mb4_bin", "CREATE TRIGGER"),))
    text = json.dumps({"database": "shop", "collation": "utf8mb4_bin", "tables": [asdict(one)]})
    assert read_handover(json.loads(text)) == ("shop", "utf8mb4_bin", [one])
