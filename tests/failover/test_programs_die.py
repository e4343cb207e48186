"""Keeper, manager and proxy die, or are stopped, in the middle of an outage; the record is lost."""

from __future__ import annotations

import time

from support import faults, guarded
from support.failover_faults import held_down
from support.failover_load import Load
from support.failover_pair import Pair
from support.failover_times import Times
from support.hosts import wait_until

KEEPER, MANAGER = "mysql-keeper serve", "mysql-failover serve"


def test_keeper_and_manager_are_killed_during_an_outage(pair: Pair, load: Load, times: Times) -> None:
    roles, term = pair.roles(), pair.term()
    app = pair.lab.app1
    with held_down(roles.primary):
        began = time.time()
        guarded.kill_mysqld(roles.primary)
        app.run("systemctl", "kill", "--signal=KILL", "mysql-keeper", pair.manager_unit)
        new = times.promotion(pair, load, "the same, keeper and manager killed", began, term)
        assert new.name == roles.replica.name


def test_the_manager_is_killed_in_the_middle_of_a_promotion(pair: Pair, load: Load) -> None:
    """Whatever it had done by then, its successor ends it: forward, as the elected server still runs, or back."""
    roles, term = pair.roles(), pair.term()
    app = pair.lab.app1
    app.run("systemctl", "stop", pair.manager_unit)
    with held_down(roles.primary):
        guarded.kill_mysqld(roles.primary)
        order = app.start("mysql-failover", "failover")
        wait_until(lambda: pair.term() > term, "the record moved on", limit_seconds=30, every_seconds=0.02)
        faults.kill(app, "[m]ysql-failover.* failover$|[m]ysql_failover.py failover$")
        order.wait(timeout=30)
        app.run("systemctl", "start", pair.manager_unit)
        new = pair.wait_for_promotion(term, 60)
        assert new.name == roles.replica.name
        assert pair.term() == term + 1


def test_the_keeper_is_frozen_while_the_replica_answers(pair: Pair, load: Load) -> None:
    """The record costs nothing while the replica answers: nobody notices but the alarm."""
    roles, term = pair.roles(), pair.term()
    app = pair.lab.app1
    app.run("systemctl", "kill", "--signal=STOP", "mysql-keeper")
    try:
        wait_until(lambda: "keeper" in pair.told(roles.primary), "the alarm", limit_seconds=40)
        load.wait_for_ok(roles.primary, time.time(), 5)
    finally:
        app.run("systemctl", "kill", "--signal=CONT", "mysql-keeper")
    load.wait_for_shop(time.time())
    assert pair.term() == term


def test_the_proxy_is_restarted(pair: Pair, load: Load) -> None:
    roles = pair.roles()
    pair.lab.app1.run("systemctl", "restart", pair.proxy_unit)
    load.wait_for_shop(time.time())
    wait_until(lambda: load.ask(6033) == roles.primary.name, "6033 leads to the primary", limit_seconds=15)


def test_the_record_is_deleted(pair: Pair, load: Load) -> None:
    """Nothing is granted without it. Where every guard tells the same it is made again, in a later term."""
    roles, term = pair.roles(), pair.term()
    app = pair.lab.app1
    app.run("systemctl", "stop", "mysql-keeper")
    app.run("rm", guarded.RECORD_FILE)
    app.run("systemctl", "start", "mysql-keeper")
    load.wait_for_ok(roles.primary, time.time(), 10)  # the replica answers: writes go on
    if not app.exists(guarded.RECORD_FILE):
        app.run("mysql-keeper", "rebuild", check=False)
    wait_until(lambda: app.exists(guarded.RECORD_FILE), "the record is there again", limit_seconds=40)
    wait_until(lambda: pair.term() > term, "it has a later term")
    load.term_before = pair.term()
    pair.settle()
    assert pair.roles().primary.name == roles.primary.name
