"""The guards on a real pair: what each does to its server when something is gone. Nothing acknowledged is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from support import guarded
from support.failover_pair import Pair
from support.faults import pids
from support.guarded import Probe, cut, in_sync, log_of, mysqld_pid, record, report, stopped, switches, uuid_of
from support.hosts import Lab, wait_until

OPEN_ALONE, OPEN, OFFLINE = (0, 0, 0), (0, 0, 1), 1
pytestmark = pytest.mark.usefixtures("settled")


@pytest.fixture(scope="module")
def nobody_promotes(lab: Lab, pair: Pair) -> Iterator[None]:
    """No manager is at work: what the guards do by themselves is looked at. db1 is the primary."""
    pair.settle()
    if pair.roles().primary.name != "db1":
        pair.switch_over()
        pair.settle()
    with stopped(lab.app1, pair.manager_unit):
        yield


@pytest.fixture
def settled(lab: Lab, nobody_promotes: None) -> Iterator[None]:
    """A pair in health before, and after: each test leaves nothing to do for a person."""
    guarded.settle(lab)
    yield
    guarded.settle(lab)


@pytest.fixture
def probe(lab: Lab, settled: None) -> Iterator[Probe]:
    """A client that writes; every row that it was told OK for is on both servers in the end."""
    made = Probe(lab.db1)
    made.prepare()
    made.start()
    yield made
    made.stop()
    guarded.settle(lab)
    lab.wait_for_replica()
    assert made.lost(lab.db1) == set()
    assert made.lost(lab.db2) == set()


def test_the_replica_is_gone_and_comes_back(lab: Lab, pair: Pair, probe: Probe) -> None:
    with cut((lab.db1, lab.db2)):
        wait_until(lambda: in_sync(lab) == "", "in_sync is none", limit_seconds=20)
        wait_until(lambda: switches(lab.db1) == OPEN_ALONE, "it acknowledges alone", limit_seconds=10)
        wait_until(lambda: "the primary acknowledges without a replica" in report(lab.db1)["notices"], "the alarm")
        assert report(lab.db1)["swapped_alone"]
    patience = pair.seconds("no_progress_seconds")
    assert patience - 2 < probe.longest_wait() < patience + 4
    back = time.time()
    wait_until(lambda: in_sync(lab) == uuid_of(lab.db2), "the replica is in sync again", limit_seconds=45)
    assert switches(lab.db1) == OPEN
    wait_until(lambda: not report(lab.db1)["swapped_alone"], "its guard's next report says so", limit_seconds=5)
    time.sleep(3)
    assert probe.longest_wait(back) < 4


def test_mysqld_of_the_primary_is_killed(lab: Lab, probe: Probe) -> None:
    before, named = mysqld_pid(lab.db1), record(lab)
    guarded.kill_mysqld(lab.db1)
    wait_until(lambda: switches_or_none(lab) == OPEN, "it is open again", limit_seconds=30)
    assert mysqld_pid(lab.db1) != before
    assert record(lab)["term"] == named["term"]
    assert in_sync(lab) == uuid_of(lab.db2)


def test_mysqld_of_the_replica_is_killed(lab: Lab, probe: Probe) -> None:
    before = record(lab)["in_sync"]
    guarded.kill_mysqld(lab.db2)
    wait_until(lambda: record(lab)["in_sync"] not in (None, before), "the new instance is in sync", limit_seconds=60)
    assert in_sync(lab) == uuid_of(lab.db2)
    assert probe.longest_wait() < 14


def test_without_replica_and_keeper_commits_wait(lab: Lab, pair: Pair, probe: Probe) -> None:
    with stopped(lab.app1, "mysql-keeper"), stopped(lab.db2, "mysql"):
        gone = time.time()
        time.sleep(pair.seconds("no_progress_seconds") + 5)
        assert [answer for answer in probe.acknowledged() if answer.sent > gone] == []
        assert switches(lab.db1) == OPEN
        wait_until(lambda: any("commits wait" in text for text in report(lab.db1)["notices"]), "the alarm")
        lab.app1.run("systemctl", "start", "mysql-keeper")
        wait_until(lambda: switches(lab.db1) == OPEN_ALONE, "it goes on alone", limit_seconds=20)
        wait_until(lambda: probe.acknowledged()[-1].sent > gone, "a write is acknowledged", limit_seconds=10)


def test_an_isolated_primary_goes_offline_and_comes_back_by_itself(lab: Lab, probe: Probe) -> None:
    before, began = mysqld_pid(lab.db1), time.time()
    with cut((lab.db1, lab.db2), (lab.db1, lab.app1)):
        wait_until(lambda: switches(lab.db1)[1] == OFFLINE, "it is offline", limit_seconds=10, every_seconds=0.1)
        assert time.time() - began < 8
        offline = time.time()
        time.sleep(5)
        assert switches(lab.db1)[1] == OFFLINE
        assert [answer for answer in probe.acknowledged() if answer.answered > offline] == []
    wait_until(lambda: switches(lab.db1) == OPEN, "it is open again", limit_seconds=20)
    assert mysqld_pid(lab.db1) == before


def test_a_frozen_mysqld_is_ended(lab: Lab, probe: Probe) -> None:
    before, began = mysqld_pid(lab.db1), time.time()
    guarded.kill_mysqld(lab.db1, "STOP")
    wait_until(lambda: pids(lab.db1, guarded.MYSQLD) not in ([], [before]), "another runs", limit_seconds=30)
    assert 9 < time.time() - began < 25
    wait_until(lambda: switches_or_none(lab) == OPEN, "it is open again", limit_seconds=30)
    assert "step KILL_SERVER" in log_of(lab.db1, began)


def test_a_guard_that_was_restarted_ends_a_mysqld_that_froze_before(lab: Lab) -> None:
    before = mysqld_pid(lab.db1)
    guarded.kill_mysqld(lab.db1, "STOP")
    lab.db1.run("systemctl", "restart", "mysql-guard")
    wait_until(lambda: pids(lab.db1, guarded.MYSQLD) not in ([], [before]), "another runs", limit_seconds=40)


def test_an_account_statement_that_waits_for_its_ack(lab: Lab, probe: Probe) -> None:
    before = mysqld_pid(lab.db1)
    with cut((lab.db1, lab.db2)):
        waiting = lab.db1.start("mysql", "-uroot", "-e", "ALTER USER probe@localhost COMMENT 'waits for its ACK'")
        wait_until(lambda: in_sync(lab) == "", "in_sync is none", limit_seconds=30)
        wait_until(lambda: switches_or_none(lab) == OPEN_ALONE, "it is open, alone", limit_seconds=40)
        waiting.wait(timeout=20)
    # the statement holds the lock by which rights are looked up; the guard's are looked up without
    assert mysqld_pid(lab.db1) == before


def test_connections_are_exhausted(lab: Lab) -> None:
    before = mysqld_pid(lab.db1)
    limit = lab.db1.value("SELECT @@max_connections")
    lab.db1.sql("SET GLOBAL max_connections = 10")
    clients = [lab.db1.start("mysql", "-uprobe", "-pprobe", "-e", "SELECT SLEEP(25)") for _ in range(14)]
    try:
        lab.db1.run("systemctl", "restart", "mysql-guard")
        wait_until(lambda: report(lab.db1)["seconds_since_sql"] < 3, "the guard gets in", limit_seconds=10)
        time.sleep(15)
        assert mysqld_pid(lab.db1) == before
        assert report(lab.db1)["sql_error"] == ""
    finally:
        # root's socket is full as well; the clients end by themselves
        admin = ("--host", lab.db1.address, "--port", "33062")
        account = "--defaults-file=/etc/holdfast/secrets/mysql-guard.cnf"
        lab.db1.run("mysql", account, *admin, "-e", f"SET GLOBAL max_connections = {limit}")
        for client in clients:
            client.wait(timeout=40)


def test_a_planned_stop_of_the_replica_costs_nothing(lab: Lab, probe: Probe) -> None:
    asked = time.time()
    with stopped(lab.db2, "mysql"):
        assert in_sync(lab) == ""
        time.sleep(3)
        assert switches(lab.db1) == OPEN_ALONE
    wait_until(lambda: in_sync(lab) == uuid_of(lab.db2), "it is in sync again", limit_seconds=45)
    assert probe.longest_wait(asked) < 4


def switches_or_none(lab: Lab) -> tuple[int, int, int] | None:
    """Return the primary's switches, None while it does not answer."""
    try:
        return switches(lab.db1)
    except Exception:
        return None
