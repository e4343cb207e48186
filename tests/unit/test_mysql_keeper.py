"""The program mysql-keeper, as a process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from holdfast import config
from holdfast.failover.https import RefusedError
from holdfast.failover.keeper_client import KeeperClient
from support.authority import Authority
from support.repository import ROOT

PROGRAM = ROOT / "scripts/mysql_keeper.py"
INIT = ("init", "--primary", "db1", "--server", "db1=uuid-a", "--server", "db2=uuid-b")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@dataclass
class Host:
    """The keeper's host: its configuration lies at `path`."""

    path: Path
    record: Path
    authority: Authority
    environment: dict[str, str]
    systemd: socket.socket

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, str(PROGRAM), "--config", str(self.path), *arguments]
        return subprocess.run(argv, capture_output=True, text=True, timeout=30, env=self.environment)

    def start(self) -> subprocess.Popen[bytes]:
        argv = [sys.executable, str(PROGRAM), "--config", str(self.path), "serve"]
        return subprocess.Popen(argv, env=self.environment)


@pytest.fixture
def host(
    tmp_path: Path, configuration: Callable[..., dict[str, Any]], failover_section: dict[str, Any]
) -> Iterator[Host]:
    authority = Authority(tmp_path / "authority")
    tls = authority.certificate("app1")
    record = tmp_path / "record/record.json"
    record.parent.mkdir()
    failover_section["tls"] = {
        "ca_file": str(tls.ca_file),
        "certificate_file": str(tls.certificate_file),
        "key_file": str(tls.key_file),
    }
    failover_section["keeper"] |= {"port": free_port(), "record_file": str(record)}
    for each in failover_section["database_hosts"]:
        each["guard_port"] = free_port()
    document = configuration(host="app1", failover=failover_section, state_directory=str(tmp_path / "state"))
    path = tmp_path / "config.yml"
    path.write_text(yaml.safe_dump(document))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        yield Host(path, record, authority, environment, systemd)


def test_init_makes_the_record_once(host: Host) -> None:
    first = host.run(*INIT)
    assert first.returncode == 0 and "primary  db1 (uuid-a)" in first.stdout, first.stderr
    text = host.record.read_text()
    again = host.run("init", "--primary", "db2", "--server", "db1=uuid-a", "--server", "db2=uuid-b")
    assert again.returncode == 0 and "there is a record already" in again.stdout
    assert host.record.read_text() == text
    shown = host.run("show", "--json")
    assert json.loads(shown.stdout)["hosts"] == {"uuid-a": "db1", "uuid-b": "db2"}
    assert "in sync  nobody" in host.run("show").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        (*INIT[:-2],),
        (*INIT, "--server", "db3=uuid-c"),
        (*INIT[:-1], "db2=uuid-a"),
        ("init", "--primary", "db3", *INIT[3:]),
        (*INIT[:-1], "db2="),
        (*INIT, "--term", "0"),
        (*INIT, "--term", "soon"),
    ],
)
def test_init_refuses_a_pair_that_is_not_the_configurations(host: Host, arguments: tuple[str, ...]) -> None:
    done = host.run(*arguments)
    assert done.returncode == 2 and not host.record.exists()


def test_after_a_disaster_the_first_term_is_one_that_nobody_knows(host: Host) -> None:
    assert host.run(*INIT, "--term", "1008").returncode == 0
    assert json.loads(host.run("show", "--json").stdout)["record"]["term"] == 1008


def test_without_a_record_show_says_what_it_means(host: Host) -> None:
    done = host.run("show")
    assert done.returncode == 4 and "nobody is promoted" in done.stderr


def test_rebuild_says_what_each_guard_says_and_writes_nothing(host: Host) -> None:
    done = host.run("rebuild")
    assert done.returncode == 4 and not host.record.exists()
    assert "db1: does not answer" in done.stdout and "db2: does not answer" in done.stdout
    assert host.run("rebuild", "--primary", "db1", "--others-are-off").returncode == 4


def test_another_host_is_not_the_keepers(host: Host) -> None:
    document = yaml.safe_load(host.path.read_text())
    host.path.write_text(yaml.safe_dump({**document, "host": "db1"}))
    assert host.run(*INIT).returncode == 75


@contextlib.contextmanager
def serving(host: Host) -> Iterator[KeeperClient]:
    """Run the keeper until the block is left; it says READY when it answers."""
    keeper = host.start()
    try:
        assert host.systemd.recv(100) == b"READY=1"
        yield KeeperClient(config.load(host.path).failover, "app1", 5.0)
    finally:
        keeper.send_signal(signal.SIGTERM)
        assert keeper.wait(20) == 143


def test_one_keeper_serves_a_second_refuses_and_sigterm_ends_it(host: Host) -> None:
    assert host.run(*INIT).returncode == 0
    with serving(host) as client:
        record = client.record()
        assert record is not None and record.primary == "uuid-a"
        assert host.systemd.recv(100) == b"WATCHDOG=1"
        second = host.run("serve")
        assert second.returncode == 6 and "keeper.lock: held by process" in second.stderr
        assert host.run(*INIT).returncode == 6


def test_a_damaged_file_is_served_to_nobody(host: Host) -> None:
    host.record.write_text("{}")
    with serving(host) as client, pytest.raises(RefusedError, match="not the keys of a record; nothing is granted"):
        client.record()
    assert host.run(*INIT).returncode == 4
    assert host.record.read_text() == "{}"
