"""Every command of the failover's runbooks, run as it stands on a pair in health."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.failover_pair import Pair
from support.runbooks import follow

SAYS = {
    "keeper.md": "Active: active (running)",
    "guard.md": "Replica_IO_Running",
    "failover_held.md": "if the primary died now",
    "fence_unproven.md": "if the primary died now",
    "errant_transactions.md": "if the primary died now",
    "rebuild_replica.md": "and is in sync",
    "rolling_restart.md": "nothing waits for a restart",
    "failover_drill.md": "Nobody took writes for",
}
# they name db1 as the primary
DB1_LEADS = {"rebuild_replica.md", "failover_drill.md"}


# what the page's commands do takes minutes
LONG = {"rolling_restart.md"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.long if name in LONG else ()) for name in SAYS])
def test_every_command_of_the_runbook_works(pair: Pair, tmp_path: Path, name: str) -> None:
    if name in DB1_LEADS:
        pair.have_led_by(pair.lab.db1)
    assert SAYS[name] in follow(pair.lab, name, tmp_path)
    pair.settle()
