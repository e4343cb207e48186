"""What suites that share a provisioned lab ask of it before their first test."""

from __future__ import annotations

import os

import pytest

from support import hosts
from support.hosts import Lab


def provisioned_lab(suite: str) -> Lab:
    """The lab that a suite, named by its path, was started in. Ends the session outside of one."""
    if hosts.INSIDE not in os.environ:
        pytest.exit(f"run these by `make test T={suite}` on a provisioned lab", 2)
    return hosts.lab()


def require_guards(lab: Lab) -> None:
    """End the session unless both database hosts have a guard."""
    for host in lab.servers:
        if host.run("systemctl", "cat", "mysql-guard", check=False).status != 0:
            pytest.exit(f"{host.name} has no guard: provision the lab with mysql_guard_enabled", 2)
