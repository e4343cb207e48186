"""Every way in which the network between three hosts can be cut, each healed without a restart.

P, R and A are primary, replica and app host. Only one of the seven may end with another primary: P cut off from both.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import pytest

from support import guarded
from support.failover_load import Load
from support.failover_pair import Pair
from support.failover_times import Times
from support.hosts import Host, wait_until

ALONE, OFFLINE = (0, 0, 0), 1
PATIENCE_SECONDS = 5.0  # beyond the moment at which a failover would be due


@dataclass(frozen=True)
class Cut:
    """Links that are cut, and what must become of writes on the primary: they `go on`, go on `alone`, or `stop`."""

    links: tuple[str, ...]
    writes: str

    @property
    def name(self) -> str:
        return " ".join(self.links)


NO_FAILOVER = (
    Cut(("AP",), "go on"),  # the seed's case of two writers
    Cut(("AR",), "go on"),
    Cut(("PR",), "alone"),
    Cut(("AP", "AR"), "go on"),
    Cut(("AR", "PR"), "alone"),
    Cut(("AP", "AR", "PR"), "stop"),
)


def ends(pair: Pair, links: tuple[str, ...]) -> list[tuple[Host, Host]]:
    """Return the hosts at both ends of links."""
    roles = pair.roles()
    letters = {"A": pair.lab.app1, "P": roles.primary, "R": roles.replica}
    return [(letters[link[0]], letters[link[1]]) for link in links]


@pytest.mark.parametrize("case", NO_FAILOVER, ids=lambda case: case.name)
def test_a_cut_that_makes_no_failover(pair: Pair, load: Load, case: Cut) -> None:
    roles, term = pair.roles(), pair.term()
    processes = {host.name: guarded.mysqld_pid(host) for host in pair.lab.servers}
    with guarded.cut(*ends(pair, case.links)):
        began = time.time()
        if case.writes == "stop":
            wait_until(lambda: guarded.switches(roles.primary)[1] == OFFLINE, "it is offline", limit_seconds=15)
            offline = time.time()
        elif case.writes == "alone":
            wait_until(lambda: guarded.switches(roles.primary) == ALONE, "it goes on alone", limit_seconds=20)
            assert pair.in_sync() == ""
        due = began + pair.detection_seconds + PATIENCE_SECONDS
        time.sleep(max(0.0, due - time.time()))  # that nothing happens takes its time
        assert pair.term() == term
        if case.writes == "stop":
            assert load.told(since=offline) == []
        else:
            load.wait_for_ok(roles.primary, time.time(), limit_seconds=15)
        if case.links == ("AP",):
            assert "still hears" in pair.order("status")
            assert "held" in pair.told(pair.lab.app1)
    healed = time.time()
    pair.settle()
    load.wait_for_shop(healed, 30)
    assert pair.term() == term
    assert pair.roles().primary.name == roles.primary.name
    assert {host.name: guarded.mysqld_pid(host) for host in pair.lab.servers} == processes, "no restart"


# the same with the primary's guard stopped: nobody asks for leave to go on alone, so writes wait for the replica
WITHOUT_GUARD = tuple(replace(case, writes="go on" if "PR" not in case.links else "wait") for case in NO_FAILOVER)
# the least telling go to make test-long: what the guard does not do there it does not do with the others either
TELLING = (("PR",), ("AP", "AR", "PR"))


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, marks=() if c.links in TELLING else pytest.mark.long, id=c.name) for c in WITHOUT_GUARD],
)
def test_a_cut_that_makes_no_failover_with_the_guard_stopped(pair: Pair, load: Load, case: Cut) -> None:
    roles, term, before = pair.roles(), pair.term(), guarded.mysqld_pid(pair.roles().primary)
    with guarded.stopped(roles.primary, "mysql-guard"):
        with guarded.cut(*ends(pair, case.links)):
            cut_at = time.time()
            time.sleep(pair.detection_seconds + PATIENCE_SECONDS)  # that nothing happens takes its time
            assert pair.term() == term
            if case.writes == "wait":
                assert load.told(roles.primary, since=cut_at + 0.5) == []
            else:
                load.wait_for_ok(roles.primary, time.time(), limit_seconds=15)
        load.wait_for_ok(roles.primary, time.time(), limit_seconds=30)
    pair.settle()
    assert (pair.term(), pair.roles().primary.name) == (term, roles.primary.name)
    assert guarded.mysqld_pid(roles.primary) == before, "no restart"


def test_the_primary_is_cut_off_from_both_with_its_guard_stopped(pair: Pair, load: Load, times: Times) -> None:
    """Nobody takes it offline, and no fence reaches it: it tells nobody OK all the same."""
    roles, term = pair.roles(), pair.term()
    with guarded.stopped(roles.primary, "mysql-guard"), guarded.cut(*ends(pair, ("AP", "PR"))):
        began = time.time()
        new = times.promotion(pair, load, "the same, its guard stopped", began, term)
        assert new.name == roles.replica.name
        assert guarded.switches(roles.primary)[:2] == (0, 0), "it is as it was"
        assert load.told(roles.primary, since=began + 0.5) == []
    pair.settle(90)
    assert pair.roles().primary.name == new.name


def test_the_primary_is_cut_off_from_both_and_replaced(pair: Pair, load: Load, times: Times) -> None:
    roles, term = pair.roles(), pair.term()
    before = guarded.mysqld_pid(roles.primary)
    with guarded.cut(*ends(pair, ("AP", "PR"))):
        began = time.time()
        wait_until(lambda: guarded.switches(roles.primary)[1] == OFFLINE, "it is offline", limit_seconds=15)
        offline = time.time()
        new = times.promotion(pair, load, "primary cut off from both", began, term)
        assert new.name == roles.replica.name
        assert load.told(roles.primary, since=offline) == []
    pair.settle()
    assert pair.roles().primary.name == new.name
    if not pair.rebuilt or pair.rebuilt[-1] != roles.primary.name:
        assert guarded.mysqld_pid(roles.primary) == before or "step KILL" in guarded.log_of(roles.primary, began)
