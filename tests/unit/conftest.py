"""What holds for every unit test: nothing but loopback is called, and no server of this machine is touched."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FORBIDDEN = {"mysqld", "systemctl", "service", "apt-get", "podman", "xtrabackup", "mysql", "reboot", "shutdown"}


@pytest.fixture(autouse=True)
def kill_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections beyond this machine, and programs that change it."""
    connect = socket.socket.connect
    start = subprocess.Popen.__init__

    def only_loopback(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a unit test called {address[0]}")
        connect(self, address)

    def only_harmless(self: subprocess.Popen[bytes], args: Any, *rest: Any, **options: Any) -> None:
        words = args.split() if isinstance(args, str) else [str(word) for word in args]
        if found := {Path(word).name for word in words[:10]} & FORBIDDEN:
            raise AssertionError(f"a unit test started {found}")
        start(self, args, *rest, **options)

    monkeypatch.setattr(socket.socket, "connect", only_loopback)
    monkeypatch.setattr(subprocess.Popen, "__init__", only_harmless)


CONFIGURATION: dict[str, Any] = {
    "schema_version": 1,
    "cluster": "lab",
    "host": "db1",
    "time_zone": "Europe/Berlin",
    "state_directory": "/var/lib/holdfast/state",
    "mysql": {
        "series": "9.7",
        "socket": "/run/mysqld/mysqld.sock",
        "data_directory": "/var/lib/mysql",
        "mysqld": "/usr/sbin/mysqld",
        "backup_account_file": "/etc/holdfast/secrets/mysql-backup.cnf",
    },
    "backup": {
        "engine": "clone",
        "staging_directory": "/var/lib/holdfast/staging",
        "spool_directory": "/var/lib/holdfast/spool",
        "signatures_directory": "/var/lib/holdfast/signatures",
        "segment_bytes": 67108864,
        "upload_parallel": 2,
        "lz4_level": 1,
        "rate_limit_bytes_per_second": 0,
        "chain_maximum_age_days": 7,
        "replica_maximum_lag_seconds": 600,
        "primary_fallback_age_hours": 24,
        "fingerprint_table_maximum_bytes": 67108864,
        "full_weekday": "sunday",
        "time_of_day": "02:00",
        "xtrabackup_parallel": 2,
    },
    "recovery": {"directory": "/var/lib/holdfast/restore", "fetch_parallel": 4, "replay_workers": 4},
    "store": {
        "rclone_config_file": "/etc/holdfast/secrets/rclone.conf",
        "remote": "offsite:",
        "encrypted": True,
        "attempts": 5,
        "retry_wait_seconds": 2,
        "timeout_seconds": 300,
    },
    "failover": None,
    "notifications": {"telegram": None, "command": [], "timeout_seconds": 20, "runbooks": "docs/runbooks"},
}


@pytest.fixture
def configuration() -> Callable[..., dict[str, Any]]:
    """A valid configuration document; `configuration(**{"backup.engine": "tar"})` changes one key, ... removes it."""

    def build(**changes: Any) -> dict[str, Any]:
        document: dict[str, Any] = {
            key: dict(value) if isinstance(value, dict) else value for key, value in CONFIGURATION.items()
        }
        for path, value in changes.items():
            *sections, key = path.split(".")
            place = document
            for section in sections:
                place = place[section]
            if value is ...:
                del place[key]
            else:
                place[key] = value
        return document

    return build
