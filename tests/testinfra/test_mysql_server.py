"""What must be true on each database host after mysql_server, whoever is the primary."""

from __future__ import annotations

import os
from typing import Any

import pytest

LAB = os.environ.get("HOLDFAST_LAB") or "1"
ADDRESSES = {"db1": f"10.203.{LAB}.11", "db2": f"10.203.{LAB}.12"}
testinfra_hosts = [f"podman://holdfast{LAB}-{name}" for name in ADDRESSES]

TLS = "/etc/mysql/tls"
SETTINGS = {
    "gtid_mode": "ON",
    "enforce_gtid_consistency": "ON",
    "log_replica_updates": "ON",
    "sync_binlog": "1",
    "innodb_flush_log_at_trx_commit": "1",
    "binlog_format": "ROW",
    "binlog_expire_logs_seconds": "1209600",
    "binlog_rows_query_log_events": "ON",
    "binlog_row_metadata": "FULL",
    "binlog_transaction_compression": "OFF",
    "relay_log_recovery": "ON",
    "replica_preserve_commit_order": "ON",
    "rpl_semi_sync_source_wait_point": "AFTER_SYNC",
    "time_zone": "+00:00",
    "slow_query_log": "ON",
}


def ask(host: Any, query: str) -> list[list[str]]:
    """Return the rows of a query on a host, asked as root over the socket."""
    text = host.check_output("mysql --no-defaults --batch --skip-column-names --execute %s", query)
    return [line.split("\t") for line in text.splitlines()]


def address(host: Any) -> str:
    return ADDRESSES[host.backend.name.rpartition("-")[2]]


def test_the_service_runs_and_starts_at_boot(host: Any) -> None:
    service = host.service("mysql")
    assert service.is_running
    assert service.is_enabled


def test_the_packages_are_held(host: Any) -> None:
    held = host.check_output("apt-mark showhold").splitlines()
    assert any(name.endswith("server") for name in held)
    assert "Package-Blacklist" in host.file("/etc/apt/apt.conf.d/52holdfast-mysql").content_string


def test_every_boot_is_read_only(host: Any) -> None:
    defaults = host.check_output("my_print_defaults mysqld").splitlines()
    values = dict(line.removeprefix("--").split("=", 1) for line in defaults if "=" in line)
    assert (values["read_only"], values["super_read_only"]) == ("ON", "ON")
    assert not host.file("/var/lib/mysql/mysqld-auto.cnf").exists or "read_only" not in (
        host.file("/var/lib/mysql/mysqld-auto.cnf").content_string
    )


@pytest.mark.parametrize(("name", "value"), SETTINGS.items())
def test_a_setting_is_in_force(host: Any, name: str, value: str) -> None:
    query = f"SELECT VARIABLE_VALUE FROM performance_schema.global_variables WHERE VARIABLE_NAME = '{name}'"
    assert ask(host, query) == [[value]]


def test_the_plugins_are_loaded(host: Any) -> None:
    rows = ask(host, "SELECT PLUGIN_NAME FROM information_schema.PLUGINS WHERE PLUGIN_STATUS = 'ACTIVE'")
    assert {"rpl_semi_sync_source", "rpl_semi_sync_replica", "clone"} <= {row[0] for row in rows}


def test_it_listens_on_the_private_network_and_loopback_alone(host: Any) -> None:
    lines = host.check_output("ss --listening --tcp --numeric --no-header").splitlines()
    sockets = {line.split()[3] for line in lines}
    assert {name for name in sockets if name.endswith((":3306", ":33060", ":33062"))} == {
        f"{address(host)}:3306",
        "127.0.0.1:3306",
        f"{address(host)}:33062",
    }


def test_the_key_is_mysqls_alone(host: Any) -> None:
    key = host.file(f"{TLS}/server-key.pem")
    assert (key.user, key.group, key.mode) == ("mysql", "mysql", 0o600)
    assert host.run(f"ls {TLS}/ca-key.pem").failed


def test_the_certificate_is_the_pairs_and_names_the_address(host: Any) -> None:
    assert host.run(f"openssl verify -CAfile {TLS}/ca.pem {TLS}/server-cert.pem").succeeded
    assert host.run(f"openssl x509 -in {TLS}/server-cert.pem -noout -checkend 2592000").succeeded
    assert f"IP Address:{address(host)}" in host.check_output(f"openssl x509 -in {TLS}/server-cert.pem -noout -text")


def test_both_ports_speak_tls(host: Any) -> None:
    rows = ask(host, "SELECT CHANNEL, VALUE FROM performance_schema.tls_channel_status WHERE PROPERTY = 'Enabled'")
    assert dict(rows) == {"mysql_main": "Yes", "mysql_admin": "Yes"}


def test_remote_accounts_need_tls_and_a_modern_password(host: Any) -> None:
    rows = ask(host, "SELECT user, host, plugin, ssl_type, account_locked FROM mysql.user WHERE user LIKE 'holdfast%'")
    locked = {row[0] for row in rows if row[4] == "Y"}
    assert locked == {"holdfast_operator"}, "a role: nobody can log in as it"
    assert {row[0] for row in rows} >= {
        "holdfast_replication",
        "holdfast_backup",
        "holdfast_monitor",
        "holdfast_fence",
    }
    for name, origin, plugin, tls, _ in rows:
        assert plugin == "caching_sha2_password"
        assert tls == "ANY" or origin == "localhost" or name in locked


def test_nobody_but_the_system_outlives_a_fence(host: Any) -> None:
    rows = ask(
        host,
        "SELECT DISTINCT user FROM mysql.global_grants WHERE priv = 'CONNECTION_ADMIN' "
        "UNION SELECT user FROM mysql.user WHERE Super_priv = 'Y'",
    )
    assert {row[0] for row in rows} <= {
        "root",
        "debian-sys-maint",
        "mysql.session",
        "mysql.infoschema",
        "holdfast_fence",
        "holdfast_guard",
        "holdfast_operator",
    }


def test_time_zones_are_known(host: Any) -> None:
    assert ask(host, "SELECT CONVERT_TZ('2026-07-01 12:00:00', 'UTC', 'Europe/Berlin')") == [["2026-07-01 14:00:00"]]


def test_md5_is_there_for_replication_manager(host: Any) -> None:
    assert ask(host, "SELECT MD5('')") == [["d41d8cd98f00b204e9800998ecf8427e"]]


def test_the_logs_are_rotated_once(host: Any) -> None:
    told = host.run("logrotate --debug /etc/logrotate.conf")
    assert told.succeeded
    assert "duplicate" not in told.stderr
    assert "/var/log/mysql/" in told.stderr
