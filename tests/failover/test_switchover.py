"""By order, primary and replica change places under load: nothing fails but one connection, and nothing is lost."""

from __future__ import annotations

import time

import pytest

from support.failover_load import Load, longest_pause
from support.failover_pair import Pair
from support.failover_times import Times


@pytest.mark.parametrize("way", ["there", "and back"])
def test_a_switchover_under_load(pair: Pair, load: Load, times: Times, way: str) -> None:
    roles, term = pair.roles(), pair.term()
    errors, began = len(load.shop.ledger().errors), time.time()
    pair.switch_over()
    new = pair.wait_for_promotion(term, 5)
    assert new.name == roles.replica.name
    assert pair.term() == term + 1
    first = load.wait_for_ok(new, began)
    proxied = load.wait_for_shop(first)
    failed = load.shop.ledger().errors[errors:]
    assert len(failed) <= len(load.shop.tables), f"a client had to connect more than once: {failed}"
    stall = longest_pause(load.shop_moments(), began - 1)
    assert stall < 10
    how = f"the application stalled for {stall:.1f} s"
    times.add(f"switchover {way}", how, first=first - began, proxied=proxied - began)
