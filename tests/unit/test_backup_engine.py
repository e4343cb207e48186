"""The checks that both engines make before they start, and the fingerprint."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from holdfast.backup import fingerprint
from holdfast.backup.engine import (
    missing_privileges,
    refuse_tablespaces_elsewhere,
    refuse_unsafe_tables,
    require_room,
)
from holdfast.database import Connection
from holdfast.errors import ToolError
from support.backups import SERVER, gtids


class Answers:
    """A connection that answers by the beginning of a statement; a list is answered one by one."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.executed: list[str] = []

    @property
    def connection(self) -> Connection:
        return cast("Connection", self)

    def rows(self, sql: str) -> Any:
        self.executed.append(sql)
        answer = next(value for start, value in self.answers.items() if sql.strip().startswith(start))
        if isinstance(answer, ToolError):
            raise answer
        return answer

    def value(self, sql: str) -> Any:
        answer = self.rows(sql)
        return answer.pop(0) if isinstance(answer, list) else answer

    def execute(self, sql: str) -> int:
        self.executed.append(sql)
        return 0


@pytest.mark.parametrize(
    ("grants", "missing"),
    [
        (["GRANT BACKUP_ADMIN,PROCESS ON *.* TO `b`@`localhost`"], []),
        (["GRANT PROCESS ON *.* TO `b`@`localhost`", "GRANT BACKUP_ADMIN ON *.* TO `b`@`localhost`"], []),
        (["GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION"], []),
        (["GRANT PROCESS ON *.* TO `b`@`localhost`"], ["BACKUP_ADMIN"]),
        (["GRANT BACKUP_ADMIN, PROCESS ON `shop`.* TO `b`@`localhost`"], ["BACKUP_ADMIN", "PROCESS"]),
        (["GRANT `admin`@`%` TO `b`@`localhost`"], ["BACKUP_ADMIN", "PROCESS"]),
        ([], ["BACKUP_ADMIN", "PROCESS"]),
    ],
)
def test_missing_privileges(grants: list[str], missing: list[str]) -> None:
    assert missing_privileges(grants, ("BACKUP_ADMIN", "PROCESS")) == missing


def test_tables_of_other_engines_are_refused_by_name() -> None:
    server = Answers({"SELECT CONCAT": [{"name": "shop.old", "engine": "MyISAM"}]})
    with pytest.raises(ToolError, match=r"1 user tables are not InnoDB: shop\.old \(MyISAM\)"):
        refuse_unsafe_tables(server.connection)
    refuse_unsafe_tables(Answers({"SELECT CONCAT": []}).connection)


def test_tablespaces_elsewhere_are_refused_by_path() -> None:
    server = Answers({"SELECT path": [{"path": "./shop/t.ibd"}, {"path": "/srv/fast/shop/u.ibd"}]})
    with pytest.raises(ToolError, match=r"1 tablespaces lie outside the data directory: /srv/fast/shop/u\.ibd"):
        refuse_tablespaces_elsewhere(server.connection)


def test_no_room_is_said_before_the_start(tmp_path: Path) -> None:
    require_room(tmp_path, 1)
    with pytest.raises(ToolError, match="GB free, this backup needs 1000000.0 GB"):
        require_room(tmp_path, 10**15)


def test_a_definition_is_the_same_whatever_its_next_number() -> None:
    one = "CREATE TABLE `t` (`id` int) ENGINE=InnoDB AUTO_INCREMENT=7 DEFAULT CHARSET=utf8mb4"
    assert fingerprint.definition_digest(one) == fingerprint.definition_digest(one.replace("=7", "=8001"))
    assert fingerprint.definition_digest(one) != fingerprint.definition_digest(one.replace("int", "bigint"))


TABLES = [{"db": "shop", "name": "o`dd", "bytes": 10}, {"db": "shop", "name": "large", "bytes": 999}]


def test_small_tables_are_counted_and_large_ones_not() -> None:
    server = Answers(
        {
            "SELECT JSON": f"{SERVER}:1-9",
            "SELECT table_schema": TABLES,
            "SHOW CREATE": [{"Create Table": "CREATE TABLE x"}],
            "SELECT COUNT(*) FROM `shop`.`o``dd`": 3,
            "CHECKSUM": [{"Checksum": 42}],
        }
    )
    taken = fingerprint.take(server.connection, 100)
    assert taken.gtid == gtids("A:1-9")
    assert {name: (t.rows, t.checksum) for name, t in taken.tables.items()} == {
        "shop.o`dd": (3, 42),
        "shop.large": (None, None),
    }
    assert server.executed[-1] == "ROLLBACK"


def test_the_snapshot_waits_for_a_moment_without_a_commit() -> None:
    answers = [f"{SERVER}:1-{n}" for n in (8, 9, 9, 9)]
    server = Answers({"SELECT JSON": answers, "SELECT table_schema": []})
    assert fingerprint.take(server.connection, 100).gtid == gtids("A:1-9")
    assert server.executed.count("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY") == 2


def test_a_server_that_never_pauses_gives_none() -> None:
    server = Answers({"SELECT JSON": [f"{SERVER}:1-{n}" for n in range(1, 2000)]})
    with pytest.raises(ToolError, match="no snapshot with a known GTID set"):
        fingerprint.take(server.connection, 100)


def test_a_table_altered_meanwhile_is_left_out() -> None:
    server = Answers(
        {
            "SELECT JSON": f"{SERVER}:1-9",
            "SELECT table_schema": TABLES[:1],
            "SHOW CREATE": ToolError("error 1412: Table definition has changed"),
        }
    )
    assert fingerprint.take(server.connection, 100).tables == {}
