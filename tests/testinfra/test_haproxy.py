"""What must be true on an app host with HAProxy: one address, whoever is the primary."""

from __future__ import annotations

import os
from typing import Any

import pytest

LAB = os.environ.get("HOLDFAST_LAB") or "1"
ADDRESS = f"10.203.{LAB}.21"
SERVERS = {f"10.203.{LAB}.11": "db1", f"10.203.{LAB}.12": "db2"}
testinfra_hosts = [f"podman://holdfast{LAB}-app1"]
ASK = """
import os, pymysql, sys
session = pymysql.connect(host=sys.argv[1], port=int(sys.argv[2]), user="proxytest", password=os.environ["PASSWORD"],
                          ssl={"ca": "/tmp/proxytest-ca.pem"}, connect_timeout=10)
with session.cursor() as cursor:
    cursor.execute("SELECT @@report_host, @@read_only")
    print(*cursor.fetchone())
"""


def server(host: Any, name: str) -> Any:
    return type(host).get_host(f"podman://holdfast{LAB}-{name}")


def primary(host: Any) -> Any:
    """Return the server that takes writes."""
    query = "mysql --no-defaults -NBe 'SELECT @@read_only'"
    (found,) = [server(host, name) for name in ("db1", "db2") if server(host, name).check_output(query) == "0"]
    return found


@pytest.fixture(scope="module")
def account(host: Any) -> Any:
    """Make an account that comes through the proxy; its password."""
    password, source = "Proxy-test-1234567890", primary(host)
    create = f"CREATE USER IF NOT EXISTS proxytest@'10.203.%' IDENTIFIED BY '{password}' REQUIRE SSL"
    source.check_output("mysql --no-defaults -e %s", create)
    executed = source.check_output("mysql --no-defaults -NBre 'SELECT @@gtid_executed'").replace("\n", "")
    for name in ("db1", "db2"):
        server(host, name).check_output(
            "mysql --no-defaults -e %s", f"SELECT WAIT_FOR_EXECUTED_GTID_SET('{executed}', 20)"
        )
    host.run("cat > /tmp/proxytest-ca.pem <<'END'\n" + source.file("/etc/mysql/tls/ca.pem").content_string + "END")
    yield password
    primary(host).check_output("mysql --no-defaults -e 'DROP USER proxytest@`10.203.%`'")


def through(host: Any, account: str, address: str, port: int) -> tuple[str, str]:
    """Return the name of the server behind a port, and whether it is read-only; TLS is checked to the name called."""
    text = host.check_output("PASSWORD=%s timeout 30 python3 -c %s %s %s", account, ASK, address, str(port))
    name, read_only = text.split()
    return SERVERS[name], read_only


@pytest.mark.parametrize("address", [ADDRESS, "127.0.0.1", "localhost"])
def test_writes_meet_the_primary_by_its_certificate(host: Any, account: str, address: str) -> None:
    assert through(host, account, address, 6033) == (primary(host).check_output("hostname"), "0")


def test_reads_meet_the_replica(host: Any, account: str) -> None:
    assert {through(host, account, ADDRESS, 6034)[1] for _ in range(4)} == {"1"}


def test_it_runs_at_boot_with_a_configuration_that_it_takes(host: Any) -> None:
    assert host.service("haproxy").is_running and host.service("haproxy").is_enabled
    assert host.run("haproxy -c -f /etc/haproxy/haproxy.cfg").rc == 0


def test_it_listens_for_clients_on_its_two_addresses_and_for_statistics_on_loopback(host: Any) -> None:
    lines = host.check_output("ss --listening --tcp --numeric --no-header").splitlines()
    sockets = {name for line in lines if (name := line.split()[3]).endswith((":6033", ":6034", ":8404"))}
    clients = {f"{address}:{port}" for address in (ADDRESS, "127.0.0.1") for port in (6033, 6034)}
    assert sockets == clients | {"127.0.0.1:8404"}


def test_prometheus_is_told_who_is_up(host: Any) -> None:
    read = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:8404/metrics').read().decode())"
    text = host.check_output("python3 -c %s", read)
    name = primary(host).check_output("hostname")
    assert f'haproxy_server_status{{proxy="mysql_writer",server="{name}",state="UP"}} 1' in text
    assert f'haproxy_server_status{{proxy="mysql_readers",server="{name}",state="UP"}} 0' in text


def test_its_log_is_in_syslog(host: Any) -> None:
    assert host.file("/var/log/haproxy.log").size > 0
