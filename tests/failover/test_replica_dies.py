"""The replica dies: writes go on alone once the record says so, reads go to the primary; it comes back by itself."""

from __future__ import annotations

import time

from support import guarded
from support.failover_faults import held_down
from support.failover_load import Load, longest_pause
from support.failover_pair import Pair
from support.failover_times import Times
from support.hosts import wait_until

ALONE, WITH_REPLICA = (0, 0, 0), (0, 0, 1)
MARGIN_SECONDS = 6.0  # two cores under load


def test_the_replica_is_killed_and_comes_back(pair: Pair, load: Load, times: Times) -> None:
    roles, term, patience = pair.roles(), pair.term(), pair.seconds("no_progress_seconds")
    with held_down(roles.replica):
        began = time.time()
        guarded.kill_mysqld(roles.replica)
        wait_until(lambda: pair.in_sync() == "", "in_sync is none", limit_seconds=patience + MARGIN_SECONDS)
        wait_until(lambda: guarded.switches(roles.primary) == ALONE, "it acknowledges alone")
        first = load.wait_for_ok(roles.primary, time.time())
        stall = longest_pause([each.at for each in load.told(roles.primary)], began - 1)
        assert patience - 1.5 < stall < patience + MARGIN_SECONDS, "neither before the record says so nor much later"
        wait_until(lambda: load.ask(6034) == roles.primary.name, "reads go to the primary", limit_seconds=15)
        proxied = load.wait_for_shop(began)
        wait_until(lambda: "without a replica" in pair.told(roles.primary), "the alarm", limit_seconds=15)
        assert pair.term() == term
    wait_until(lambda: pair.in_sync() == roles.replica.name, "it is in sync again", limit_seconds=60)
    wait_until(lambda: guarded.switches(roles.primary) == WITH_REPLICA, "commits wait for it again")
    wait_until(lambda: load.ask(6034) == roles.replica.name, "reads go to the replica", limit_seconds=15)
    how = f"alone after {stall:.1f} s, and in sync again"
    times.add("replica killed", how, first=first - began, proxied=proxied - began)


def test_the_replica_is_killed_with_the_keeper_gone_then_the_primary_too(pair: Pair, load: Load) -> None:
    """Without the record nobody goes on alone, and nobody is promoted; the primary comes back with everything."""
    roles, term = pair.roles(), pair.term()
    app = pair.lab.app1
    app.run("systemctl", "stop", "mysql-keeper")
    try:
        with held_down(roles.replica):
            guarded.kill_mysqld(roles.replica)
            gone = time.time()
            wait_until(lambda: "commits wait" in pair.told(roles.primary), "the alarm", limit_seconds=40)
            assert load.told(since=gone + 0.5) == []
            assert guarded.switches(roles.primary) == WITH_REPLICA
            guarded.kill_mysqld(roles.primary)
    finally:
        app.run("systemctl", "start", "mysql-keeper")
    wait_until(lambda: pair.open_primary() is not None, "the primary is open again", limit_seconds=60)
    assert pair.term() == term
    assert pair.roles().primary.name == roles.primary.name
