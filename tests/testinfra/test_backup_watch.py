"""What must be true after backup_watch: the manager's host alone has the key that deletes, and the job that uses it."""

from __future__ import annotations

import os
from typing import Any

LAB = os.environ.get("HOLDFAST_LAB") or "1"
testinfra_hosts = [f"podman://holdfast{LAB}-app1"]
RCLONE = "rclone --config /etc/holdfast/secrets/rclone-watch.conf"


def test_only_root_reads_the_key(host: Any) -> None:
    file = host.file("/etc/holdfast/secrets/rclone-watch.conf")
    assert (file.user, file.group, file.mode) == ("root", "root", 0o600)


def test_the_key_writes_and_deletes(host: Any) -> None:
    name = "testinfra/watch"
    assert host.run(f"echo a plain word | {RCLONE} rcat offsite:{name}").rc == 0
    assert host.check_output(f"{RCLONE} cat offsite:{name}") == "a plain word"
    assert host.run(f"{RCLONE} deletefile offsite:{name}").rc == 0
    assert host.check_output(f"{RCLONE} lsf offsite:testinfra --include watch") == ""


def test_cron_runs_and_knows_the_cleanup(host: Any) -> None:
    assert host.service("cron").is_running
    jobs = host.file("/etc/cron.d/holdfast-cleanup")
    assert (jobs.user, jobs.mode) == ("root", 0o644), "cron ignores a file that others may write"
    assert "0 4 * * * root mysql-backup-cleanup" in jobs.content_string


def test_the_program_looks_at_the_store(host: Any) -> None:
    """A lab may hold no backup yet: then it says so. A wrong key or remote would be another complaint."""
    done = host.run("mysql-backup-cleanup --dry-run")
    assert done.rc in (0, 4, 5, 6)
    assert "go; " in done.stdout or "there is nothing" in done.stderr


def test_a_database_host_leaves_it_to_this_one(host: Any) -> None:
    db1 = type(host).get_host(f"podman://holdfast{LAB}-db1")
    assert db1.run("mysql-backup-cleanup").rc == 75
    assert not db1.file("/etc/holdfast/secrets/rclone-watch.conf").exists
