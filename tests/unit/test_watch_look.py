"""What the watcher sees of a host, with real files, a real openssl and a real HTTP answer."""

from __future__ import annotations

import json
import os
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, cast

import pytest

from holdfast.backup import drills, watch_drills, watch_look
from holdfast.backup.alarm_engine import Memory
from holdfast.backup.watch_store import Cleanup, Drill
from holdfast.config_failover import FailoverConfig
from holdfast.database import Connection
from holdfast.errors import ToolError
from holdfast.process import Completed, run

NOW = datetime(2026, 11, 22, 13, 0, tzinfo=UTC)


def test_a_file_system_counts_once_and_what_is_missing_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    samples = ((NOW, 5),)
    found = watch_look.disks_of(
        [str(tmp_path), str(tmp_path / "a"), "/nonexistent"], Memory(NOW, used={str(tmp_path): samples})
    )
    assert [(disk.mount, disk.samples) for disk in found] == [(str(tmp_path), samples)]
    room = os.statvfs(tmp_path)
    assert found[0].total == pytest.approx((room.f_blocks - room.f_bfree + room.f_bavail) * room.f_frsize, rel=0.01)
    assert 0 < found[0].used < found[0].total


def test_a_certificate_and_what_is_none(tmp_path: Path) -> None:
    subject = [
        "-subj",
        "/CN=db1",
        "-keyout",
        "/dev/null",
        "-nodes",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
    ]
    path = tmp_path / "cert.pem"
    run(["openssl", "req", "-x509", "-days", "30", *subject, "-out", str(path)], name="openssl")
    found = watch_look.certificate(str(path))
    assert found.at is not None
    assert abs(found.at - datetime.now(UTC) - timedelta(days=30)) < timedelta(minutes=5)
    for bad in (tmp_path / "missing", tmp_path):
        assert watch_look.certificate(str(bad)).at is None
        assert watch_look.certificate(str(bad)).error


def test_another_hosts_clock() -> None:
    class Ahead(BaseHTTPRequestHandler):
        def date_time_string(self, timestamp: float | None = None) -> str:
            del timestamp
            return super().date_time_string(datetime.now(UTC).timestamp() + 120)

        def do_GET(self) -> None:  # noqa: N802  (the name that http.server wants)
            self.send_response(503)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            del format, arguments

    server = HTTPServer(("127.0.0.1", 0), Ahead)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        found = watch_look.offsets_of([f"db2=127.0.0.1:{server.server_address[1]}", "db1=127.0.0.1:9"])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert found == {"db2": pytest.approx(120, abs=1.1)}


def test_a_process_has_a_name_of_its_own(tmp_path: Path) -> None:
    for name, text in {
        "sys/kernel/random/boot_id": "12345678-aaaa\n",
        "42/stat": "42 (mysqld) S " + " ".join(str(number) for number in range(4, 30)),
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "mysqld.pid").write_text("42\n")
    assert watch_look.instance_of(tmp_path / "mysqld.pid", tmp_path) == "12345678-22"
    assert watch_look.instance_of(tmp_path / "gone.pid", tmp_path) == "gone.pid"


class FakeServer:
    """A server that knows its binlogs."""

    def __init__(self, folder: Path, seconds: int = 14 * 86400) -> None:
        self.folder = folder
        self.seconds = seconds

    def value(self, sql: str) -> object:
        return self.seconds if "expire" in sql else str(self.folder / "binlog")

    def rows(self, sql: str) -> list[dict[str, Any]]:
        assert sql == "SHOW BINARY LOGS"
        return [{"Log_name": f"binlog.{number:06d}"} for number in (1, 2, 3, 4)]


