"""What must be true of record, keeper and guards after playbooks/failover.yml, whichever server is the primary."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest

LAB = os.environ.get("HOLDFAST_LAB") or "1"
ADDRESSES = {"db1": f"10.203.{LAB}.11", "db2": f"10.203.{LAB}.12", "app1": f"10.203.{LAB}.21"}
testinfra_hosts = ["local://"]
OUT_OF_REACH = "1000000000000000"


@pytest.fixture(scope="module")
def hosts(host: Any) -> dict[str, Any]:
    """Return the lab's hosts, if the site runs guards."""
    found = {name: host.get_host(f"podman://holdfast{LAB}-{name}") for name in ADDRESSES}
    assert found["app1"].service("mysql-keeper").is_running
    return found


def sql(host: Any, query: str) -> str:
    return str(host.check_output("mysql --no-defaults --batch --skip-column-names --execute %s", query)).strip()


def record_of(hosts: dict[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(hosts["app1"].check_output("mysql-keeper show --json"))
    return document


ASK = """
import json, sys
sys.path.insert(0, "/usr/local/lib/holdfast")
from holdfast import config
from holdfast.failover.https import call
address, port, name = sys.argv[1:]
print(json.dumps(call(address, int(port), "GET", "/report", None, config.load().failover.tls, name, 5)))
"""
STRANGER = """
import socket, ssl, sys
context = ssl._create_unverified_context()
with socket.create_connection((sys.argv[1], 7331), 5) as plain, context.wrap_socket(plain) as secure:
    secure.sendall(b"GET /report HTTP/1.0\\r\\n\\r\\n")
    print(secure.recv(1000))
"""


def report_of(host: Any, address: str, port: int, name: str) -> Any:
    return json.loads(host.check_output("python3 -c %s %s %s %s", ASK, address, str(port), name))


def test_the_record_names_the_writable_server_and_the_replica_in_sync(hosts: dict[str, Any]) -> None:
    deadline = time.monotonic() + 30
    while (document := record_of(hosts))["record"]["in_sync"] is None and time.monotonic() < deadline:
        time.sleep(1)
    record = document["record"]
    primary = document["hosts"][record["primary"]]
    replica = {"db1": "db2", "db2": "db1"}[primary]
    assert sql(hosts[primary], "SELECT @@GLOBAL.read_only") == "0"
    assert sql(hosts[replica], "SELECT @@GLOBAL.super_read_only") == "1"
    assert record["opened"] is True
    assert document["hosts"][record["in_sync"]["server_uuid"]] == replica
    start = hosts[replica].check_output("awk '{print $22}' /proc/$(pidof mysqld)/stat").strip()
    assert record["in_sync"]["process_start"] == int(start)


@pytest.mark.parametrize("name", ["db1", "db2"])
def test_guard_and_relays_run_and_start_at_boot(hosts: dict[str, Any], name: str) -> None:
    for unit in ("mysql-guard.service", "mysql-relay-guard.socket", "mysql-relay-admin.socket"):
        assert hosts[name].service(unit).is_running, unit
        assert hosts[name].service(unit).is_enabled, unit


@pytest.mark.parametrize("name", ["db1", "db2"])
def test_the_fall_back_to_async_and_the_start_of_replication_are_the_guards(hosts: dict[str, Any], name: str) -> None:
    assert sql(hosts[name], "SELECT @@GLOBAL.rpl_semi_sync_source_timeout") == OUT_OF_REACH
    defaults = hosts[name].check_output("my_print_defaults mysqld").splitlines()
    last = dict(line.removeprefix("--").split("=", 1) for line in defaults if "=" in line)
    assert last["skip_replica_start"] == "ON"
    assert last["rpl_semi_sync_source_timeout"] == OUT_OF_REACH
    assert last["super_read_only"] == "ON"


@pytest.mark.parametrize("name", ["db1", "db2"])
def test_a_guard_answers_its_own_host_and_no_stranger(hosts: dict[str, Any], name: str) -> None:
    assert report_of(hosts[name], ADDRESSES[name], 7331, name)["host"] == name
    stranger = hosts[name].run("python3 -c %s %s", STRANGER, ADDRESSES[name])
    assert "200" not in stranger.stdout
    assert stranger.rc != 0


@pytest.mark.parametrize(("name", "peer"), [("db1", "db2"), ("db2", "db1")])
def test_the_relays_lead_to_the_peer(hosts: dict[str, Any], name: str, peer: str) -> None:
    assert report_of(hosts["app1"], ADDRESSES[name], 7332, peer)["host"] == peer
    # the certificate is the peer's, so the relay's address is none of its names
    look = (
        "import pymysql; session = pymysql.connect("
        f"host='{ADDRESSES[name]}', port=3307, read_default_file='/etc/holdfast/secrets/mysql-fence.cnf', "
        "ssl={'ca': '/etc/holdfast/tls/ca.pem', 'check_hostname': False}).cursor(); "
        "session.execute('SELECT @@report_host'); print(session.fetchone()[0])"
    )
    seen = hosts["app1"].check_output("python3 -c %s", look)
    assert seen.strip() == ADDRESSES[peer]


@pytest.mark.parametrize(
    ("name", "path", "mode"),
    [
        ("db1", "/etc/holdfast/secrets/mysql-guard.cnf", 0o600),
        ("db2", "/etc/holdfast/secrets/mysql-replication.cnf", 0o600),
        ("app1", "/etc/holdfast/secrets/mysql-fence.cnf", 0o600),
        ("app1", "/etc/holdfast/tls", 0o750),
        ("app1", "/etc/holdfast/tls/key.pem", 0o600),
        ("app1", "/var/lib/holdfast/record", 0o700),
        ("app1", "/var/lib/holdfast/record/record.json", 0o600),
    ],
)
def test_secrets_are_roots(hosts: dict[str, Any], name: str, path: str, mode: int) -> None:
    file = hosts[name].file(path)
    assert (file.user, file.mode) == ("root", mode)


def test_an_app_host_has_no_database_secrets_but_the_fences(hosts: dict[str, Any]) -> None:
    names = set(hosts["app1"].file("/etc/holdfast/secrets").listdir())
    assert not names & {"mysql-guard.cnf", "mysql-replication.cnf", "mysql-backup.cnf", "rclone.conf"}


@pytest.mark.parametrize(("name", "unit"), [("app1", "mysql-keeper"), ("db1", "mysql-guard"), ("db2", "mysql-guard")])
def test_root_is_left_without_what_a_program_does_not_need(hosts: dict[str, Any], name: str, unit: str) -> None:
    pid = hosts[name].check_output(f"systemctl show --property=MainPID --value {unit}").strip()
    bounding = hosts[name].check_output(f"grep CapBnd /proc/{pid}/status").split()[1]
    # CAP_KILL is 5; CAP_DAC_OVERRIDE, 1, stands in for CAP_DAC_READ_SEARCH in a container
    assert int(bounding, 16) == (0 if unit == "mysql-keeper" else 1 << 5 | 1 << 1)


def test_a_second_keeper_is_refused(hosts: dict[str, Any]) -> None:
    second = hosts["app1"].run("mysql-keeper serve")
    assert second.rc == 6
    assert hosts["db1"].run("mysql-keeper serve").rc == 75
