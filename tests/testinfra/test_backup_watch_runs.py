"""What must be true of the watcher on each host: cron has it, a run ends well and leaves a sign in the store."""

from __future__ import annotations

import os
from typing import Any

LAB = os.environ.get("HOLDFAST_LAB") or "1"
testinfra_hosts = [f"podman://holdfast{LAB}-{name}" for name in ("db1", "db2", "app1")]


def test_cron_runs_it_each_hour(host: Any) -> None:
    name = "holdfast-watch" if host.check_output("hostname") == "app1" else "holdfast-backup"
    assert " * * * * root mysql-backup-watch " in host.file(f"/etc/cron.d/{name}").content_string


def test_a_run_ends_well_and_leaves_a_sign(host: Any) -> None:
    name = host.check_output("hostname")
    done = host.run("mysql-backup-watch")
    assert done.rc == 0, done.stderr
    rclone = "rclone-watch.conf" if name == "app1" else "rclone.conf"
    signs = host.check_output(
        f"rclone --config /etc/holdfast/secrets/{rclone} lsf offsite:lab/state/watch"
    ).splitlines()
    assert f"{name}.json" in signs
    memory = host.file("/var/lib/holdfast/state/watch.json")
    assert (memory.user, memory.mode) == ("root", 0o600)
    assert host.check_output("mysql-backup-watch show").startswith(f"Alarms of {name}: ")
