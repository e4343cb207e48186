"""A primary that froze with commits in flight, was replaced, and thaws: it tells nobody OK for what nobody else has."""

from __future__ import annotations

import time

from support.failover_faults import frozen
from support.failover_load import Load
from support.failover_pair import Pair
from support.failover_times import Times
from support.hosts import wait_until


def test_a_frozen_host_is_replaced_and_thaws(pair: Pair, load: Load, times: Times) -> None:
    """The witness on the frozen host is the direct client; the application's writer is the one through the proxy."""
    roles, term = pair.roles(), pair.term()
    with frozen(roles.primary):
        began = time.time()
        new = times.promotion(pair, load, "host frozen", began, term)
        assert new.name == roles.replica.name
        thawed = time.time()
    wait_until(
        lambda: any(answer.answered > thawed for answer in load.witnesses[roles.primary.name].answers()),
        "the client of the thawed server got its answer", limit_seconds=40,
    )  # fmt: skip
    late = [each for each in load.told(roles.primary) if each.at > began + 0.5 and each.sent < thawed]
    assert late == [], "a commit of before the thaw was acknowledged though another server is the primary"
    pair.settle(90)
    assert pair.roles().primary.name == new.name
