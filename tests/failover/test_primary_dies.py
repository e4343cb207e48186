"""The primary's server or host dies: it is opened again, or replaced, and every acknowledged row is there."""

from __future__ import annotations

import time

import pytest

from support import faults, guarded
from support.failover_faults import frozen, held_down, power_off, power_on, reconfigured
from support.failover_load import Load
from support.failover_pair import Pair
from support.failover_times import Times
from support.hosts import wait_until


def test_mysqld_is_killed_and_systemd_starts_it(pair: Pair, load: Load, times: Times) -> None:
    roles, term, began = pair.roles(), pair.term(), time.time()
    guarded.kill_mysqld(roles.primary)
    wait_until(
        lambda: (pair.open_primary() is not None and pair.in_sync() != "") and bool(load.told(since=began + 0.5)),
        "somebody takes writes", limit_seconds=60,
    )  # fmt: skip
    now = pair.roles().primary
    assert now.name == roles.primary.name or pair.term() > term
    how = "opened again" if pair.term() == term else "promoted"
    first, proxied = load.wait_for_ok(now, began + 0.5), load.wait_for_shop(began + 0.5)
    times.add("mysqld killed, systemd starts it", how, first=first - began, proxied=proxied - began)


def test_mysqld_is_killed_and_stays_dead(pair: Pair, load: Load, times: Times) -> None:
    roles, term = pair.roles(), pair.term()
    with held_down(roles.primary):
        began = time.time()
        guarded.kill_mysqld(roles.primary)
        new = times.promotion(pair, load, "mysqld killed for good", began, term)
        assert new.name == roles.replica.name
        assert pair.term() == term + 1


def test_the_whole_host_loses_power(pair: Pair, load: Load, times: Times) -> None:
    roles, term, began = pair.roles(), pair.term(), time.time()
    power_off(roles.primary)
    try:
        new = times.promotion(pair, load, "host lost power", began, term)
        assert new.name == roles.replica.name
    finally:
        power_on(roles.primary)


SEED = {"silence_seconds": 30, "heartbeat_window_seconds": 10, "fence_step_seconds": 10, "drain_seconds": 30}
SEED_PROMOTION_SECONDS = 45.0


@pytest.mark.parametrize("fault", ["mysqld killed", pytest.param("host frozen", marks=pytest.mark.long)])
def test_a_promotion_at_the_seeds_settings(pair: Pair, load: Load, times: Times, fault: str) -> None:
    """30 s of silence, a window of 10 s, a look each 5 s: 45 s from the fault to a server that takes writes."""
    roles, term = pair.roles(), pair.term()
    with reconfigured(pair, {"timing": SEED}):
        wait_until(lambda: "silent for 0.0 s" in pair.order("status"), "the manager has looked")
        with held_down(roles.primary) if fault == "mysqld killed" else frozen(roles.primary):
            began = time.time()
            if fault == "mysqld killed":
                guarded.kill_mysqld(roles.primary)
            wait_until(
                lambda: pair.term() > term and pair.open_primary() is not None, "a promotion",
                limit_seconds=SEED_PROMOTION_SECONDS + 30, every_seconds=0.1,
            )  # fmt: skip
            took = time.time() - began
            new = times.promotion(pair, load, f"{fault}, seed's settings", began, term)
            assert new.name == roles.replica.name
            assert took <= SEED_PROMOTION_SECONDS


def test_a_stop_of_the_server_acknowledges_nothing_that_waits(pair: Pair, load: Load) -> None:
    """`systemctl stop` with commits waiting for a replica that is cut off: SIGTERM alone would say OK to them."""
    roles = pair.roles()
    pair.lab.app1.run("systemctl", "stop", "mysql-keeper")  # nobody may go on alone
    try:
        with guarded.cut((roles.primary, roles.replica)):
            gone = time.time()
            waiting = (
                "SELECT COUNT(*) FROM information_schema.processlist WHERE state LIKE 'Waiting for semi-sync ACK%'"
            )
            wait_until(lambda: roles.primary.value(waiting) != "0", "a commit waits")
            roles.primary.run("systemctl", "stop", "mysql", timeout_seconds=60)
            assert load.told(since=gone + 1) == []
    finally:
        pair.lab.app1.run("systemctl", "start", "mysql-keeper")
        roles.primary.run("systemctl", "start", "mysql", timeout_seconds=90)


@pytest.mark.parametrize("signal", ["STOP"])
def test_a_frozen_mysqld_is_ended_by_its_guard(pair: Pair, load: Load, signal: str) -> None:
    roles, began = pair.roles(), time.time()
    before = guarded.mysqld_pid(roles.primary)
    guarded.kill_mysqld(roles.primary, signal)
    wait_until(
        lambda: faults.pids(roles.primary, guarded.MYSQLD) not in ([], [before]), "another runs", limit_seconds=40
    )
    wait_until(lambda: pair.open_primary() is not None, "somebody takes writes", limit_seconds=40)
    load.wait_for_shop(began + 1)
