"""The archive of binlogs: each closed file once, its entry last, nothing overwritten."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pytest

from holdfast.backup import binlog_job, binlogs
from holdfast.backup.binlogs import BinlogEntry, archive
from holdfast.binlog import BinlogError, BinlogSummary
from holdfast.cluster import ServerState
from holdfast.config import Config, parse
from holdfast.database import Connection
from holdfast.errors import LockedError, StorageError
from holdfast.lock import hold
from support.backups import SERVER, START, MemoryStore, entry, gtids, load_entries


class Server:
    """As much of MySQL as the job asks for; FLUSH opens a new binlog."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.number = 0
        self.purged = gtids("")
        self.execute("FLUSH BINARY LOGS")

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def execute(self, sql: str) -> int:
        assert sql == "FLUSH BINARY LOGS"
        self.number += 1
        (self.directory / f"binlog.{self.number:06d}").write_bytes(b"content of %d" % self.number * 1000)
        return 0

    def value(self, sql: str) -> str:
        return {
            "SELECT @@log_bin_basename": f"{self.directory}/binlog",
            "SELECT @@server_uuid": SERVER,
            "SELECT @@GLOBAL.gtid_purged": str(self.purged),
        }[sql]

    def rows(self, sql: str) -> list[dict[str, Any]]:
        assert sql == "SHOW BINARY LOGS"
        files = sorted(self.directory.glob("binlog.*"))
        return [{"Log_name": file.name, "File_size": file.stat().st_size} for file in files]

    def state(self) -> ServerState:
        return ServerState(
            server_uuid=SERVER,
            version="9.7.4",
            series="9.7",
            read_only=True,
            super_read_only=True,
            gtid_executed=gtids("A:1-10"),
            binlog_file=f"binlog.{self.number:06d}",
            binlog_position=4,
            channels=(),
            connected_replicas=0,
            data_directory=self.directory,
        )


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    (tmp_path / "data").mkdir()
    made = Server(tmp_path / "data")
    summary = BinlogSummary(gtids("A:1-9"), gtids("A:10"), START.replace(microsecond=5), START, 1, True, "9.7.4")
    monkeypatch.setattr(binlogs, "summarise", lambda path: summary)
    monkeypatch.setattr(binlogs, "observe", lambda connection: connection.state())
    return made


@pytest.fixture
def config(tmp_path: Path, configuration: Callable[..., dict[str, Any]]) -> Config:
    for name in ("state", "spool"):
        (tmp_path / name).mkdir()
    command = ["sh", "-c", f"cat >> {tmp_path}/messages"]
    return parse(
        configuration(
            **{
                "state_directory": str(tmp_path / "state"),
                "backup.spool_directory": str(tmp_path / "spool"),
                "notifications.command": command,
            }
        )
    )


def run(config: Config, store: MemoryStore, server: Server) -> list[str]:
    made = archive(config, store.store, cast("Connection", server), lambda: START)
    return [item.file for item in made]


def test_every_closed_file_is_archived_once(config: Config, server: Server) -> None:
    store = MemoryStore()
    assert run(config, store, server) == ["binlog.000001"]
    assert run(config, store, server) == ["binlog.000002"]
    folder = f"binlogs/{SERVER}-20261122T010000Z"
    assert store.order == [f"{folder}/binlog.00000{n}.{kind}" for n in (1, 2) for kind in ("lz4", "json")]
    entries, damaged = load_entries(store.store)
    assert ([item.file for item in entries], damaged) == (["binlog.000001", "binlog.000002"], [])
    assert entries[0].first_time == START.replace(microsecond=5)
    stored = store.objects[entries[0].object_name]
    assert (len(stored), entries[0].size) == (entries[0].stored_size, 12000)
    raw = subprocess.run(["lz4", "-d", "-c"], input=stored, check=True, capture_output=True).stdout
    assert raw == (server.directory / "binlog.000001").read_bytes()


def test_what_a_killed_run_left_is_taken_again(config: Config, server: Server) -> None:
    store = MemoryStore()
    name = f"binlogs/{SERVER}-20261122T010000Z/binlog.000001"
    store.objects[f"{name}.lz4"] = b"half a file"
    assert run(config, store, server) == ["binlog.000001"]
    assert store.objects[f"{name}.lz4"] != b"half a file"


def test_a_failed_upload_leaves_no_entry_and_the_next_run_makes_it_good(config: Config, server: Server) -> None:
    store = MemoryStore()
    name = f"binlogs/{SERVER}-20261122T010000Z/binlog.000001"
    store.refuse = {f"{name}.lz4"}
    with pytest.raises(StorageError):
        run(config, store, server)
    assert not store.objects
    store.refuse = set()
    assert run(config, store, server) == ["binlog.000001", "binlog.000002"]


@pytest.mark.parametrize("forget", [True, False])
def test_other_content_under_an_archived_name_is_refused(config: Config, server: Server, forget: bool) -> None:
    store = MemoryStore()
    run(config, store, server)
    (server.directory / "binlog.000001").write_bytes(b"another life of this server")
    if forget:
        (config.state_directory / "archived.json").unlink()
    before = dict(store.objects)
    with pytest.raises(StorageError, match=r"binlog\.000001 is archived already under .*-20261122T010000Z with other"):
        run(config, store, server)
    assert store.objects == before


