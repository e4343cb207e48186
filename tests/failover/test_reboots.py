"""Power cuts: both servers, and all hosts at once. All comes up by itself, with the primary that the record names."""

from __future__ import annotations

import time

import pytest

from support.failover_faults import power_off, power_on
from support.failover_load import Load
from support.failover_pair import Pair
from support.failover_times import Times
from support.hosts import wait_until


@pytest.mark.parametrize("what", ["both servers", "all hosts"])
def test_power_is_gone_and_comes_back(pair: Pair, load: Load, times: Times, what: str) -> None:
    roles, term = pair.roles(), pair.term()
    those = [roles.primary, roles.replica] + ([pair.lab.app1] if what == "all hosts" else [])
    known = load.told()
    power_off(*those)
    began = time.time()
    power_on(*those)
    load.resume()
    if what == "all hosts":
        load.shop.start()
    wait_until(lambda: pair.open_primary() is not None, "the primary is open", limit_seconds=60)
    assert pair.term() == term
    assert pair.roles().primary.name == roles.primary.name
    first, proxied = load.wait_for_ok(roles.primary, began), load.wait_for_shop(began)
    assert {each.row for each in known} <= {each.row for each in load.told()}
    times.add(f"power of {what}", "opened again", first=first - began, proxied=proxied - began)
    pair.settle(90)
