"""Re-runs of the playbooks on a converged pair: what changes live, what waits, what is refused."""

from __future__ import annotations

import pytest

from support.hosts import Lab
from support.suite import provisioned_lab


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The converged lab."""
    return provisioned_lab("tests/provisioning")
