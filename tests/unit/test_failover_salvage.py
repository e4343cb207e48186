from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from holdfast.backup.store import Store
from holdfast.binlog import transactions
from holdfast.errors import ToolError
from holdfast.failover.guard_work import Salvage
from holdfast.failover.salvage import files_with, rows_by_table, save
from holdfast.gtid import GtidSet
from support.binlog_builder import binary_log, transaction
from support.guards import A, B

NOW = datetime(2026, 11, 25, 1, 2, 3, tzinfo=UTC)
DECODED = """\
#261125  1:02:03 server id 1  end_log_pos 400
### INSERT INTO `shop`.`orders`
### SET
###   @1=1 /* LONGINT meta=0 nullable=0 is_null=0 */
###   @2='### INSERT INTO `a`.`b`' /* VARSTRING(400) */
### INSERT INTO `shop`.`orders`
### UPDATE `shop`.`stock`
### DELETE FROM `other`.`t`
"""


class FakeStore:
    """Keeps what is put."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def put(self, local: Path, name: str) -> None:
        self.objects[name] = local.read_bytes()


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Three binary logs: A:1-3, then A:4 B:1, then B:2."""
    before = GtidSet()
    for number, content in enumerate(([(A, 1), (A, 2), (A, 3)], [(A, 4), (B, 1)], [(B, 2)]), start=1):
        made = [transaction(source, at, NOW) for source, at in content]
        (tmp_path / f"binlog.{number}").write_bytes(binary_log(before, made))
        before |= GtidSet.union_of(GtidSet.single(source, at) for source, at in content)
    return tmp_path


NAMES = ("binlog.1", "binlog.2", "binlog.3")


@pytest.mark.parametrize(
    ("wanted", "files"),
    [
        (f"{B}:2", ["binlog.3"]),
        (f"{B}:1-2", ["binlog.3", "binlog.2"]),
        (f"{A}:2,{B}:2", ["binlog.3", "binlog.1"]),
    ],
)
def test_only_files_that_have_some_are_read(logs: Path, wanted: str, files: list[str]) -> None:
    assert [path.name for path, _ in files_with(logs, NAMES, GtidSet.parse(wanted))] == files


def test_they_are_saved_as_binary_log_and_as_sql(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Done:
        stdout = DECODED.encode()

    monkeypatch.setattr("holdfast.failover.salvage.run", lambda *_, **__: Done())
    store = FakeStore()
    saved = save(cast(Store, store), logs, NAMES, GtidSet.parse(f"{A}:9,{B}:1-2"), "db1", NOW)
    folder = "salvage/20261125T010203Z-db1"
    assert sorted(store.objects) == [
        f"{folder}/{name}" for name in ("binlog.2", "binlog.2.sql", "binlog.3", "binlog.3.sql")
    ]
    kept = [one.gtid for one in transactions(store.objects[f"{folder}/binlog.2"])]
    assert kept == [f"{B}:1"]
    assert saved.gtids == GtidSet.parse(f"{B}:1-2")
    assert saved.text() == (
        "2 transactions (other.t 2 rows, shop.orders 4 rows, shop.stock 2 rows) are saved as"
        f" {folder}/\nNot in the binary logs any more: {A}:9"
    )


def test_none_of_them_is_there(logs: Path) -> None:
    with pytest.raises(ToolError, match="is in the binary logs"):
        save(cast(Store, FakeStore()), logs, NAMES, GtidSet.parse(f"{A}:77"), "db1", NOW)


def test_rows_are_counted_by_table() -> None:
    assert rows_by_table(DECODED) == {"shop.orders": 2, "shop.stock": 1, "other.t": 1}
    assert rows_by_table("") == {}


def test_a_guard_has_each_set_saved_once_when_it_lasts() -> None:
    started: list[Any] = []
    salvage = Salvage(started.append)
    one, two = GtidSet.parse(f"{B}:1"), GtidSet.parse(f"{B}:1-2")
    for now, errant in ((0.0, one), (10.0, None), (11.0, one), (25.0, one)):
        salvage.look(now, errant)
    assert started == []
    for now, errant in ((26.0, one), (27.0, one), (28.0, two), (60.0, two)):
        salvage.look(now, errant)
    assert started == [f"{B}:1", f"{B}:1-2"]