def test_binlogs_of_this_host(tmp_path: Path) -> None:
    for number in (1, 2, 4):  # the third was removed between two questions
        path = tmp_path / f"binlog.{number:06d}"
        path.touch()
        os.utime(path, (NOW.timestamp() + number, NOW.timestamp() + number))
    (tmp_path / "archived.json").write_text(json.dumps({"lineage": "x", "files": {"binlog.000001": {}}}))
    found = watch_look.local_binlogs(cast(Connection, FakeServer(tmp_path)), tmp_path)
    expires = NOW + timedelta(days=14)
    assert [(each.file, each.expires - expires, each.archived) for each in found] == [
        ("binlog.000001", timedelta(seconds=1), True),
        ("binlog.000002", timedelta(seconds=2), False),
    ]
    (tmp_path / "archived.json").write_text("{")
    assert not any(each.archived for each in watch_look.local_binlogs(cast(Connection, FakeServer(tmp_path)), tmp_path))
    assert watch_look.local_binlogs(cast(Connection, FakeServer(tmp_path, 0)), tmp_path) == []


@pytest.mark.parametrize(
    ("listening", "states", "expected"),
    [
        (set(), {"mysql-guard.service": "failed"}, set()),
        ({"keeper"}, {"mysql-guard.service": "failed"}, {"mysql-guard.service"}),
        ({"db2"}, {"mysql-guard.service": "failed", "mysql-keeper.service": "failed"}, {
            "mysql-guard.service", "mysql-keeper.service",
        }),
        ({"keeper"}, {"mysql-keeper.service": "failed"}, set()),
        ({"keeper", "db2"}, {"mysql-guard.service": "active"}, set()),
    ],
)  # fmt: skip
def test_what_others_tell_is_not_told_again(
    monkeypatch: pytest.MonkeyPatch, listening: set[str], states: dict[str, str], expected: set[str]
) -> None:
    class Named:
        def __init__(self, name: str) -> None:
            self.name = self.address = name
            self.port = self.guard_port = 1

    class Failover:
        keeper = Named("keeper")
        database_hosts = (Named("db1"), Named("db2"))

    class Site:
        host = "db1"
        failover_or_none = cast(FailoverConfig, Failover())

    monkeypatch.setattr(watch_look, "listens", lambda address, port: address in listening)
    assert watch_look.told_elsewhere(cast(Any, Site()), states) == expected
    Site.failover_or_none = cast(Any, None)
    assert watch_look.told_elsewhere(cast(Any, Site()), states) == set()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("active\nfailed\n", {"a.service": "active", "b.service": "failed"}),
        ("", {"a.service": "unknown", "b.service": "unknown"}),
        ("active\n", {"a.service": "unknown", "b.service": "unknown"}),
        (None, {"a.service": "unknown", "b.service": "unknown"}),
    ],
)
def test_what_systemd_says_of_units(
    monkeypatch: pytest.MonkeyPatch, answer: str | None, expected: dict[str, str]
) -> None:
    def systemctl(*_: object, **__: object) -> Completed:
        if answer is None:
            raise ToolError("systemctl: took longer than 5 s and was stopped")
        return Completed(3, answer.encode(), "")

    monkeypatch.setattr(watch_look, "run", systemctl)
    assert watch_look.states_of(["a.service", "b.service"]) == expected
    assert watch_look.states_of([]) == {}


def test_nobody_listens_there() -> None:
    assert not watch_look.listens("127.0.0.1", 9)


def test_drills_and_cleanups(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good = drills.Drill(NOW, "full", True)
    bad = [drills.Drill(NOW - timedelta(days=7), "full", False, note="rows differ"), drills.Drill(NOW, "full", False)]
    objects = {
        good.name: good.to_json(),
        bad[0].name: bad[0].to_json(),
        "state/drills/20261116T130000Z.json": bad[1].to_json(),
        "state/drills/20261117T130000Z.json": b"{",
        "state/drills/notes.json": b"{}",
    }
    found = watch_drills.drills_of(objects)
    assert [drill.problem for drill in found[:2]] == ["full: rows differ", "full: it did not pass"]
    assert found[2].problem.startswith("state/drills/20261117T130000Z.json cannot be read: ")
    assert found[3] == Drill(NOW, "")
    assert "notes.json is not named after a time" in caplog.text
    assert watch_drills.cleanup_of(tmp_path) is None
    (tmp_path / "cleanup.json").write_text('{"at": "2026-11-22T13:00:00Z", "refused": "x"}')
    assert watch_drills.cleanup_of(tmp_path) == Cleanup(NOW)
    (tmp_path / "cleanup.json").write_text("[]")
    assert watch_drills.cleanup_of(tmp_path) is None
