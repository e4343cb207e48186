"""mysql-backup-status and mysql-backup-watch as they are called, on a real rclone with a folder as store."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from holdfast.backup.manifest import name_of_manifest
from holdfast.clock import utc_now
from support.backups import full

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


class Programs:
    """Runs one of them; `changes` are keys of the configuration."""

    def __init__(self, folder: Path, document: dict[str, Any]) -> None:
        self.folder = folder
        self.config = folder / "config.yml"
        self.config.write_text(yaml.safe_dump(document))

    def run(self, program: str, *arguments: str, expect: int = 0) -> str:
        argv = [sys.executable, str(SCRIPTS / program), "--config", str(self.config), *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == expect, done.stderr
        return done.stdout if expect == 0 else done.stderr


@pytest.fixture
def programs(tmp_path: Path, configuration: Callable[..., dict[str, Any]], watch_section: dict[str, Any]) -> Programs:
    (tmp_path / "rclone.conf").write_text("[here]\ntype = local\n")
    backup = full("full", stored_bytes=250_000_000_000, started_at=utc_now() - timedelta(hours=2))
    path = tmp_path / "remote" / "lab" / name_of_manifest("full")
    path.parent.mkdir(parents=True)
    path.write_bytes(backup.to_json())
    changes = {
        "state_directory": str(tmp_path / "state"),
        "store.rclone_config_file": str(tmp_path / "rclone.conf"),
        "store.remote": f"here:{tmp_path}/remote",
        "store.attempts": 1,
        "watch": watch_section,
    }
    return Programs(tmp_path, configuration(**changes))


def test_status(programs: Programs) -> None:
    screen = programs.run("mysql_backup_status.py")
    assert "Backups of lab: look here" in screen and re.search(r"Next\n  (full|incremental) +\d{4}-", screen)
    page, samples = programs.folder / "out" / "status.html", programs.folder / "out" / "holdfast.prom"
    assert programs.run("mysql_backup_status.py", "--html", str(page), "--prometheus", str(samples)) == ""
    assert (
        page.read_text().startswith("<!doctype html>")
        and 'holdfast_backup_count{cluster="lab"} 1' in samples.read_text()
    )
    assert {path.stat().st_mode & 0o777 for path in (page, samples)} == {0o644}
    assert sorted(path.name for path in page.parent.iterdir()) == ["holdfast.prom", "status.html"]
    found = json.loads(programs.run("mysql_backup_status.py", "--json", "--cost"))
    assert found["cost"]["month"]["full"] == {"bytes": 250_000_000_000, "price": 1.5}
    assert found["rpo_seconds"] > 5000 and set(found["next_runs"]) == {"full", "incremental"}
    assert "does not count" not in programs.run("mysql_backup_status.py", "--check", expect=4)
    error = programs.run("mysql_backup_status.py", "--html", "/proc/no/status.html", expect=4)
    assert "/proc/no/status.html cannot be written" in error


def test_the_status_when_the_store_is_gone(programs: Programs) -> None:
    assert "has not looked at the store yet" in programs.run("mysql_backup_status.py", "--cached", expect=5)
    programs.run("mysql_backup_status.py")
    (programs.folder / "rclone.conf").write_text("[other]\ntype = local\n")
    programs.run("mysql_backup_status.py", expect=5)
    screen = programs.run("mysql_backup_status.py", "--cached")
    assert ", as seen 0 s ago)" in screen or ", as seen" in screen
    assert "full  1 backup, 232.8 GiB, clone on db1" in screen
    assert "seen_at" in json.loads(programs.run("mysql_backup_status.py", "--cached", "--json"))


def test_the_watchers_words(programs: Programs) -> None:
    assert programs.run("mysql_backup_watch.py", "show") == "Alarms of db1: none\n"
    said = programs.run(
        "mysql_backup_watch.py", "silence", "raid_degraded", "--for", "2h", "--reason", "disk is ordered"
    )
    assert re.fullmatch(r"raid_degraded is silent until \S+ \(disk is ordered; \w+\)\n", said)
    assert "Silent for" in programs.run("mysql_backup_watch.py", "show")
    assert programs.run("mysql_backup_watch.py", "unsilence", "raid_degraded") == "raid_degraded is told again\n"
    assert "There are backup_overdue, " in programs.run(
        "mysql_backup_watch.py", "silence", "raid", "--for", "2h", "--reason", "x", expect=2
    )
    assert "at most 35d" in programs.run(
        "mysql_backup_watch.py", "silence", "raid_degraded", "--for", "1y", "--reason", "x", expect=2
    )
    assert "--reason" in programs.run("mysql_backup_watch.py", "silence", "raid_degraded", "--for", "1h", expect=2)
    assert "notifications.telegram is null" in programs.run("mysql_backup_watch.py", "--self-test", expect=3)
