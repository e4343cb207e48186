"""Recovery tests run on a provisioned lab whose guards run (molecule scenario `rebuild`); they share it, in order."""

from __future__ import annotations

import pytest

from support.hosts import Lab
from support.suite import provisioned_lab, require_guards


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The lab, provisioned, with guards. Anything else is a mistake of the caller."""
    found = provisioned_lab("tests/recovery")
    require_guards(found)
    return found
