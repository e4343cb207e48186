"""Look at a lab whose guards run, write to it from a client that notes every answer, and break it."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.faults import kill, pids
from support.hosts import Host, Lab, wait_until

RECORD_FILE = "/var/lib/holdfast/record/record.json"
REPORT_FILE = "/run/holdfast/guard-report.json"
MYSQLD = "^/usr/sbin/mysqld"
PROBE = "/var/lib/holdfast/probe"


def record(lab: Lab) -> dict[str, Any]:
    """Return the keeper's record as it lies on its disk."""
    found: dict[str, Any] = json.loads(lab.app1.read(RECORD_FILE))["record"]
    return found


def report(host: Host) -> dict[str, Any]:
    """Return what the host's guard laid down last."""
    found: dict[str, Any] = json.loads(host.read(REPORT_FILE))
    return found


def uuid_of(host: Host) -> str:
    """Return the server's uuid."""
    return host.value("SELECT @@server_uuid")


def in_sync(lab: Lab) -> str:
    """Return the server_uuid that the record names in sync; empty for none."""
    named = record(lab)["in_sync"]
    return named["server_uuid"] if named else ""


def switches(host: Host) -> tuple[int, int, int]:
    """Return super_read_only, offline_mode and the source's side of semi-sync, as root sees them."""
    question = "SELECT @@super_read_only, @@offline_mode, @@rpl_semi_sync_source_enabled"
    row = host.sql(question, timeout_seconds=5)[0]  # it may be frozen
    return int(row[0]), int(row[1]), int(row[2])


def mysqld_pid(host: Host) -> int:
    """Return mysqld's process id on the host."""
    return pids(host, MYSQLD)[0]


def log_of(host: Host, since: float) -> str:
    """Return what the guard logged since a moment (time.time())."""
    when = f"@{since:.0f}"
    return host.run("journalctl", "-t", "mysql-guard", "-u", "mysql-guard", "--since", when, "-o", "short-unix").out


def settle(lab: Lab, limit_seconds: float = 90) -> None:
    """Wait until db1 is the open primary, and the running mysqld of db2 is in sync."""

    def healthy() -> bool:
        try:
            mine, other = report(lab.db1), report(lab.db2)
            named = record(lab)["in_sync"]
            return bool(
                switches(lab.db1) == (0, 0, 1)
                and named
                and other["server"]
                and named == other["server"]["instance"]
                and other["io_connected"]
                and not mine["sql_error"]
            )
        except Exception:
            return False

    wait_until(healthy, "the pair is in health again", limit_seconds=limit_seconds, every_seconds=0.5)


@contextmanager
def cut(*pairs: tuple[Host, Host]) -> Iterator[None]:
    """Cut the private network between hosts, in both directions, for the time of the block."""
    with ExitStack() as stack:
        for one, other in pairs:
            for host, address in ((one, other.address), (other, one.address)):
                _route(host, "add", address)
                stack.callback(_route, host, "del", address)
        yield


def _route(host: Host, verb: str, address: str) -> None:
    # from outside: whatever the host itself may do
    argv = ["nsenter", "-t", str(host.init_pid()), "-n", "ip", "route", verb, "blackhole", address]
    # a host that was without power meanwhile has lost its cuts
    subprocess.run(argv, check=verb == "add", capture_output=True)


@contextmanager
def stopped(host: Host, unit: str) -> Iterator[None]:
    """Stop a unit for the time of the block."""
    host.run("systemctl", "stop", unit)
    try:
        yield
    finally:
        host.run("systemctl", "start", unit)


@contextmanager
def by_hand(lab: Lab) -> Iterator[None]:
    """Stop both guards for the time of the block, in which a test does to a replica what its guard would undo.

    The primary goes on: it waits for its replica's ACKs, which must not stay away for long.
    """
    with ExitStack() as stack:
        for host in lab.servers:
            stack.enter_context(stopped(host, "mysql-guard"))
        yield


def kill_mysqld(host: Host, signal: str = "KILL") -> None:
    """Send a signal to mysqld."""
    kill(host, MYSQLD, signal)


@dataclass(frozen=True)
class Answer:
    """One write of the probe: when it was sent and answered (time.time()), and the error, empty for OK."""

    row: int
    sent: float
    answered: float
    error: str


class Probe:
    """A client of the application on a database host: one row after the other, each answer noted."""

    def __init__(self, host: Host) -> None:
        """Name the host whose server it writes to, over the socket."""
        self.host = host
        self.since = 0.0

    def prepare(self) -> None:
        """Make its table and its account. Only on the primary."""
        self.host.sql(
            "CREATE DATABASE IF NOT EXISTS probe; CREATE TABLE IF NOT EXISTS probe.rows_ (id BIGINT PRIMARY KEY);"
            "CREATE USER IF NOT EXISTS probe@localhost IDENTIFIED BY 'probe';"
            "GRANT INSERT, SELECT ON probe.* TO probe@localhost"
        )
        self.host.write(f"{PROBE}.py", (Path(__file__).parent / "guarded_probe.py").read_text(), "0755")

    def start(self) -> None:
        """Begin to write."""
        self.since = time.time()
        self.host.run("rm", "-f", f"{PROBE}.answers")
        self.host.run(
            "systemd-run", "--quiet", "--collect", "--unit=holdfast-probe",
            "/usr/bin/python3", f"{PROBE}.py", f"{PROBE}.answers",
        )  # fmt: skip
        wait_until(lambda: bool(self.acknowledged()), "the probe's first row", limit_seconds=20)

    def stop(self) -> None:
        """Stop writing."""
        self.host.run("systemctl", "stop", "holdfast-probe", check=False)

    def answers(self) -> list[Answer]:
        """Return every answer so far."""
        text = self.host.run("sh", "-c", f"cat {PROBE}.answers 2>/dev/null || true").out
        return [Answer(**json.loads(line)) for line in text.splitlines() if line.endswith("}")]

    def acknowledged(self) -> list[Answer]:
        """Return those that were OK."""
        return [answer for answer in self.answers() if not answer.error]

    def longest_wait(self, since: float = 0.0) -> float:
        """Return the longest time without an OK, in seconds, up to the last OK."""
        times = [answer.answered for answer in self.acknowledged() if answer.answered >= since]
        return max((later - earlier for earlier, later in zip(times, times[1:], strict=False)), default=0.0)

    def lost(self, host: Host) -> set[int]:
        """Return the acknowledged rows that a server does not have."""
        there = {int(row[0]) for row in host.sql("SELECT id FROM probe.rows_")}
        return {answer.row for answer in self.acknowledged()} - there
