"""Failover tests run on a provisioned lab whose guards run (molecule scenario `failover`, or mysql_guard_enabled).

Before each test all must be well, and after each all must be well again, with every acknowledged row on both servers.
What is not is printed with the programs' logs and put right, so that the next test begins on a pair in health.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Generator, Iterator

import pytest

from support import console, failover_faults, hosts
from support.failover_load import Load
from support.failover_pair import Pair
from support.failover_times import HEADINGS, Times
from support.guarded import RECORD_FILE
from support.hosts import CommandError, Lab, wait_until
from support.provision import tool
from support.suite import provisioned_lab, require_guards

TIMES = pytest.StashKey[Times]()
OUTCOME = pytest.StashKey[bool]()
SETTINGS = hosts.REPOSITORY / "molecule" / "failover" / "vars" / "settings.yml"
LOG_LINES = 60


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TIMES] = Times()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        item.stash[OUTCOME] = report.passed
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash[TIMES].rows()
    if rows:
        terminalreporter.section("seconds from the fault on")
        terminalreporter.write_line(console.table(HEADINGS, rows))


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The lab, provisioned, its guards at work. Anything else is a mistake of the caller."""
    found = provisioned_lab("tests/failover")
    for host in (*found.servers, found.app1):
        failover_faults.thaw(host)  # an earlier run may have been stopped in its middle
    require_guards(found)
    return found


@pytest.fixture(scope="session")
def pair(lab: Lab) -> Pair:
    """The pair, well at the beginning."""
    made = Pair(lab)
    try:
        made.settle(30)
    except CommandError:
        failover_faults.put_right(made)  # what an earlier run that was stopped has left
        made.settle()
    return made


@pytest.fixture(scope="session")
def clients(pair: Pair) -> Iterator[Load]:
    """The clients' tables and accounts, made once."""
    made = Load(pair)
    made.prepare()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def times(request: pytest.FixtureRequest) -> Times:
    """The table that is printed at the end of the session."""
    return request.config.stash[TIMES]


@pytest.fixture
def load(request: pytest.FixtureRequest, pair: Pair, clients: Load) -> Iterator[Load]:
    """Clients that write during the test, on a pair that is well before and after it."""
    began = time.time()
    preflight(pair, clients)
    pair.forget_told()
    clients.start()
    yield clients
    passed = request.node.stash.get(OUTCOME, False)
    try:
        post_test(pair, clients)
    except BaseException:
        print_logs(pair, began)
        repair(pair, clients)
        raise
    if not passed:
        print_logs(pair, began)


def preflight(pair: Pair, clients: Load) -> None:
    """Replication healthy, both servers reachable, routing right, `in_sync` set, nobody else at work."""
    pair.settle(30)
    pair.lab.wait_for_replica()
    roles = pair.roles()
    for unit in ("mysql-keeper", pair.manager_unit, pair.proxy_unit):
        pair.lab.app1.run("systemctl", "is-active", unit)
    for port, host in ((6033, roles.primary), (6034, roles.replica)):
        wait_until(lambda p=port, h=host: routed(clients, p) == h.name, f"port {port} leads to {host.name}")  # type: ignore[misc]


def routed(clients: Load, port: int) -> str:
    """Return where a port of the proxy leads to; empty when nobody answers."""
    try:
        return clients.ask(port)
    except CommandError:
        return ""


def post_test(pair: Pair, clients: Load) -> None:
    """Roles by the record, replication, `in_sync`, equal GTID sets, every acknowledged row, one speaker at a time."""
    pair.settle()
    clients.stop()
    pair.lab.wait_for_replica()
    wait_until(lambda: pair.lab.db1.executed() == pair.lab.db2.executed(), "both servers have the same transactions")
    assert clients.problems() == []


def repair(pair: Pair, clients: Load) -> None:
    """Give the next test a pair in health: undo the faults, rebuild a server, or provision the lab anew."""
    clients.stop()
    try:
        failover_faults.put_right(pair)
        pair.settle()
        return
    except (CommandError, OSError, subprocess.SubprocessError) as error:
        print(f"the pair does not become well by itself: {error}; the lab is provisioned anew")
    lab = str(hosts.LAB_PROGRAM)
    playbook = (tool("ansible-playbook"), "-i", "inventories/lab", "-e", f"@{SETTINGS}")
    environment = {**os.environ, "ANSIBLE_CONFIG": str(hosts.REPOSITORY / "ansible.cfg")}
    for argv in (
        (sys.executable, lab, "down"),
        (sys.executable, lab, "up"),
        (*playbook, "molecule/lab/store.yml", "playbooks/site.yml"),
    ):
        subprocess.run(argv, check=True, cwd=hosts.REPOSITORY, env=environment, stdin=subprocess.DEVNULL)
    pair.__dict__.pop("uuids", None)
    clients.known.clear()
    pair.settle()
    clients.prepare()


def print_logs(pair: Pair, since: float) -> None:
    """Print what guards, keeper and manager logged since a moment; pytest shows it with the failure."""
    for host in (pair.lab.app1, *pair.lab.servers):
        done = host.run(
            "journalctl", "--no-pager", "-o", "short-precise", "--since", f"@{since:.0f}", "-n", str(LOG_LINES),
            "-t", "mysql-guard", "-t", "mysql-keeper", "-t", "mysql-failover", "-t", "mysql-fence",
            "-t", "mysql-repman", "-t", "replication-manager",
            check=False,
        )  # fmt: skip
        print(f"--- {host.name}\n{done.text}")
    print(f"--- record\n{pair.lab.app1.run('sh', '-c', f'cat {RECORD_FILE}', check=False).text}")
    print(pair.lab.app1.run("mysql-failover", "status", check=False).text)
