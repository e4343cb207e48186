"""Integration tests run the installed programs on a provisioned lab (`make test`, or make lab-provision first)."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from support import hosts
from support.hosts import Host, Lab
from support.matrix import TABLE
from support.site import CONFIGURATION, Site
from support.workload import Workload


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if TABLE in config.stash:
        terminalreporter.section("fault matrix: exit status and what came of it")
        terminalreporter.write_line(config.stash[TABLE])


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The lab, provisioned, with db1 as primary. Anything else is a mistake of the caller, said at once."""
    if hosts.INSIDE not in os.environ:
        pytest.exit("run these inside the lab: python3 molecule/lab/lab.py enter -- pytest tests/integration", 2)
    found = hosts.lab()
    for host in found.servers:
        if host.run("test", "-e", CONFIGURATION, check=False).status != 0:
            pytest.exit(f"{host.name} is not provisioned: `make lab-provision` first", 2)
    if found.primary() is not found.db1:
        pytest.exit("db1 is not the primary: an earlier run was stopped half way; `make lab-down` and start again", 2)
    return found


@pytest.fixture(scope="module")
def name(request: pytest.FixtureRequest) -> str:
    """A name of the module's own, for its folder in the store."""
    return "t-" + str(request.module.__name__).rpartition(".")[2].removeprefix("test_").replace("_", "-")


@pytest.fixture(scope="module")
def site(lab: Lab, name: str) -> Iterator[Site]:
    """A site of the module's own on the lab's hosts."""
    made = Site(lab, name)
    made.install()
    yield made
    made.remove()


@pytest.fixture(scope="module")
def shop(lab: Lab, name: str) -> Iterator[Workload]:
    """A database of the module's own with a writer that keeps a ledger; not started yet."""
    made = Workload(lab, name.replace("-", "_"), rate=100)
    made.prepare()
    lab.wait_for_replica()
    yield made
    made.stop()
    lab.primary().sql(f"DROP DATABASE IF EXISTS `{made.database}`")


@pytest.fixture
def replica(lab: Lab) -> Host:
    """The server that takes the backups."""
    return lab.replica()


@pytest.fixture
def primary(lab: Lab) -> Host:
    """The server that takes the writes."""
    return lab.primary()
