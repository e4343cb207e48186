"""Foreign keys and checks in what SHOW CREATE TABLE prints (of 9.7.4)."""

from __future__ import annotations

import pytest

from holdfast.recovery.table_definition import ForeignKey, name_of_aside, orphans, own_name, parse, renamed

CREATE = """CREATE TABLE `orders` (
  `id` bigint NOT NULL AUTO_INCREMENT,
  `customer` int DEFAULT NULL,
  `a``b` int DEFAULT NULL COMMENT 'CONSTRAINT `x` FOREIGN KEY, nothing of it',
  PRIMARY KEY (`id`),
  KEY `customer` (`customer`,`a``b`),
  CONSTRAINT `known` FOREIGN KEY (`customer`, `a``b`) REFERENCES `people`.`customers` (`id`, `x``y`) ON DELETE CASCADE,
  CONSTRAINT `orders_ibfk_2` FOREIGN KEY (`customer`) REFERENCES `orders` (`id`),
  CONSTRAINT `positive` CHECK ((`id` > 0))
) ENGINE=InnoDB AUTO_INCREMENT=12 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci"""
PLAIN = """CREATE TABLE `t` (
  `id` int NOT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB"""


def test_foreign_keys_are_taken_out_and_kept_apart() -> None:
    found = parse(CREATE, "shop", "orders")
    assert "FOREIGN KEY (" not in found.create
    assert "CHECK ((`id` > 0))\n) ENGINE" in found.create
    first, second = found.foreign_keys
    assert (first.database, first.table, first.name) == ("shop", "orders", "known")
    assert (first.columns, first.parent_database, first.parent) == (("customer", "a`b"), "people", "customers")
    assert first.parent_columns == ("id", "x`y")
    assert first.definition.endswith("REFERENCES `people`.`customers` (`id`, `x``y`) ON DELETE CASCADE")
    assert (second.parent_database, second.parent, second.parent_columns) == ("shop", "orders", ("id",))
    assert found.checks == {"positive": "CONSTRAINT `positive` CHECK ((`id` > 0))"}


def test_the_line_before_the_end_loses_its_comma() -> None:
    last = PLAIN.replace("(`id`)\n", "(`id`),\n  CONSTRAINT `f` FOREIGN KEY (`id`) REFERENCES `p` (`id`)\n")
    assert parse(last, "shop", "t").create == PLAIN
    assert parse(PLAIN, "shop", "t").create == PLAIN


def test_a_table_is_made_in_another_database() -> None:
    assert renamed(PLAIN, "side", "t").startswith("CREATE TABLE `side`.`t` (\n")
    with pytest.raises(ValueError, match="not the CREATE statement of u"):
        renamed(PLAIN, "side", "u")


@pytest.mark.parametrize(
    ("table", "name", "own"),
    [
        ("orders", "orders_ibfk_1", True),
        ("orders", "orders_chk_12", True),
        ("orders", "positive", False),
        ("orders", "other_ibfk_1", False),
    ],
)
def test_names_that_the_server_made(table: str, name: str, own: bool) -> None:
    assert own_name(table, name) is own


def test_the_table_aside_has_a_name_that_fits() -> None:
    assert name_of_aside("orders", "20261123T150405Z") == "orders_aside_20261123T150405Z"
    long = name_of_aside("x" * 64, "20261123T150405Z")
    assert len(long) == 64 and long.endswith("_aside_20261123T150405Z")


def test_rows_that_refer_to_nothing_are_counted() -> None:
    key = ForeignKey("shop", "c", "f", ("a", "b"), "shop", "p", ("x", "y"), "")
    assert orphans(key, "`shop`.`c`", "`shop`.`p`") == (
        "SELECT COUNT(*) FROM `shop`.`c` AS c LEFT JOIN `shop`.`p` AS p ON p.`x` = c.`a` AND p.`y` = c.`b`"
        " WHERE c.`a` IS NOT NULL AND c.`b` IS NOT NULL AND p.`x` IS NULL"
    )
