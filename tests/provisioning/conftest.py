"""Re-runs of the playbooks on a converged pair: what changes live, what waits, what is refused."""

from __future__ import annotations

import os

import pytest

from support import hosts
from support.hosts import Lab


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The converged lab."""
    if hosts.INSIDE not in os.environ:
        pytest.exit("run these by `make test T=tests/provisioning` on a provisioned lab", 2)
    return hosts.lab()
