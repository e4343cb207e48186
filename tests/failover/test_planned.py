"""What people do to a pair on purpose, by playbook: a rolling restart, a failover drill."""

from __future__ import annotations

import re
import time

import pytest

from support import guarded
from support.failover_load import Load, longest_pause
from support.failover_pair import Pair
from support.hosts import Host
from support.playbooks import on_the_suites_site

PENDING = "/etc/mysql/mysql.conf.d/zzzz-suite.cnf"
STALL_SECONDS = 10.0  # as a switchover's


def process_of(host: Host) -> int:
    return guarded.mysqld_pid(host)


@pytest.mark.long
def test_with_nothing_that_waits_a_rolling_restart_does_nothing(pair: Pair, load: Load) -> None:
    before = {host.name: process_of(host) for host in pair.lab.servers}
    done = on_the_suites_site("rolling_restart", rolling_restart_upgrade=False)
    assert "nothing waits for a restart" in done.words
    assert set(done.changed.values()) == {0}
    assert {host.name: process_of(host) for host in pair.lab.servers} == before


@pytest.mark.long
def test_a_setting_that_waits_comes_into_force_one_server_after_the_other(pair: Pair, load: Load) -> None:
    roles, term, began = pair.roles(), pair.term(), time.time()
    before = {host.name: process_of(host) for host in pair.lab.servers}
    for host in pair.lab.servers:
        host.write(PENDING, "[mysqld]\nback_log = 91\n")
    try:
        told = on_the_suites_site("rolling_restart", "--check")
        assert "the primary: variable back_log" in told.words and pair.term() == term
        assert {host.name: process_of(host) for host in pair.lab.servers} == before, "check mode restarts nobody"
        done = on_the_suites_site("rolling_restart")
    finally:
        for host in pair.lab.servers:
            host.run("rm", "-f", PENDING)
    stall = longest_pause(load.shop_moments(), began)
    assert f"{roles.primary.name} was restarted (variable back_log) and is in sync again" in done.words
    assert [host.value("SELECT @@back_log") for host in pair.lab.servers] == ["91", "91"]
    assert pair.roles().primary.name == roles.replica.name and pair.term() == term + 1
    assert stall < STALL_SECONDS
    on_the_suites_site("rolling_restart")  # the next start finds the old setting
    assert pair.roles().primary.name == roles.primary.name


@pytest.mark.parametrize("confirm", ["", "the replica"])
def test_a_drill_kills_nobody_who_was_not_named(pair: Pair, load: Load, confirm: str) -> None:
    roles = pair.roles()
    before = process_of(roles.primary)
    done = on_the_suites_site("failover_drill", expect=2, confirm=roles.replica.name if confirm else "")
    assert f"Not confirmed: the primary is {roles.primary.name}" in done.words
    assert set(done.changed.values()) == {0} and process_of(roles.primary) == before


def test_a_drill_is_refused_while_nobody_would_take_over(pair: Pair, load: Load) -> None:
    roles = pair.roles()
    pair.order("pause", "--for", "30m")
    try:
        done = on_the_suites_site("failover_drill", expect=2, confirm=roles.primary.name)
    finally:
        pair.order("resume")
    assert f"Nobody would replace {roles.primary.name} now" in done.words


def test_a_drill_kills_the_primary_and_measures(pair: Pair, load: Load) -> None:
    roles, term = pair.roles(), pair.term()
    done = on_the_suites_site("failover_drill", confirm=roles.primary.name)
    assert f"{roles.replica.name} is the primary" in done.words
    stall = re.search(r"Nobody took writes for ([0-9.]+) s", done.words)
    assert stall and pair.detection_seconds < float(stall[1]) < pair.detection_seconds + 40
    assert pair.term() == term + 1
    assert not roles.primary.exists("/run/systemd/system/mysql.service.d/zz-holdfast-drill.conf")
    load.wait_for_shop(time.time())
