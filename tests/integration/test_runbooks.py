"""Every command of the runbooks, run as it stands: on-call must not be the first to try it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.hosts import REPOSITORY, Lab
from support.runbooks import RUNBOOKS, follow

# what needs a package that is not here: nobody has run these commands
OF_A_VENDOR = {"replication_manager_failover_limit.md", "replication_manager_protects_nothing.md"}

# run by test_drill.py
WITH_A_DRILL = {"drill_overdue.md"}


@pytest.fixture(scope="module")
def backed_up(lab: Lab) -> Lab:
    """The lab as cron leaves it: a full backup in the site's own store, where shop.orders was never dropped before."""
    lab.replica().run("mysql-backup-full")
    lab.primary().sql("CREATE TABLE shop.orders (id INT PRIMARY KEY, what VARCHAR(40))")
    lab.primary().sql("INSERT INTO shop.orders VALUES (1, 'first'), (2, 'second')")
    return lab


def test_dropped_table(backed_up: Lab, tmp_path: Path) -> None:
    backed_up.primary().sql("DROP TABLE shop.orders; CREATE TABLE shop.later (id INT PRIMARY KEY)")
    follow(backed_up, "dropped_table_by_hand.md", tmp_path)
    backed_up.wait_for_replica()
    for host in backed_up.servers:
        assert host.sql("SELECT id, what FROM shop.orders ORDER BY id") == [["1", "first"], ["2", "second"]]
    assert not backed_up.db2.exists("/var/lib/holdfast/restore/orders")


def test_backup_failed(backed_up: Lab, tmp_path: Path) -> None:
    said = follow(backed_up, "backup_failed.md", tmp_path)
    assert "Replica_IO_Running: Yes" in said and "offsite:" in said


def test_binlog_archive_failed(backed_up: Lab, tmp_path: Path) -> None:
    follow(backed_up, "binlog_archive_failed.md", tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "backup_damaged.md",
        "backup_overdue.md",
        "binlog_about_to_expire.md",
        "binlog_hole.md",
        "certificate_expiring.md",
        "cleanup_overdue.md",
        "cleanup_refused.md",
        "clock_skew.md",
        "disk_filling.md",
        "drill_failed.md",
        "full_too_small.md",
        "host_silent.md",
        "incremental_too_large.md",
        "mysql_unreachable.md",
        "mysqld_restarted.md",
        "program_not_running.md",
        "raid_degraded.md",
        "replica_lag.md",
        "replication_stopped.md",
        "semi_sync_off.md",
        "store_unreachable.md",
        "stream_stale.md",
        "watch_failed.md",
    ],
)
def test_an_alarm_of_the_watcher(backed_up: Lab, tmp_path: Path, name: str) -> None:
    follow(backed_up, name, tmp_path)


def test_every_runbook_that_a_message_names_exists_and_is_tested() -> None:
    sources = [path.read_text() for path in (REPOSITORY / "scripts").rglob("*.py")]
    named = {name for text in sources for name in re.findall(r'"([a-z_]+\.md)"', text)}
    assert named <= {path.name for path in RUNBOOKS.glob("*.md")}
    tests = [
        Path(__file__),
        REPOSITORY / "tests" / "failover" / "test_runbooks.py",
        *(REPOSITORY / "tests" / "recovery").glob("test_*.py"),
    ]
    tested = {name for test in tests for name in re.findall(r'"([a-z_]+\.md)"', test.read_text())}
    assert {path.name for path in RUNBOOKS.glob("*.md")} == tested
