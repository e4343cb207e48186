"""The checks that both engines make before they start, and the fingerprint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from holdfast.backup import clone, fingerprint
from holdfast.backup.engine import (
    data_bytes,
    missing_privileges,
    refuse_tablespaces_elsewhere,
    refuse_unsafe_tables,
    require_room,
)
from holdfast.config import parse
from holdfast.database import Connection
from holdfast.errors import Stopped, ToolError
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


def test_small_tables_count() -> None:
    """Seen: FILES shows 300 tables of 112 KiB as 0 extents, and a copy of a hundred thousand would fill the disk."""
    server = Answers(
        {"SELECT (SELECT COALESCE(SUM(file_size), 0) FROM information_schema.innodb_tablespaces": 34406400}
    )
    assert data_bytes(server.connection) == 34406400


class Cloning:
    """A server that clones into the staging directory until it is told to end."""

    def __init__(self, staging: Path) -> None:
        self.staging = staging
        self.sessions: list[int] = []
        self.unsafe: list[dict[str, str]] = []
        self.interrupt = True

    def __enter__(self) -> Cloning:
        return self

    def __exit__(self, *_: object) -> None: ...

    def rows(self, sql: str, args: tuple[object, ...] = ()) -> list[dict[str, Any]]:
        if "processlist" in sql:
            assert args == (len(begin := f"CLONE LOCAL DATA DIRECTORY = '{self.staging}/"), begin)
            return [{"id": number} for number in self.sessions]
        assert sql.strip().startswith("SELECT CONCAT")
        return self.unsafe

    def execute(self, sql: str, args: tuple[Any, ...] = ()) -> int:
        if sql == "KILL %s":
            self.sessions.remove(args[0])
        elif self.interrupt:
            self.sessions.append(7)
            raise Stopped
        return 0


@pytest.fixture
def cloning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cloning:
    made = Cloning(tmp_path)
    monkeypatch.setattr(clone, "connect", lambda *_, **__: made)
    monkeypatch.setattr(clone, "observe", lambda _: None)
    return made


def engine(cloning: Cloning, configuration: Callable[..., dict[str, Any]]) -> clone.CloneEngine:
    folders = {f"backup.{name}_directory": str(cloning.staging) for name in ("staging", "signatures")}
    return clone.CloneEngine(parse(configuration(**folders)))


def test_an_interrupted_clone_is_ended_on_the_server(
    cloning: Cloning, configuration: Callable[..., dict[str, Any]]
) -> None:
    """Seen: MySQL goes on without its client and leaves a whole copy of the data behind."""
    taken = engine(cloning, configuration).capture("full", None, cast("Connection", cloning), "x")
    with pytest.raises(Stopped), taken:
        pass
    assert cloning.sessions == []


def test_a_table_of_another_engine_made_during_the_clone_is_refused(
    cloning: Cloning, configuration: Callable[..., dict[str, Any]]
) -> None:
    cloning.interrupt = False
    cloning.unsafe = [{"name": "shop.late", "engine": "MyISAM"}]
    taken = engine(cloning, configuration).capture("full", None, cast("Connection", cloning), "x")
    with pytest.raises(ToolError, match=r"shop\.late \(MyISAM\)"), taken:
        pass
