"""A restore's directory, its server's configuration, and recovery in place."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from holdfast.backup.engine import Engine
from holdfast.backup.store import Store
from holdfast.config import parse
from holdfast.errors import StorageError, UsageError
from holdfast.recovery import place
from holdfast.recovery.catalog import Catalog
from holdfast.recovery.estimate import describe, duration, estimate, human_bytes
from holdfast.recovery.fetch import fetch_binlogs
from holdfast.recovery.instance import Instance, buffer_pool_bytes, carried_options, configuration, in_use
from holdfast.recovery.lines import Line
from holdfast.recovery.marker import clear, default_directory, read_marker, refuse_foreign, write_marker
from holdfast.recovery.place import exchange, given_up, local_gtids, refuse_other_host, work_directory
from holdfast.recovery.plan import Plan, make_plan
from holdfast.recovery.run import Restored
from holdfast.recovery.target import Last, ToTime
from support.backups import MemoryStore
from support.binlog_builder import binary_log, transaction
from support.plans import FILES, FULL, INCREMENTAL, A, backup, gtids, minute

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def plan() -> Plan:
    return make_plan([FULL, INCREMENTAL], FILES, [], Last())


def test_a_directory_is_used_again_only_for_the_same_plan(tmp_path: Path) -> None:
    directory = default_directory(tmp_path, plan(), NOW)
    assert directory.name == "20261123T120000Z-last"
    refuse_foreign(directory, plan())
    clear(directory, tmp_path)
    write_marker(directory, plan(), NOW, finished=False)
    (directory / "data").mkdir()
    (directory / "data" / "ibdata1").write_text("half")
    refuse_foreign(directory, plan())
    clear(directory, tmp_path)
    assert [path.name for path in directory.iterdir()] == [".holdfast-restore.json"]
    marker = read_marker(directory)
    assert marker is not None and not marker.finished
    with pytest.raises(UsageError, match="another plan"):
        refuse_foreign(directory, make_plan([FULL], FILES, [], ToTime(minute(15))))
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "ibdata1").write_text("precious")
    with pytest.raises(UsageError, match="not empty"):
        refuse_foreign(tmp_path / "foreign", plan())


def test_the_side_server_is_deaf() -> None:
    instance = Instance(Path("/r/x"), Path("/usr/sbin/mysqld"))
    text = configuration(instance, workers=4, server_id=5, memory=1 << 28, carried={"lower_case_table_names": "1"})
    lines = text.splitlines()
    for wanted in (
        "skip_networking=ON",
        "mysqlx=OFF",
        "event_scheduler=OFF",
        "skip_replica_start=ON",
        "persisted_globals_load=OFF",
        "disable_log_bin",
        "relay_log_recovery=OFF",
        "replica_preserve_commit_order=ON",
        "replica_parallel_workers=4",
        "lower_case_table_names=1",
        "datadir=/r/x/data",
    ):
        assert wanted in lines


def test_options_that_a_data_directory_needs() -> None:
    printed = ["--lower-case-table-names=1", "--server_id=7", "--innodb_page_size=32k", "--skip-networking"]
    assert carried_options(printed) == {"lower_case_table_names": "1", "innodb_page_size": "32k"}
    assert [buffer_pool_bytes(n << 20) for n in (0, 2048, 1 << 20)] == [128 << 20, 512 << 20, 8 << 30]


def test_the_host_must_be_named_twice() -> None:
    refuse_other_host("db2", "db2", "db2")
    for named, confirmed in (("db2", None), ("db2", "db1"), ("db1", "db1")):
        with pytest.raises(UsageError, match="over-server"):
            refuse_other_host(named, confirmed, "db2")


def test_exchange_of_a_subdirectory(tmp_path: Path) -> None:
    data, restored = tmp_path / "mysql", work_directory(tmp_path / "mysql", is_mount=False) / "data"
    assert work_directory(Path("/m"), is_mount=True) == Path("/m/.holdfast-restore")
    data.mkdir()
    restored.mkdir(parents=True)
    (data / "old").touch()
    (restored / "new").touch()
    (restored / "auto.cnf").touch()
    aside = exchange(data, restored, "20261123T120000Z")
    assert [path.name for path in data.iterdir()] == ["new"]
    assert [path.name for path in aside.iterdir()] == ["old"]
    assert not in_use(data)


def test_exchange_within_a_mount_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_mount", lambda self: True)
    restored = tmp_path / ".holdfast-restore" / "data"
    restored.mkdir(parents=True)
    (restored / "new").touch()
    for name in ("old", "lost+found"):
        (tmp_path / name).mkdir()
    aside = exchange(tmp_path, restored, "20261123T120000Z")
    assert [path.name for path in aside.iterdir()] == ["old"]
    assert {path.name for path in tmp_path.iterdir()} == {aside.name, ".holdfast-restore", "lost+found", "new"}


def test_what_a_restore_gives_up_includes_what_was_never_archived(tmp_path: Path) -> None:
    content = binary_log(gtids("A:1-50"), [transaction(A, number, NOW) for number in (51, 52)], closed=False)
    (tmp_path / "binlog.000003").write_bytes(content)
    (tmp_path / "binlog.index").write_text("./binlog.000002\n./binlog.000003\n")
    (tmp_path / "relay.index").write_text("./gone.000001\n")
    assert local_gtids(tmp_path) == gtids("A:1-52")
    catalog = Catalog((backup("later", "A:1-60", 60),), tuple(FILES), (), ())
    assert given_up(catalog, local_gtids(tmp_path), gtids("A:1-30")) == gtids("A:31-60")
    nothing = Catalog((), (), (), ())
    assert given_up(nothing, local_gtids(tmp_path), gtids("A:1-30")) == gtids("A:31-52")


def test_lines_survive_the_store() -> None:
    line = Line("restore", NOW, gtids("A:31-52,B:1"), "why")
    assert line.name == "state/lines/20261123T120000Z-restore.json"
    assert Line.from_json(line.to_json(), line.name) == line
    for data in (b"", b"{}", line.to_json().replace(b'"schema_version": 1', b'"schema_version": 2')):
        with pytest.raises(StorageError, match="20261123T120000Z-restore"):
            Line.from_json(data, line.name)


def test_what_a_plan_says() -> None:
    cost = estimate(plan())
    assert (cost.download_bytes, cost.transactions) == (500 + 500 + 50 + 50, 20)
    text = describe(plan(), cost, 10 << 30, "Europe/Berlin")
    for words in (
        "window",
        "full (full, 500 B)",
        "db1/binlog.000004",
        "20 transactions",
        "free",
        "(2026-11-01 01:50:00 CET)",
    ):
        assert words in text
    assert [human_bytes(n) for n in (5, 1500, 2_500_000, 3e12)] == ["5 B", "1.5 kB", "2.5 MB", "3.0 TB"]
    assert [duration(n) for n in (5, 600, 7300)] == ["5 s", "10 min", "2.0 h"]


@pytest.mark.parametrize("deletable", [True, False])
def test_a_line_is_taken_back_when_the_data_was_not_exchanged(
    tmp_path: Path,
    configuration: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    deletable: bool,
) -> None:
    """Else the server lives on, and plans leave out what it had."""
    data = tmp_path / "mysql"
    data.mkdir()
    config = parse(configuration(**{"mysql.data_directory": str(data)}))
    instance = Instance(tmp_path / "work", Path("/usr/sbin/mysqld"))
    store = MemoryStore()

    def refuse_running(_: object) -> None:
        if store.objects:
            store.refuse = set() if deletable else set(store.objects)
            raise UsageError("mysqld runs on db1")

    monkeypatch.setattr(place, "refuse_running", refuse_running)
    monkeypatch.setattr(place, "restore", lambda *_, **__: Restored(instance, gtids("A:1-30"), 0, 1.0))
    catalog = Catalog((backup("later", "A:1-60", 60),), (), (), ())
    with pytest.raises(UsageError, match="mysqld runs"):
        place.restore_over_server(
            plan(), catalog, config=config, store=store.store, engine=cast("Engine", None), now=NOW
        )
    assert bool(store.objects) is not deletable
    assert ("DELETE state/lines/20261123T120000Z-restore.json FROM THE STORE" in caplog.text) is not deletable
    assert data.is_dir()


@pytest.mark.parametrize(("joins", "lines"), [(False, 1), (True, 0)])
def test_only_a_line_that_ends_is_recorded(
    tmp_path: Path,
    configuration: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    joins: bool,
    lines: int,
) -> None:
    """A server that joins a primary which lives gives nothing up: what it lacks comes to it."""
    data, work = tmp_path / "mysql", tmp_path / ".holdfast-restore-mysql"
    for folder in (data, work / "data"):
        folder.mkdir(parents=True)
    config = parse(configuration(**{"mysql.data_directory": str(data)}))
    instance, store = Instance(work, Path("/usr/sbin/mysqld")), MemoryStore()
    monkeypatch.setattr(place, "refuse_running", lambda _: None)
    monkeypatch.setattr(place, "restore", lambda *_, **__: Restored(instance, gtids("A:1-30"), 0, 1.0))
    catalog = Catalog((backup("later", "A:1-60", 60),), (), (), ())
    _, aside = place.restore_over_server(
        plan(), catalog, config=config, store=store.store, engine=cast("Engine", None), now=NOW, joins=joins
    )
    assert len(store.objects) == lines
    assert aside.is_dir() and data.is_dir() and not work.exists()


def test_what_comes_after_a_restore_in_place(configuration: Callable[..., dict[str, Any]]) -> None:
    """A replica's copy of an event does not fire on the primary that it becomes: nobody would notice."""
    restored = Restored(Instance(Path("/r/x"), Path("/usr/sbin/mysqld")), gtids("A:1-30"), 5, 9.0)
    assert "REPLICA_SIDE_DISABLED" in place.next_steps(restored, Path("/aside"), parse(configuration()))
    assert "recover_server.yml" in place.joining(restored, Path("/aside"), parse(configuration()))


def test_one_binlog_that_fails_stops_the_fetching_of_the_others(tmp_path: Path) -> None:
    stopped, begun = [], threading.Event()

    class SlowStore:
        def get(self, name: str, local: Path, *, cancel: threading.Event | None = None) -> None:
            if name == FILES[0].object_name:
                begun.wait(10)
                raise StorageError(f"{name}: refused")
            begun.set()
            stopped.append(cancel is not None and cancel.wait(10))
            raise StorageError("cancelled")

    with pytest.raises(StorageError, match="refused"):
        fetch_binlogs(FILES[:2], cast("Store", SlowStore()), tmp_path / "binlogs", 2)
    assert stopped == [True]
