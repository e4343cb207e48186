from __future__ import annotations

import json
import os
import socket
import struct
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from holdfast.cluster import ReplicaChannel
from holdfast.database import Connection, DatabaseError
from holdfast.errors import ToolError
from holdfast.failover import health
from holdfast.failover.health import Depth, Sample
from holdfast.failover.health_service import HealthServer, Responder, Sampler, Server, in_sync_of, observe

PRIMARY = Sample(read_only=False, super_read_only=False)
CHANNEL = ReplicaChannel(True, True, 3, "", "db1")
REPLICA = Sample(channels=(CHANNEL,))
ORPHAN = replace(
    REPLICA,
    channels=(replace(CHANNEL, io_running=False, lag_seconds=None, last_error="2003"),),
    receiver_connecting=True,
)


@pytest.mark.parametrize(
    ("sample", "yes", "reason"),
    [
        (PRIMARY, True, "writable"),
        (Sample(), False, "read-only"),
        (replace(PRIMARY, super_read_only=True), False, "read-only"),
        (replace(PRIMARY, offline=True), False, "offline_mode"),
        (Sample(error="MySQL at x: connect: error 3032: offline", error_number=3032), False, "offline_mode"),
        (Sample(error="error 1040: Too many connections", error_number=1040), False, "1040"),
        (health.no_answer(0.9), False, "did not answer within 0.9 s"),
    ],
)
def test_writes_go_to_a_writable_server_alone(sample: Sample, yes: bool, reason: str) -> None:
    answer = health.primary(sample)
    assert answer.yes is yes
    assert reason in answer.reason


def changed(**changes: Any) -> Sample:
    """Return a replica whose channel differs."""
    return replace(REPLICA, channels=(replace(CHANNEL, **changes),))


@pytest.mark.parametrize(
    ("sample", "yes", "reason"),
    [
        (REPLICA, True, "replica: at most 3 s behind db1"),
        (changed(lag_seconds=60), True, "60 s"),
        (changed(lag_seconds=61), False, "61 s behind db1, 60 s are allowed"),
        (changed(lag_seconds=None), False, "unknown"),
        (changed(sql_running=False, last_error="1062"), False, "the applier does not run: 1062"),
        (changed(io_running=False), False, "the receiver does not run"),
        (PRIMARY, False, "this is the primary"),
        (Sample(), False, "read-only and no replica"),
        (replace(REPLICA, channels=(CHANNEL, CHANNEL)), False, "2 replication channels"),
        (replace(REPLICA, offline=True), False, "offline_mode"),
        (health.no_answer(0.9), False, "did not answer"),
        # the source is gone: good for as long as it cannot be further behind than allowed
        (ORPHAN, False, "unknown: 2003"),
        (
            replace(ORPHAN, seconds_since_contact=50.0, lag_at_contact_seconds=10),
            True,
            "without its source: at most 60",
        ),
        (replace(ORPHAN, seconds_since_contact=51.0, lag_at_contact_seconds=10), False, "61 s behind"),
        (replace(ORPHAN, receiver_connecting=False, seconds_since_contact=1.0), False, "the receiver does not run"),
    ],
)
def test_reads_go_to_a_replica_that_is_near_enough(sample: Sample, yes: bool, reason: str) -> None:
    answer = health.replica(sample, 60)
    assert answer.yes is yes
    assert reason in answer.reason


class FakeSession:
    """Answers the three statements; `fails` is raised instead."""

    def __init__(self, *, read_only: int = 0, rows: list[dict[str, Any]] | None = None) -> None:
        self.read_only, self.replication, self.asked = read_only, rows or [], list[str]()
        self.fails: Exception | None = None

    def rows(self, sql: str, args: object = ()) -> list[dict[str, Any]]:
        self.asked.append(sql.split()[1])
        if self.fails is not None:
            raise self.fails
        if "REPLICA STATUS" in sql:
            return self.replication
        if "GLOBAL STATUS" in sql:
            return [{"Variable_name": "Threads_running", "Value": "2"}, {"Variable_name": "Uptime", "Value": "7"}]
        return [{"read_only": self.read_only, "super_read_only": self.read_only, "offline_mode": 0}]

    def close(self) -> None:
        self.asked.append("closed")


