"""Recovery tests run on a provisioned lab whose guards run (molecule scenario `rebuild`); they share it, in order."""

from __future__ import annotations

import os

import pytest

from support import hosts
from support.hosts import Lab


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The lab, provisioned, with guards. Anything else is a mistake of the caller."""
    if hosts.INSIDE not in os.environ:
        pytest.exit("run these by `make test T=tests/recovery` on a provisioned lab", 2)
    found = hosts.lab()
    for host in found.servers:
        if host.run("systemctl", "cat", "mysql-guard", check=False).status != 0:
            pytest.exit(f"{host.name} has no guard: provision the lab with mysql_guard_enabled", 2)
    return found
