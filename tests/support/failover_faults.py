"""Break hosts and networks of the pair, and put everything right again whatever was broken."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from support import hosts
from support.failover_load import PROGRAM
from support.failover_pair import CONFIGURATION, Pair
from support.hosts import Host, Lab, wait_until
from support.site import Overrides, merged

HELD_DOWN = "/etc/systemd/system/mysql.service.d/zz-suite.conf"
UNITS = {"db": ("mysql", "mysql-health", "mysql-guard", "mysql-relay-guard.socket", "mysql-relay-admin.socket")}


def processes(host: Host, *, spare: str = "") -> list[int]:
    """Return a host's processes as the controller sees them, systemd first; without those whose line has `spare`."""
    init = host.init_pid()
    space = Path(f"/proc/{init}/ns/pid").readlink()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "ns/pid").readlink() == space:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if not spare or spare not in line:
                    found.append(int(entry.name))
        except OSError:
            continue  # it ended meanwhile
    return sorted(found, key=lambda pid: (pid != init, pid))


def _signal_all(host: Host, number: signal.Signals, spare: str = "") -> None:
    for pid in processes(host, spare=spare):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def freeze(host: Host) -> None:
    """Stop a whole host between two instructions: systemd, mysqld, guard, all but the witness, who must see it."""
    _signal_all(host, signal.SIGSTOP, PROGRAM)
    _signal_all(host, signal.SIGSTOP, PROGRAM)  # what was started in between


def thaw(host: Host) -> None:
    """Let a host go on, systemd last."""
    for pid in reversed(processes(host)):
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            continue


@contextmanager
def frozen(host: Host) -> Iterator[None]:
    """Freeze a host for the time of the block."""
    freeze(host)
    try:
        yield
    finally:
        thaw(host)


def power_off(*those: Host) -> None:
    """Take the power from hosts, at once: SIGKILL to everything."""
    names = [host.container for host in those]
    subprocess.run(["podman", "kill", *names], check=False, capture_output=True)
    for host in those:
        wait_until(lambda host=host: host.init_pid() == 0, f"{host.name} is off")  # type: ignore[misc]


def power_on(*those: Host) -> None:
    """Boot hosts; returns when systemd has started everything."""
    argv = [sys.executable, str(hosts.LAB_PROGRAM), "up", *(host.name for host in those)]
    subprocess.run(argv, check=True, capture_output=True)


def hold_down(host: Host) -> None:
    """See to it that systemd does not start mysqld again when it dies."""
    host.run("mkdir", "-p", str(Path(HELD_DOWN).parent))
    host.write(HELD_DOWN, "[Service]\nRestart=no\n")
    host.run("systemctl", "daemon-reload")


def let_up(host: Host) -> None:
    """Let systemd start mysqld again, and start it."""
    host.run("rm", "-f", HELD_DOWN)
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "reset-failed", "mysql", check=False)
    host.run("systemctl", "start", "mysql", timeout_seconds=90)


@contextmanager
def reconfigured(pair: Pair, changes: Overrides) -> Iterator[None]:
    """Give the manager another configuration of failover for the time of the block; the guards keep theirs."""
    app = pair.lab.app1
    kept = app.read(CONFIGURATION)
    document = yaml.safe_load(kept)
    document["failover"] = merged(document["failover"], changes)
    app.write(CONFIGURATION, yaml.safe_dump(document), "0640")
    app.run("systemctl", "restart", pair.manager_unit)
    try:
        yield
    finally:
        app.write(CONFIGURATION, kept, "0640")
        app.run("systemctl", "restart", pair.manager_unit)


@contextmanager
def held_down(host: Host) -> Iterator[None]:
    """Hold a server down for the time of the block."""
    hold_down(host)
    try:
        yield
    finally:
        let_up(host)


def _filter(host: Host, verb: str, peer: Host) -> None:
    inside = ["nsenter", "-t", str(host.init_pid()), "-n"]
    rule = ["--source", peer.address, "--protocol", "tcp", "--dport", "3306", "--jump", "DROP"]
    subprocess.run([*inside, "iptables", verb, "INPUT", *rule], check=True, capture_output=True)


@contextmanager
def replication_cut(primary: Host, replica: Host) -> Iterator[None]:
    """Drop what a replica sends to its source's port for the time of the block; every other way between them stays."""
    _filter(primary, "--append", replica)
    try:
        yield
    finally:
        _filter(primary, "--delete", replica)


def put_right(pair: Pair) -> None:
    """Undo every fault that this suite knows, and start everything that a host should run."""
    lab: Lab = pair.lab
    for host in (*lab.servers, lab.app1):
        if host.init_pid():
            thaw(host)
    power_on(*lab.servers, lab.app1)
    for host in (*lab.servers, lab.app1):
        inside = ["nsenter", "-t", str(host.init_pid()), "-n", "ip", "route", "flush", "type", "blackhole"]
        subprocess.run(inside, check=False, capture_output=True)
        filters = ["nsenter", "-t", str(host.init_pid()), "-n", "iptables", "--flush", "INPUT"]
        subprocess.run(filters, check=False, capture_output=True)
        host.run("rm", "-f", HELD_DOWN)
        host.run("systemctl", "daemon-reload")
    app = ("mysql-keeper", pair.manager_unit, pair.proxy_unit)
    for host in (lab.app1, *lab.servers):
        units = app if host is lab.app1 else UNITS["db"]
        host.run("systemctl", "unmask", *units, check=False)
        host.run("systemctl", "reset-failed", check=False)
        host.run("systemctl", "start", *units, check=False)
    lab.app1.run("mysql-failover", "resume", check=False)