ROW = {
    "Replica_IO_Running": "Yes",
    "Replica_SQL_Running": "Yes",
    "Seconds_Behind_Source": 2,
    "Last_IO_Error": "",
    "Last_SQL_Error": "",
    "Source_Host": "db1",
}


def as_session(fake: FakeSession) -> Connection:
    return cast("Connection", fake)


def test_a_writable_server_is_not_asked_about_replication() -> None:
    fake = FakeSession()
    assert health.primary(observe(as_session(fake), Depth.REPLICATION)).yes
    assert fake.asked == ["@@GLOBAL.read_only"]
    observe(as_session(fake), Depth.STATUS)
    assert fake.asked[2:] == ["REPLICA", "GLOBAL"]


def test_the_session_is_kept_and_opened_again_once_when_it_was_killed() -> None:
    opened: list[FakeSession] = []

    def open_session() -> Connection:
        opened.append(FakeSession())
        return as_session(opened[-1])

    server = Server(open_session)
    assert not server.look(Depth.SWITCHES).error
    assert not server.look(Depth.SWITCHES).error
    assert len(opened) == 1
    opened[0].fails = DatabaseError("killed", number=2013)
    assert not server.look(Depth.SWITCHES).error
    assert len(opened) == 2
    assert opened[0].asked[-1] == "closed"


def test_a_server_that_refuses_is_told_by_its_error() -> None:
    def refuse() -> Connection:
        raise DatabaseError("error 3032: offline\nmore", number=3032)

    sample = Server(refuse).look(Depth.STATUS)
    assert (sample.error, sample.error_number) == ("error 3032: offline", 3032)
    text = health.metrics(sample, None)
    assert "holdfast_mysql_up 1.0\n" in text
    assert "holdfast_mysql_offline 1.0\n" in text


def test_a_broken_handshake_is_an_answer_too() -> None:
    def broken() -> Connection:
        raise IndexError("index out of range")

    assert Server(broken).look(Depth.SWITCHES).error == "index out of range"


def test_a_replica_remembers_when_it_last_heard_its_source() -> None:
    now = [100.0]
    fake = FakeSession(read_only=1, rows=[dict(ROW)])
    server = Server(lambda: as_session(fake), lambda: now[0])
    assert health.lag_seconds(server.look(Depth.REPLICATION)) == 2
    fake.replication = [{**ROW, "Replica_IO_Running": "Connecting", "Seconds_Behind_Source": None}]
    now[0] = 140.0
    assert health.replica(server.look(Depth.REPLICATION), 60).yes
    now[0] = 159.0
    assert not health.replica(server.look(Depth.REPLICATION), 60).yes
    fake.read_only = 0
    server.look(Depth.SWITCHES)
    fake.read_only = 1
    assert "unknown" in health.replica(server.look(Depth.REPLICATION), 60).reason


def test_one_look_serves_all_who_asked_before_it_began() -> None:
    depths: list[Depth] = []
    first, go = threading.Event(), threading.Event()

    def look(depth: Depth) -> Sample:
        depths.append(depth)
        first.set()
        assert go.wait(5)
        return PRIMARY

    sampler = Sampler(look)
    askers = [threading.Thread(target=sampler.sample, args=(Depth.SWITCHES, 5.0))]
    askers[0].start()
    assert first.wait(5)
    for depth in (Depth.SWITCHES, Depth.STATUS, Depth.REPLICATION):
        askers.append(threading.Thread(target=sampler.sample, args=(depth, 5.0)))
        askers[-1].start()
    time.sleep(0.1)
    go.set()
    for asker in askers:
        asker.join(5)
    assert depths == [Depth.SWITCHES, Depth.STATUS]


