"""What must be true after mysql_backup: tools, closed secrets, folders, jobs, and a store that takes objects."""

from __future__ import annotations

import os
from typing import Any

import pytest

LAB = os.environ.get("HOLDFAST_LAB") or "1"
testinfra_hosts = [f"podman://holdfast{LAB}-{name}" for name in ("db1", "db2")]

RCLONE = "rclone --config /etc/holdfast/secrets/rclone.conf"
FOLDERS = {
    "/var/lib/holdfast/state": ("root", 0o700),
    "/var/lib/holdfast/spool": ("root", 0o700),
    "/var/lib/holdfast/signatures": ("root", 0o700),
    "/var/lib/holdfast/staging": ("mysql", 0o750),
    "/var/lib/holdfast/restore": ("mysql", 0o750),
}


@pytest.mark.parametrize("name", ["rclone", "lz4", "cron", "logrotate"])
def test_the_tools_come_from_debian(host: Any, name: str) -> None:
    assert host.package(name).is_installed


@pytest.mark.parametrize("path", FOLDERS)
def test_each_folder_belongs_to_who_writes_in_it(host: Any, path: str) -> None:
    folder = host.file(path)
    assert (folder.user, folder.mode) == FOLDERS[path]


@pytest.mark.parametrize("name", ["mysql-backup.cnf", "rclone.conf"])
def test_only_root_reads_the_secrets(host: Any, name: str) -> None:
    file = host.file(f"/etc/holdfast/secrets/{name}")
    assert (file.user, file.group, file.mode) == ("root", "root", 0o600)


def test_the_store_takes_lists_and_gives_back_an_object_and_holds_only_its_cipher(host: Any) -> None:
    name = f"testinfra/{host.check_output('hostname')}"
    try:
        assert host.run(f"echo a plain word | {RCLONE} rcat offsite:{name}").rc == 0
        assert host.check_output(f"{RCLONE} cat offsite:{name}") == "a plain word"
        assert host.check_output(f"{RCLONE} lsf offsite:testinfra").splitlines()
        stored = host.run(f"{RCLONE} cat store:holdfast-lab/{name}.bin | head -c 8").stdout
        assert stored.startswith("RCLONE")
    finally:
        host.run(f"{RCLONE} deletefile offsite:{name}")


def test_cron_runs_and_knows_the_jobs(host: Any) -> None:
    assert host.service("cron").is_running
    jobs = host.file("/etc/cron.d/holdfast-backup")
    assert (jobs.user, jobs.mode) == ("root", 0o644), "cron ignores a file that others may write"
    assert "0 2 * * 0 root mysql-backup-full" in jobs.content_string


def test_the_stream_runs_on_both_hosts_and_one_of_them_streams(host: Any) -> None:
    unit = host.service("holdfast-binlog-stream")
    assert unit.is_running and unit.is_enabled
    signs = f"{RCLONE} lsf offsite:lab/state/stream"
    assert host.run(f"for i in $(seq 60); do {signs} | grep -q json && exit 0; sleep 1; done; exit 1").rc == 0
    refused = "journalctl -u holdfast-binlog-stream --no-pager | grep -i 'permission denied\\|not permitted'"
    assert host.run(refused).stdout == "", "the unit's sandbox is too narrow"


def test_the_backup_account_logs_in_with_its_file(host: Any) -> None:
    query = "mysql --defaults-file=/etc/holdfast/secrets/mysql-backup.cnf -N -e 'SELECT CURRENT_USER()'"
    assert host.check_output(query) == "holdfast_backup@localhost"


def test_what_the_jobs_say_is_in_a_file_that_is_rotated(host: Any) -> None:
    mark = f"testinfra-{os.getpid()}"
    host.check_output(f"logger -t mysql-backup-full {mark}")
    wait = f"for i in $(seq 50); do grep -q {mark} /var/log/holdfast/backup.log && exit 0; sleep 0.1; done; exit 1"
    assert host.run(wait).rc == 0, "within 5 s"
    assert host.run("logrotate --debug /etc/logrotate.d/holdfast-backup").rc == 0
