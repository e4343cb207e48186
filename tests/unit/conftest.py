"""What holds for every unit test: nothing but loopback is called, and no server of this machine is touched."""

from __future__ import annotations

import copy
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# its default, 200 ms an example by the clock on the wall, tells of the machine's noise and of no fault of ours
settings.register_profile("holdfast", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("holdfast")

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
        "stream_interval_seconds": 45,
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
    "retention": None,
    "failover": None,
    "watch": None,
    "notifications": {"telegram": None, "command": [], "timeout_seconds": 20, "runbooks": "docs/runbooks"},
}


RETENTION: dict[str, Any] = {
    "point_in_time_days": 30,
    "weekly_full_days": 90,
    "binlog_days": 30,
    "minimum_chains": 2,
    "drill_maximum_age_days": 14,
    "newest_backup_maximum_age_days": 3,
    "orphan_minimum_age_hours": 48,
    "object_lock_days": 0,
    "maximum_backups": 20,
    "maximum_binlogs": 2000,
    "maximum_share_percent": 35,
    "full_weekday": "sunday",
    "time_of_day": "04:00",
}


FAILOVER: dict[str, Any] = {
    "manager": "mysql_failover",
    "fence_policy": "proceed",
    "tls": {"ca_file": "/tls/ca.pem", "certificate_file": "/tls/cert.pem", "key_file": "/tls/key.pem"},
    "keeper": {"host": "app1", "address": "127.0.0.1", "port": 7330, "record_file": "/record/record.json"},
    "database_hosts": [
        {
            "name": name,
            "address": "127.0.0.1",
            "mysql_port": 3306,
            "admin_port": 33062,
            "guard_port": 7331,
            "relay_admin_port": 3307,
            "relay_guard_port": 7332,
            "health_port": 7333,
        }
        for name in ("db1", "db2")
    ],
    "app_addresses": ["127.0.0.1"],
    "guard_account_file": "/etc/holdfast/secrets/mysql-guard.cnf",
    "fence_account_file": "/etc/holdfast/secrets/mysql-fence.cnf",
    "replication_account_file": "/etc/holdfast/secrets/mysql-replication.cnf",
    "robot": None,
    "timing": {
        "tick_seconds": 1,
        "no_progress_seconds": 10,
        "isolation_seconds": 5,
        "statement_seconds": 5,
        "sql_silent_seconds": 10,
        "marker_seconds": 2,
        "grey_failure_seconds": 30,
        "silence_seconds": 30,
        "heartbeat_window_seconds": 10,
        "fence_step_seconds": 10,
        "drain_seconds": 30,
    },
}

WATCH: dict[str, Any] = {
    "speaker": "app1",
    "database_hosts": ["db1", "db2"],
    "binlog_stream": True,
    "services": ["cron.service"],
    "disks": ["/"],
    "certificates": [],
    "clock_peers": [],
    "expiries": [],
    "price_per_terabyte_month": 6,
    "currency": "USD",
    "limits": {
        "success_maximum_age_hours": 25,
        "full_maximum_age_hours": 193,
        "heartbeat_maximum_age_hours": 3,
        "drill_maximum_age_days": 14,
        "cleanup_maximum_age_hours": 26,
        "full_minimum_percent_of_data": 13,
        "full_minimum_percent_of_last": 50,
        "incremental_maximum_percent": 80,
        "clock_skew_seconds": 60,
        "certificate_days": 21,
        "disk_percent": 80,
        "disk_critical_percent": 90,
        "replica_lag_seconds": 600,
        "binlog_expiry_hours": 48,
        "stream_maximum_age_minutes": 15,
    },
}


@pytest.fixture
def watch_section() -> dict[str, Any]:
    """A valid section `watch`, for a test to change and to hand to `configuration(watch=...)`."""
    return copy.deepcopy(WATCH)


@pytest.fixture
def retention_section() -> dict[str, Any]:
    """A valid section `retention`, for a test to change and to hand to `configuration(retention=...)`."""
    return copy.deepcopy(RETENTION)


@pytest.fixture
def failover_section() -> dict[str, Any]:
    """A valid section `failover`, for a test to change and to hand to `configuration(failover=...)`."""
    return copy.deepcopy(FAILOVER)


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
