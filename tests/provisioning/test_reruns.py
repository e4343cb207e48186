"""What `site.yml` does to a pair that stands: nothing without a reason, and never to the primary's role."""

from __future__ import annotations

from support import guarded
from support.hosts import Host, Lab
from support.playbooks import rerun

BUFFER_POOL = {"innodb_buffer_pool_size": "128M"}  # as inventories/lab has it


def started_at(host: Host) -> str:
    """Return when this mysqld was started, in systemd's words."""
    return host.run("systemctl", "show", "--property", "ActiveEnterTimestampMonotonic", "mysql").out


def test_a_dynamic_variable_changes_live_and_a_static_one_waits_for_the_primary(lab: Lab) -> None:
    primary, replica = lab.primary(), lab.replica()
    before, replica_before = started_at(primary), started_at(replica)

    done = rerun("mysql", variables={"mysql_server_variables": {**BUFFER_POOL, "max_connections": 321, "back_log": 99}})

    assert primary.value("select @@max_connections") == replica.value("select @@max_connections") == "321"
    assert replica.value("select @@back_log") == "99"
    assert started_at(replica) != replica_before
    assert started_at(primary) == before, "the primary was restarted"
    assert f"Restart pending on {primary.name}: back_log" in done.words
    assert lab.primary() is primary

    rerun("mysql")
    assert primary.value("select @@back_log") != "99"


def test_a_value_that_set_persist_shadows_is_refused_by_name(lab: Lab) -> None:
    replica = lab.replica()
    replica.sql("SET PERSIST max_connections = 77")
    try:
        done = rerun("mysql", variables={"mysql_server_variables": {**BUFFER_POOL, "max_connections": 321}}, expect=2)
        assert f"{replica.name} has max_connections in mysqld-auto.cnf" in done.words
        assert set(done.changed.values()) == {0}
    finally:
        replica.sql("RESET PERSIST max_connections; SET GLOBAL max_connections = DEFAULT")


def test_changed_passwords_and_a_certificate_near_its_end_are_applied_without_a_restart(lab: Lab) -> None:
    new = {
        "mysql_server_backup_password": "ChangedBackup1234567890x",
        "mysql_backup_account_password": "ChangedBackup1234567890x",
        "mysql_server_replication_password": "ChangedReplica1234567890",
        "mysql_guard_replication_password": "ChangedReplica1234567890",
    }
    primary, replica = lab.primary(), lab.replica()
    before = started_at(primary), started_at(replica)
    serial = "SELECT variable_value FROM performance_schema.global_status WHERE variable_name='Current_tls_cert'"
    path = replica.value(serial)
    # one that lives 10 days: signed by the role, then a plain run finds it near its end
    replica.run("rm", "/etc/mysql/tls/server-cert.pem")

    rerun("site", variables={**new, "mysql_server_tls_certificate_days": 10})

    status = replica.sql("SELECT service_state FROM performance_schema.replication_connection_status")
    assert status == [["ON"]]
    replica.sql("STOP REPLICA IO_THREAD; START REPLICA IO_THREAD")  # a new login, with the new password
    lab.wait_for_replica()
    replica.run("mysql-backup-status")
    short = replica.run("openssl", "x509", "-noout", "-serial", "-in", "/etc/mysql/tls/server-cert.pem").out

    rerun("site")

    far = ("-checkend", "8640000", "-in", "/etc/mysql/tls/server-cert.pem")
    assert replica.run("openssl", "x509", "-noout", "-serial", *far).out.splitlines()[0] != short.strip()
    assert replica.value(serial) == path
    not_after = "SELECT variable_value FROM performance_schema.global_status WHERE variable_name='Ssl_server_not_after'"
    loaded = replica.run("openssl", "x509", "-noout", "-enddate", "-in", "/etc/mysql/tls/server-cert.pem").out
    assert loaded.strip().removeprefix("notAfter=").split() == replica.value(not_after).split(), (
        "mysqld has the old one"
    )
    assert (started_at(primary), started_at(replica)) == before, "neither needs a restart"


def test_two_writable_servers_are_refused_before_any_change(lab: Lab) -> None:
    replica = lab.replica()
    with guarded.by_hand(lab):
        replica.sql("SET GLOBAL super_read_only = OFF; SET GLOBAL read_only = OFF")
        try:
            done = rerun("mysql", expect=2)
            assert "Nothing was changed" in done.words
            assert "db1" in done.words and "db2" in done.words
            assert set(done.changed.values()) == {0}
        finally:
            replica.sql("SET GLOBAL super_read_only = ON")


def test_an_application_account_that_a_fence_would_not_cut_is_refused(lab: Lab) -> None:
    password = "Abcdefgh1234567890"
    user = {"name": "boss", "host": "%", "password": password, "privileges": {"*.*": "CONNECTION_ADMIN"}}
    done = rerun("mysql", variables={"mysql_server_users": [user]}, expect=2)
    assert "The account boss in mysql_server_users is refused" in done.words
    assert password not in done.text
    assert set(done.changed.values()) == {0}


def test_rules_that_somebody_emptied_are_loaded_again(lab: Lab) -> None:
    app = lab.app1
    app.run(
        "nft", "delete", "table", "inet", "holdfast"
    )  # as `systemctl start nftables` does; our unit still says "active"
    rerun("site", "--limit", "app1")
    assert "policy drop" in app.run("nft", "list", "chain", "inet", "holdfast", "input").out


def test_a_firewall_that_would_close_the_own_ssh_port_is_refused(lab: Lab) -> None:
    wrong = {"host_baseline_public_tcp_ports": [2222], "host_baseline_trusted_networks": ["192.0.2.0/24"]}
    done = rerun("site", "--limit", "app1", variables=wrong, expect=2)
    assert "on port 22, which the firewall would close: add 22 to host_baseline_public_tcp_ports" in done.words
    assert set(done.changed.values()) == {0}


def test_a_secret_that_is_refused_is_named_and_not_printed(lab: Lab) -> None:
    done = rerun("backups", "-vvv", variables={"mysql_backup_account_password": "shOrt!"}, expect=2)
    assert "mysql_backup_account_password takes 12 or more" in done.words
    assert "shOrt!" not in done.words.replace('"mysql_backup_account_password": "shOrt!"', "")


def test_no_statement_that_a_server_remembers_holds_a_password(lab: Lab) -> None:
    password = lab.replica().value("SELECT User_password FROM mysql.slave_master_info")
    for host in (lab.primary(), lab.replica()):
        kept = host.sql("SELECT QUERY_SAMPLE_TEXT FROM performance_schema.events_statements_summary_by_digest")
        assert password not in str(kept)


def test_check_mode_after_all_of_this_predicts_no_change(lab: Lab) -> None:
    """The last one: whatever the others changed was put back by a plain run."""
    assert set(rerun("site", "--check").changed.values()) == {0}
