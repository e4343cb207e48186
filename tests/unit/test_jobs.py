"""The backup job: whose turn it is, what counts and when, and what is said."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from holdfast.backup import fingerprint, jobs, take
from holdfast.backup.engine import Facts
from holdfast.backup.manifest import Manifest, backup_id, load_manifests, name_of_manifest
from holdfast.cluster import ReplicaChannel, ServerState
from holdfast.config import Config, parse
from holdfast.errors import ExitCode, LockedError, NotThisHostError, StorageError, ToolError
from holdfast.lock import hold
from holdfast.process import Stage
from support.backups import OTHER, SERVER, START, MemoryStore, full, gtids, incremental

REPLICA = ServerState(
    server_uuid=SERVER,
    version="9.7.4-2",
    series="9.7",
    read_only=True,
    super_read_only=True,
    gtid_executed=gtids("A:1-10"),
    binlog_file="binlog.000007",
    binlog_position=1234,
    channels=(ReplicaChannel(True, True, 0, "", "db2"),),
    connected_replicas=0,
    data_directory=Path("/nonexistent"),
)
PRIMARY = replace(REPLICA, read_only=False, super_read_only=False, channels=())


@dataclass
class FakeEngine:
    """An engine whose stream is a shell command."""

    command: str = "printf data"
    refusal: ToolError | None = None
    kept: list[str] = field(default_factory=list)
    during: Callable[[], None] = lambda: None
    name: str = "clone"

    def version(self, connection: object) -> str:
        return "9.7.4"

    def preflight(self, connection: object) -> int:
        if self.refusal:
            raise self.refusal
        return 4000

    def kept_ids(self) -> frozenset[str]:
        return frozenset(self.kept)

    @contextmanager
    def capture(self, kind: str, parent: Manifest | None, connection: object, identifier: str) -> Iterator[Any]:
        engine = self

        class Capture:
            stages: Sequence[Stage] = (Stage("fake engine", ("sh", "-c", engine.command)),)

            def facts(self) -> Facts:
                engine.during()
                return Facts(gtids("A:1-10"), gtids("A:1-11"), "binlog.000007", 1234, None, None)

            def keep(self) -> None:
                engine.kept.append(identifier)

        yield Capture()

    def materialise(self, *_: object) -> None: ...

    def describe(self) -> str:
        return "fake"


@dataclass
class World:
    """The job's surroundings; `state` is what the server shows."""

    config: Config
    store: MemoryStore
    engine: FakeEngine
    messages: Path
    state: ServerState = REPLICA
    uptime: float = 1e6

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None: ...

    def rows(self, sql: str) -> list[dict[str, Any]]:
        return [{"Value": str(self.uptime)}]

    def run(self, wanted: Any = "full", *, retry_due: bool = False, hours: float = 0.0) -> ExitCode:
        return jobs.run_backup(self.config, wanted, retry_due=retry_due, now=lambda: START + timedelta(hours=hours))

    def said(self) -> str:
        return self.messages.read_text() if self.messages.exists() else ""

    def add(self, *manifests: Manifest) -> None:
        for manifest in manifests:
            self.store.objects[name_of_manifest(manifest.id)] = manifest.to_json()

    def backups(self) -> list[Manifest]:
        return load_manifests(self.store.store)[0]


