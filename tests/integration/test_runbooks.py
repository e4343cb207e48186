"""Every command of the runbooks, run as it stands: on-call must not be the first to try it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from support.hosts import REPOSITORY, Lab

RUNBOOKS = REPOSITORY / "docs" / "runbooks"
# `ssh HOST WORDS` as OpenSSH has it (the words joined and given to a shell), by way of podman
SSH = 'ssh() {{ local host=$1; shift; podman exec -i "holdfast{number}-$host" sh -c "$*"; }}\n'


def commands_of(name: str) -> str:
    """Return the shell blocks of a runbook, joined."""
    return "\n".join(re.findall(r"^```sh\n(.*?)^```$", (RUNBOOKS / name).read_text(), re.M | re.S))


def follow(lab: Lab, name: str, folder: Path) -> str:
    """Run a runbook's commands one after the other; AssertionError with all output if one of them fails."""
    number = lab.db1.container.removeprefix("holdfast").split("-")[0]
    script = "set -euxo pipefail\n" + SSH.format(number=number) + commands_of(name)
    done = subprocess.run(["bash", "-c", script], cwd=folder, text=True, capture_output=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return done.stdout


@pytest.fixture(scope="module")
def backed_up(lab: Lab) -> Lab:
    """The lab as cron leaves it: a full backup in the site's own store, where shop.orders was never dropped before."""
    lab.replica().run("mysql-backup-full")
    lab.primary().sql("CREATE TABLE shop.orders (id INT PRIMARY KEY, what VARCHAR(40))")
    lab.primary().sql("INSERT INTO shop.orders VALUES (1, 'first'), (2, 'second')")
    return lab


def test_dropped_table(backed_up: Lab, tmp_path: Path) -> None:
    backed_up.primary().sql("DROP TABLE shop.orders; CREATE TABLE shop.later (id INT PRIMARY KEY)")
    follow(backed_up, "dropped_table.md", tmp_path)
    backed_up.wait_for_replica()
    for host in backed_up.servers:
        assert host.sql("SELECT id, what FROM shop.orders ORDER BY id") == [["1", "first"], ["2", "second"]]
    assert not backed_up.db2.exists("/var/lib/holdfast/restore/orders")


def test_backup_failed(backed_up: Lab, tmp_path: Path) -> None:
    said = follow(backed_up, "backup_failed.md", tmp_path)
    assert "Replica_IO_Running: Yes" in said and "offsite:" in said


def test_binlog_archive_failed(backed_up: Lab, tmp_path: Path) -> None:
    follow(backed_up, "binlog_archive_failed.md", tmp_path)


def test_keeper(backed_up: Lab, tmp_path: Path) -> None:
    said = follow(backed_up, "keeper.md", tmp_path)
    assert "primary  db" in said and "Active: active (running)" in said


def test_every_runbook_that_a_message_names_exists_and_is_tested() -> None:
    sources = [path.read_text() for path in (REPOSITORY / "scripts").rglob("*.py")]
    named = {name for text in sources for name in re.findall(r'"([a-z_]+\.md)"', text)}
    assert named <= {path.name for path in RUNBOOKS.glob("*.md")}
    tested = set(re.findall(r'"([a-z_]+\.md)"', Path(__file__).read_text()))
    assert {path.name for path in RUNBOOKS.glob("*.md")} <= tested
