"""Nobody is in sync and the primary dies: nothing is promoted, people are told, one of them may allow the loss."""

from __future__ import annotations

import time

import pytest

from support import guarded
from support.failover_faults import hold_down, let_up
from support.failover_load import Load
from support.failover_pair import Pair
from support.hosts import CommandError, wait_until


def test_nobody_is_in_sync_and_the_primary_dies(pair: Pair, load: Load) -> None:
    """Writers stop first, so that the loss that is allowed is empty and the ledger stays whole."""
    roles, term = pair.roles(), pair.term()
    hold_down(roles.replica)
    guarded.kill_mysqld(roles.replica)
    wait_until(lambda: pair.in_sync() == "", "in_sync is none", limit_seconds=20)
    load.wait_for_ok(roles.primary, time.time())
    hold_down(roles.primary)
    guarded.kill_mysqld(roles.primary)
    let_up(roles.replica)
    wait_until(lambda: "held" in pair.told(pair.lab.app1), "the alarm", limit_seconds=pair.detection_seconds + 30)
    assert pair.term() == term
    status = pair.order("status")
    assert "NOTHING would be promoted" in status
    assert "nobody is in sync" in status
    with pytest.raises(CommandError, match="nobody is in sync"):
        pair.order("failover")
    assert pair.term() == term
    # the primary comes back: nothing was lost
    let_up(roles.primary)
    wait_until(lambda: pair.open_primary() is not None, "the old primary is open again", limit_seconds=60)
    assert pair.roles().primary.name == roles.primary.name


def test_a_person_allows_the_loss(pair: Pair, load: Load) -> None:
    roles, term = pair.roles(), pair.term()
    load.stop()
    pair.lab.wait_for_replica()
    with guarded.stopped(roles.replica, "mysql"):
        wait_until(lambda: pair.in_sync() == "", "in_sync is none", limit_seconds=20)
        wait_until(lambda: guarded.switches(roles.primary)[2] == 0, "it acknowledges alone")
        roles.primary.sql(f"INSERT INTO probe.rows_ VALUES ({time.time_ns()})")  # the row that is allowed to be lost
        hold_down(roles.primary)
        guarded.kill_mysqld(roles.primary)
    try:
        wait_until(lambda: guarded.report(roles.replica)["server"] is not None, "the replica is back")
        said = pair.order("failover", "--allow-data-loss")
        assert pair.term() == term + 1, said
        wait_until(lambda: pair.open_primary() is not None, "it is open", limit_seconds=30)
        assert pair.roles().primary.name == roles.replica.name
    finally:
        let_up(roles.primary)
    wait_until(lambda: bool(pair.errant(roles.primary)), "the old primary has what was lost", limit_seconds=30)