@pytest.fixture
def world(tmp_path: Path, configuration: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> World:
    for name in ("state", "spool"):
        (tmp_path / name).mkdir()
    messages = tmp_path / "messages"
    changes = {
        "state_directory": str(tmp_path / "state"),
        "backup.spool_directory": str(tmp_path / "spool"),
        "backup.segment_bytes": 65536,
        "notifications.command": ["sh", "-c", f"cat >> {messages}"],
    }
    made = World(parse(configuration(**changes)), MemoryStore(), FakeEngine(), messages)
    monkeypatch.setattr(jobs, "Store", lambda *_: made.store)
    monkeypatch.setattr(jobs, "engine_of", lambda config: made.engine)
    for module in (jobs, take):
        monkeypatch.setattr(module, "connect_to_own", lambda config: made)
        monkeypatch.setattr(module, "observe", lambda connection: made.state)
    monkeypatch.setattr(fingerprint, "take", lambda *_: full().fingerprint)
    return made


def test_a_full_counts_once_its_manifest_is_there(world: World) -> None:
    world.engine.command = "head -c 1000000 /dev/urandom"
    assert world.run() == ExitCode.DONE
    (manifest,) = world.backups()
    assert manifest.id == "20261122T010000Z-full-db1"
    assert manifest.lineage == f"{SERVER}-20261122T010000Z"
    assert (manifest.chain_id, manifest.parent_id, manifest.on_primary) == (manifest.id, None, False)
    assert (manifest.gtid_contained, manifest.gtid_upper) == (gtids("A:1-10"), gtids("A:1-11"))
    assert len(manifest.segments) > 10
    assert manifest.stored_bytes == sum(len(world.store.objects[s.name]) for s in manifest.segments)
    assert world.store.order[-1] == name_of_manifest(manifest.id)
    assert world.engine.kept == [manifest.id]
    assert world.said().startswith("OK full backup of lab (db1)\n")


def test_an_incremental_upon_the_newest(world: World) -> None:
    world.run()
    world.state = replace(REPLICA, gtid_executed=gtids("A:1-30"), binlog_file="binlog.000031")
    world.run("incremental", hours=24)
    first, second = world.backups()
    assert (second.type, second.parent_id, second.chain_id) == ("incremental", first.id, first.id)
    assert f"reason incremental upon {first.id}" in world.said()


@pytest.mark.parametrize("kind", ["full", "incremental"])
def test_one_message_for_each_backup_word_for_word(world: World, monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
    hours = 0.0
    reason = "full as asked"
    if kind == "incremental":
        world.run()
        world.messages.unlink()
        world.state = replace(REPLICA, gtid_executed=gtids("A:1-30"), binlog_file="binlog.000031")
        hours, reason = 24.0, "incremental upon 20261122T010000Z-full-db1"
    ticks = iter([1000.0, 1000.0, 1200.4])
    monkeypatch.setattr(jobs, "monotonic", lambda: next(ticks))
    world.run(kind, hours=hours)
    made = world.backups()[-1]
    assert world.said() == (
        f"OK {kind} backup of lab (db1)\n"
        f"size {made.stored_bytes} B compressed (3.9 KiB data), took 3 min 20 s\n"
        f"backup {made.id}\n"
        f"chain 20261122T010000Z-full-db1, reason {reason}"
    )


def test_promoted_to_full_and_says_why(world: World) -> None:
    world.run()
    world.engine.kept.clear()
    world.state = replace(REPLICA, gtid_executed=gtids("A:1-30"))
    world.run("incremental", hours=24)
    assert [manifest.type for manifest in world.backups()] == ["full", "full"]
    assert "reason full instead of incremental: the block signature of" in world.said()


@pytest.mark.parametrize(
    ("command", "blamed"),
    [
        ("printf data; exit 3", "fake engine: exited with status 3"),
        ("kill -9 $$", "fake engine: was killed by SIGKILL"),
        ("head -c 500000 /dev/urandom; exit 1", "fake engine: exited with status 1"),
    ],
)
def test_a_stage_that_dies_leaves_nothing_that_counts(world: World, command: str, blamed: str) -> None:
    world.engine.command = command
    with pytest.raises(ToolError, match=blamed):
        world.run()
    assert world.store.objects == {}
    assert world.engine.kept == []
    assert world.said().startswith(f"FAILED full backup of lab (db1)\n{blamed}\n")
    assert world.said().endswith("Runbook: docs/runbooks/backup_failed.md")


def test_a_storage_error_leaves_nothing_that_counts(world: World) -> None:
    world.engine.command = "head -c 500000 /dev/urandom"
    world.store.refuse = {"backups/20261122T010000Z-full-db1/segment-000003.lz4"}
    with pytest.raises(StorageError, match=r"segment-000003\.lz4: refused"):
        world.run()
    assert world.backups() == []


def test_a_key_that_may_not_delete_does_not_hide_the_error(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.store.refuse = {name_of_manifest("20261122T010000Z-full-db1")}
    with pytest.raises(StorageError, match=r"manifest\.json: refused"):
        world.run()
    assert list(world.store.objects) == ["backups/20261122T010000Z-full-db1/segment-000001.lz4"]
    assert "what was uploaded of 20261122T010000Z-full-db1 stays" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"uptime": 0.0}, "MySQL was restarted 0 s ago"),
        ({"state": replace(REPLICA, server_uuid=OTHER)}, f"the server's UUID was {SERVER}"),
        ({"state": replace(REPLICA, binlog_file="binlog.000001")}, "binlogs started over"),
    ],
)
def test_another_server_at_the_end_gives_no_backup(
    world: World, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], message: str
) -> None:
    def during() -> None:
        for name, value in change.items():
            setattr(world, name, value)

    world.engine.during = during
    monkeypatch.setattr(take, "RESTART_SLACK_SECONDS", -1.0)
    with pytest.raises(ToolError, match=message):
        world.run()
    assert world.store.objects == {}