def test_purged_files_and_a_lost_or_damaged_memory_do_no_harm(config: Config, server: Server) -> None:
    store = MemoryStore()
    run(config, store, server)
    (config.state_directory / "archived.json").write_text("{")
    assert run(config, store, server) == ["binlog.000002"]
    (server.directory / "binlog.000001").unlink()
    assert run(config, store, server) == ["binlog.000003"]


def test_the_second_failure_in_a_row_alarms(
    config: Config, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = MemoryStore()
    monkeypatch.setattr(binlog_job, "Store", lambda *_: store)
    monkeypatch.setattr(binlog_job, "connect", lambda *_, **__: server)
    messages = tmp_path / "messages"

    def fails(now: datetime = START) -> None:
        store.refuse = {f"binlogs/{SERVER}-20261122T010000Z/binlog.000001.lz4"}
        with pytest.raises(StorageError):
            binlog_job.run_binlogs(config, now=lambda: now)
        store.refuse = set()

    fails()
    assert not messages.exists()
    binlog_job.run_binlogs(config, now=lambda: START)
    monkeypatch.setattr(binlogs, "FOLDER", "elsewhere")
    store.refuse = {f"elsewhere/{SERVER}-20261122T010000Z/binlog.000001.lz4"}
    for run_number in (1, 2):
        with pytest.raises(StorageError):
            binlog_job.run_binlogs(config, now=lambda: START)
        assert messages.exists() is (run_number == 2)
    assert messages.read_text().startswith("FAILED binlog archive of lab (db1)\n")


def test_a_failure_that_cannot_be_counted_is_told_at_once(
    config: Config, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(binlog_job, "Store", lambda *_: MemoryStore())
    monkeypatch.setattr(binlog_job, "connect", lambda *_, **__: server)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(binlog_job, "_write", full)
    monkeypatch.setattr(binlog_job, "archive", full)
    with pytest.raises(OSError, match="No space"):
        binlog_job.run_binlogs(config, now=lambda: START)
    assert "the disk is full" in (tmp_path / "messages").read_text()


def test_a_held_lock_is_no_failure(config: Config) -> None:
    with hold(binlog_job.LOCK, config.state_directory), pytest.raises(LockedError):
        binlog_job.run_binlogs(config)
    assert binlog_job.failures_in_a_row(config.state_directory / "binlogs-failures.json") == 0


@pytest.mark.parametrize("damage", [lambda data: data[:-5], lambda data: data.replace(b"1000", b"1001")])
def test_a_damaged_entry_does_not_count(damage: Callable[[bytes], bytes]) -> None:
    store = MemoryStore()
    good, bad = entry(1, "", "A:1", hours=(0, 1)), entry(2, "A:1", "A:2", hours=(1, 2))
    store.objects = {good.entry_name: good.to_json(), bad.entry_name: damage(bad.to_json())}
    entries, damaged = load_entries(store.store)
    assert entries == [good]
    assert bad.entry_name in damaged[0].what


def test_an_entry_of_a_days_index_with_a_key_too_few_is_refused() -> None:
    document = entry(1, "", "A:1", hours=(0, 1)).document()
    del document["schema_version"]
    with pytest.raises(ValueError, match="keys missing or unknown"):
        BinlogEntry.from_document(document)


@pytest.mark.parametrize("hours", [None, (0.0, 1.000001)])
def test_an_entry_comes_back_as_it_was_stored(hours: tuple[float, float] | None) -> None:
    made = replace(entry(1, "B:1-4", "A:1-3", hours=hours), archived_at=START.replace(microsecond=123456))
    assert BinlogEntry.from_json(made.to_json(), made.entry_name) == made


def test_what_a_server_was_seeded_with_counts_as_before_its_files(config: Config, server: Server) -> None:
    """After CLONE the file's own list leaves it out, and the file would look usable on any older backup."""
    server.purged = gtids("B:1-50")
    store = MemoryStore()
    run(config, store, server)
    entries, _ = load_entries(store.store)
    assert entries[0].previous_gtids == gtids("A:1-9,B:1-50")


def test_a_file_that_cannot_be_read_does_not_keep_the_others_from_the_store(
    config: Config, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = BinlogSummary(gtids("A:1-9"), gtids("A:10"), START, START, 1, True, "9.7.4")

    def summarise(path: Path) -> BinlogSummary:
        if path.name == "binlog.000001":
            raise BinlogError(f"{path} is an encrypted binary log")
        return summary

    monkeypatch.setattr(binlogs, "summarise", summarise)
    server.execute("FLUSH BINARY LOGS")
    store = MemoryStore()
    for _ in (1, 2):
        with pytest.raises(BinlogError, match=r"binlog\.000001 is an encrypted"):
            run(config, store, server)
    assert [item.file for item in load_entries(store.store)[0]] == ["binlog.000002", "binlog.000003"]
