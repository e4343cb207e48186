"""The fence, each way, and a fence that is not possible, under both policies."""

from __future__ import annotations

import time

import pytest

from support import faults, guarded
from support.failover_faults import reconfigured, replication_cut
from support.failover_load import Load
from support.failover_pair import Pair
from support.hosts import CommandError, Host, wait_until

FENCE_SECONDS = 60.0


def fence_lines(pair: Pair, since: float) -> str:
    """Return what the manager logged of the fence since a moment."""
    when = f"@{since:.0f}"
    return pair.lab.app1.run("journalctl", "--no-pager", "-o", "cat", "--since", when, "-g", "fence|promotion").out


def ordered(pair: Pair, since: float) -> str:
    """Order a failover now; return what was done."""
    return pair.order("failover") + fence_lines(pair, since)


def test_while_the_replica_hears_it(pair: Pair, load: Load) -> None:
    roles, began = pair.roles(), time.time()
    said = ordered(pair, began)
    assert "read_only_while_streaming: done" in said
    assert pair.roles().primary.name == roles.replica.name
    pair.settle()
    assert pair.errant(roles.primary) == "", "nothing strays on the gentle way"


def test_under_load_with_the_replica_cut_by_sql(pair: Pair, load: Load) -> None:
    """Its commits wait when the fence comes: nothing of it is acknowledged after that."""
    roles, term = pair.roles(), pair.term()
    roles.primary.run("systemctl", "stop", "mysql-guard")
    roles.replica.run("systemctl", "stop", "mysql-relay-guard.socket", "mysql-relay-admin.socket", check=False)
    try:
        with guarded.cut((roles.primary, roles.replica)):
            time.sleep(1)
            said = ordered(pair, time.time())
            fenced = time.time()
            assert "offline_and_kill: done" in said
            assert pair.term() == term + 1
            wait_until(lambda: pair.open_primary() is not None, "the new one is open")
            assert load.told(roles.primary, since=fenced) == []
    finally:
        roles.primary.run("systemctl", "start", "mysql-guard")
        roles.replica.run("systemctl", "start", "mysql-relay-guard.socket", "mysql-relay-admin.socket")


def test_by_the_guard_and_through_the_relay(pair: Pair, load: Load) -> None:
    """The app host has no way to the primary, its replica hears nothing: its guard is reached through the survivor."""
    roles, term = pair.roles(), pair.term()
    before = guarded.mysqld_pid(roles.primary)
    plan = ("mysql-fence", "--old", roles.primary.name, "--new", roles.replica.name, "--dry-run")
    # without the keeper the primary's guard cannot leave the silent replica behind
    with guarded.cut((pair.lab.app1, roles.primary)), replication_cut(roles.primary, roles.replica):
        wait_until(
            lambda: f"{roles.replica.name} does not hear it" in pair.lab.app1.run(*plan).out, "replication is silent"
        )
        said = ordered(pair, time.time())
        assert "kill_by_guard: done: mysqld" in said and f"by its guard through {roles.replica.name}" in said
        assert pair.term() == term + 1
    wait_until(
        lambda: faults.pids(roles.primary, guarded.MYSQLD) not in ([], [before]), "it was killed", limit_seconds=30
    )


@pytest.mark.parametrize("name", ["proceed", "hold"])
def test_a_fence_that_is_not_possible(pair: Pair, load: Load, name: str) -> None:
    """The primary is cut off from everybody, its guard is dead: nothing can be proven."""
    roles, term = pair.roles(), pair.term()
    with reconfigured(pair, {"fence_policy": name}):
        began = time.time()
        roles.primary.run("systemctl", "stop", "mysql-guard")
        try:
            with guarded.cut((roles.primary, roles.replica), (roles.primary, pair.lab.app1)):
                if name == "proceed":
                    new = pair.wait_for_promotion(term, pair.detection_seconds + FENCE_SECONDS)
                    load.wait_for_ok(new, began)
                    wait_until(lambda: "UNPROVEN" in pair.told(pair.lab.app1), "people are told")
                    fencer = f"mysql-fencer@{pair.term()}"
                    assert pair.lab.app1.run("systemctl", "is-active", fencer).status == 0
                else:
                    wait_until(lambda: "held" in pair.told(pair.lab.app1).lower(), "people are told", limit_seconds=60)
                    assert pair.open_primary() is None
                cut_off = time.time()
                time.sleep(2)
                assert load.told(roles.primary, since=cut_off) == []
        finally:
            roles.primary.run("systemctl", "start", "mysql-guard")
        pair.settle(90)


def test_an_unknown_host(pair: Pair, load: Load) -> None:
    term = pair.term()
    with pytest.raises(CommandError, match="no database host of this site"):
        pair.lab.app1.run("mysql-fence", "--old", "db9", "--new", "db2")
    assert pair.term() == term


def test_a_dry_run_changes_nothing(pair: Pair, load: Load) -> None:
    roles, term = pair.roles(), pair.term()
    names: tuple[Host, Host] = (roles.primary, roles.replica)
    said = pair.lab.app1.run("mysql-fence", "--old", names[0].name, "--new", names[1].name, "--dry-run").text
    assert "the fence would begin with" in said
    assert pair.term() == term
    assert pair.unwell() == ""