@pytest.fixture
def frozen() -> Iterator[threading.Event]:
    """An event; while it is not set the server of `served` hangs."""
    thawed = threading.Event()
    thawed.set()
    yield thawed
    thawed.set()


@pytest.fixture
def served(frozen: threading.Event, tmp_path: Path) -> Iterator[str]:
    """The URL of a responder whose server is a primary."""

    def look(depth: Depth) -> Sample:
        frozen.wait(60)
        return replace(PRIMARY, status={"Threads_running": "2", "Uptime": "7", "Rpl_semi_sync_source_status": "ON"})

    report = tmp_path / "report.json"
    report.write_text(json.dumps({"in_sync_view": "uuid boot 12"}))
    with HealthServer("127.0.0.1", 0, Responder(Sampler(look), 60, report)) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_what_each_path_answers(served: str) -> None:
    assert get(f"{served}/primary") == (200, "primary: writable\n")
    assert get(f"{served}/replica?max_lag_seconds=5")[0] == 503
    assert get(f"{served}/replica?max_lag_seconds=-1")[0] == 400
    assert get(f"{served}/else")[0] == 404


def test_a_proxy_that_leaves_after_the_status_line_is_no_error(
    served: str, frozen: threading.Event, capfd: pytest.CaptureFixture[str]
) -> None:
    """HAProxy resets the connection once it has the status: several times a second, each was a traceback in the log."""
    host, port = served.removeprefix("http://").split(":")
    for leave_before in (False, True):
        for _ in range(20):
            with socket.create_connection((host, int(port)), timeout=5) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close is a reset
                if leave_before:
                    frozen.clear()
                client.sendall(b"GET /primary HTTP/1.0\r\n\r\n")
                if not leave_before:
                    assert client.recv(12) == b"HTTP/1.0 200"
            frozen.set()
    assert get(f"{served}/primary")[0] == 200
    assert capfd.readouterr().err == ""


def test_metrics_are_prometheus_text(served: str) -> None:
    status, text = get(f"{served}/metrics")
    assert status == 200
    lines = text.splitlines()
    assert len(lines) % 3 == 0
    for comment, kind, sample in zip(lines[0::3], lines[1::3], lines[2::3], strict=True):
        name, value = sample.split(" ")
        assert comment.startswith(f"# HELP {name} ") and kind.startswith(f"# TYPE {name} ")
        float(value)
    for wanted in (
        "up 1.0",
        "primary 1.0",
        "read_only 0.0",
        "threads_running 2.0",
        "semi_sync_source_status 1.0",
        "in_sync 1.0",
    ):
        assert f"holdfast_mysql_{wanted}" in lines


def test_a_hung_server_is_a_503_within_a_second_and_heals(served: str, frozen: threading.Event) -> None:
    frozen.clear()
    for path in ("primary", "replica"):
        began = time.monotonic()
        status, text = get(f"{served}/{path}")
        assert (status, time.monotonic() - began < 1.5) == (503, True)
        assert "did not answer within 0.9 s" in text
    assert "holdfast_mysql_up 0.0\n" in get(f"{served}/metrics")[1]
    frozen.set()
    assert get(f"{served}/primary")[0] == 200


def test_an_old_or_broken_report_of_the_guard_tells_nothing(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    assert in_sync_of(None, 0) is None
    assert in_sync_of(report, 0) is None
    for text, expected in (("{", None), ("[]", None), ('{"in_sync_view": ""}', False), ('{"in_sync_view": "x"}', True)):
        report.write_text(text)
        os.utime(report, (1000, 1000))
        assert in_sync_of(report, 1010) is expected
    assert in_sync_of(report, 1100) is None


def test_a_port_that_is_taken_is_named() -> None:
    responder = Responder(Sampler(lambda depth: PRIMARY), 60, None)
    with (
        HealthServer("127.0.0.1", 0, responder) as first,
        pytest.raises(ToolError, match=r"127\.0\.0\.1:\d+: cannot be listened on"),
    ):
        HealthServer("127.0.0.1", first.server_address[1], responder)
