"""What must be true after holdfast_programs: exactly the shipped programs, and a configuration they take."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

LAB = os.environ.get("HOLDFAST_LAB") or "1"
testinfra_hosts = [f"podman://holdfast{LAB}-{name}" for name in ("db1", "db2")]

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
PROGRAMS = [
    "mysql-backup-full",
    "mysql-backup-incremental",
    "mysql-backup-binlogs",
    "mysql-backup-status",
    "mysql-backup-watch",
    "mysql-restore",
]


def test_the_host_has_what_the_repository_has_and_nothing_else(host: Any) -> None:
    found = host.check_output(
        "cd /usr/local/lib/holdfast && find . -type f -not -path '*/__pycache__/*' -exec sha256sum {} +"
    )
    there = {line[66:].removeprefix("./"): line[:64] for line in found.splitlines()}
    here = {
        str(path.relative_to(SCRIPTS)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in SCRIPTS.rglob("*")
        if path.is_file()
        and not any(part[0] == "." or part == "__pycache__" for part in path.relative_to(SCRIPTS).parts)
    }
    assert there == here


def test_nobody_but_root_can_change_the_programs(host: Any) -> None:
    found = host.check_output(r"find /usr/local/lib/holdfast \( -not -user root -o -perm /022 \) -not -type l -print")
    assert found == ""


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_program_answers_by_its_name(host: Any, name: str) -> None:
    done = host.run(f"{name} --help")
    assert done.rc == 0
    assert done.stdout.startswith("usage:")


def test_the_programs_take_the_configuration(host: Any) -> None:
    code = "from holdfast import config; print(config.load().host)"
    assert host.check_output("PYTHONPATH=/usr/local/lib/holdfast python3 -B -c %s", code) == host.check_output(
        "hostname"
    )


def test_the_configuration_holds_no_secret_and_its_folder_is_closed(host: Any) -> None:
    configuration = host.file("/etc/holdfast/config.yml")
    assert (configuration.user, configuration.group, configuration.mode) == ("root", "root", 0o640)
    assert "password" not in configuration.content_string
    secrets = host.file("/etc/holdfast/secrets")
    assert (secrets.user, secrets.mode) == ("root", 0o700)


def test_no_pip_was_needed(host: Any) -> None:
    assert host.run("test -e /usr/local/lib/python3*/dist-packages/pymysql").rc != 0
    assert host.package("python3-pymysql").is_installed