def test_a_refusal_before_the_start_is_reported(world: World) -> None:
    world.engine.refusal = ToolError("1 user tables are not InnoDB: shop.old (MyISAM)")
    with pytest.raises(ToolError):
        world.run()
    assert "shop.old (MyISAM)" in world.said()


def test_no_fingerprint_is_no_reason_to_lose_a_backup(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object) -> None:
        raise ToolError("no snapshot")

    monkeypatch.setattr(fingerprint, "take", refuses)
    world.run()
    assert world.backups()[0].fingerprint is None
    assert "Without a fingerprint: the log says why." in world.said()


@pytest.mark.parametrize(
    ("state", "newest_hours", "works"),
    [
        (REPLICA, -1, True),
        (replace(REPLICA, channels=(ReplicaChannel(False, True, 0, "gone", "db2"),)), -1, False),
        (replace(PRIMARY, connected_replicas=1), -1, False),
        (replace(PRIMARY, connected_replicas=1), -21 * 24, True),  # longer ago than what can be a parent
        (PRIMARY, -23, False),
        (PRIMARY, -25, True),
        (replace(PRIMARY, read_only=True), -25, False),
    ],
)
def test_whose_turn_it_is(world: World, state: ServerState, newest_hours: float, works: bool) -> None:
    world.add(
        full(backup_id(START + timedelta(hours=newest_hours), "full", "db2"), hours=newest_hours, lineage="other")
    )
    world.state = state
    if works:
        assert world.run() == ExitCode.DONE
    else:
        with pytest.raises(NotThisHostError):
            world.run()
        assert world.said() == ""
        assert len(world.backups()) == 1


def test_the_primary_says_that_it_stepped_in(world: World) -> None:
    world.state = PRIMARY
    world.run()
    assert "Taken on the primary: no replica is connected and there is no backup yet." in world.said()
    assert world.backups()[0].on_primary


def test_the_retry_does_nothing_when_the_due_backup_is_there(world: World) -> None:
    world.add(full("20261122T010000Z-full-db1", hours=0.0))
    assert world.run("incremental", retry_due=True, hours=5) == ExitCode.DONE
    assert len(world.backups()) == 1
    assert world.said() == ""


def test_the_retry_takes_what_is_due_whichever_program_was_called(world: World) -> None:
    parent = full("20261121T010000Z-full-db1", hours=-24)
    world.add(parent, incremental("20261121T020000Z-incremental-db1", parent, hours=-23))
    assert world.run("incremental", retry_due=True, hours=5) == ExitCode.DONE
    assert [manifest.type for manifest in world.backups()] == ["full", "incremental", "full"]


def test_one_run_at_a_time(world: World) -> None:
    with hold(jobs.LOCK, world.config.state_directory), pytest.raises(LockedError):
        world.run()
    assert world.said() == ""


def test_a_damaged_manifest_is_no_parent(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.run()
    name = name_of_manifest("20261122T010000Z-full-db1")
    document = json.loads(world.store.objects[name])
    world.store.objects[name] = json.dumps({**document, "host": "db2"}).encode()
    world.run("incremental", hours=24)
    assert [manifest.type for manifest in world.backups()] == ["full"]
    assert f"{name} does not match its own SHA-256" in caplog.text
    assert "full instead of incremental: the store holds no recent backup" in world.said()


@pytest.mark.parametrize(
    ("uptime", "elapsed", "expected"), [(100, 50, False), (50, 50.9, False), (48, 50, False), (10, 50, True)]
)
def test_restarted(uptime: float, elapsed: float, expected: bool) -> None:
    assert take.restarted(uptime, elapsed) is expected
