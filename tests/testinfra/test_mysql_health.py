"""What must be true of the health responder on each database host, whoever is the primary."""

from __future__ import annotations

import os
from typing import Any

LAB = os.environ.get("HOLDFAST_LAB") or "1"
ADDRESSES = {"db1": f"10.203.{LAB}.11", "db2": f"10.203.{LAB}.12"}
testinfra_hosts = [f"podman://holdfast{LAB}-{name}" for name in ADDRESSES]


ASK = """
import sys, urllib.error, urllib.request
try:
    answer = urllib.request.urlopen(sys.argv[1], timeout=2)
except urllib.error.HTTPError as error:
    answer = error
print(answer.status)
print(answer.read().decode(), end="")
"""


def ask(host: Any, path: str) -> tuple[int, str]:
    """Return status and text of a GET."""
    address = ADDRESSES[host.check_output("hostname")]
    status, _, body = host.check_output("python3 -c %s %s", ASK, f"http://{address}:7333{path}").partition("\n")
    return int(status), body


def is_primary(host: Any) -> bool:
    return bool(host.check_output("mysql --no-defaults -NBe 'SELECT @@read_only'") == "0")


def test_it_runs_at_boot_as_nobody_in_particular(host: Any) -> None:
    service = host.service("mysql-health")
    assert service.is_running and service.is_enabled
    pid = host.check_output("systemctl show --property MainPID --value mysql-health")
    status = host.file(f"/proc/{pid}/status").content_string
    uid = host.user("holdfast-health").uid
    assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}" in status
    assert "CapEff:\t0000000000000000" in status and "NoNewPrivs:\t1" in status
    password = host.check_output("grep -oP '(?<=^password=).*' /etc/holdfast/secrets/mysql-monitor.cnf")
    assert password not in host.file(f"/proc/{pid}/cmdline").content_string


def test_exactly_one_of_its_two_answers_is_yes(host: Any) -> None:
    expected = (200, 503) if is_primary(host) else (503, 200)
    assert (ask(host, "/primary")[0], ask(host, "/replica")[0]) == expected
    if not is_primary(host):
        assert "behind 10.203." in ask(host, "/replica?max_lag_seconds=30")[1]


def test_its_metrics_are_what_prometheus_reads(host: Any) -> None:
    status, text = ask(host, "/metrics")
    assert status == 200
    script = (
        "import sys; from prometheus_client.parser import text_string_to_metric_families as read\n"
        "for family in read(sys.stdin.read()):\n"
        "    for sample in family.samples: print(sample.name, sample.value)\n"
    )
    done = host.run("printf %s %s | python3 -c %s", "%s", text + "\n", script)
    assert done.rc == 0, done.stderr
    values = dict(line.split() for line in done.stdout.splitlines())
    assert values["holdfast_mysql_up"] == "1.0"
    assert values["holdfast_mysql_primary"] == str(float(is_primary(host)))
    assert float(values["holdfast_mysql_threads_connected"]) >= 1
    if not is_primary(host):
        assert float(values["holdfast_mysql_replica_lag_seconds"]) < 60


def test_it_answers_beside_many_connections(host: Any) -> None:
    sessions = host.check_output(
        "mysql --no-defaults -NBe \"SELECT COUNT(*) FROM performance_schema.processlist WHERE USER = 'holdfast_monitor'"
        " AND HOST = 'localhost'\""
    )
    assert sessions == "1", "one session, kept: when connections run out it is there already"


def test_the_proxys_checks_leave_nothing_in_the_log(host: Any) -> None:
    """HAProxy resets the connection once it has the status line, several times a second."""
    assert "Traceback" not in host.check_output("journalctl -u mysql-health -b --no-pager -o cat")
