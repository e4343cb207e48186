from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from holdfast.failover.timers import Backoff, Clocks, Marker, Progress, Stalled
from support.guards import B1, B2

P1, P2, P3 = Progress(1, "f:1"), Progress(2, "f:1"), Progress(1, "f:2")
TIMING = cast(
    Any,
    SimpleNamespace(no_progress_seconds=10, marker_seconds=2, isolation_seconds=5, sql_silent_seconds=10),
)


@pytest.mark.parametrize(
    ("looks", "over"),
    [
        ([(0, P1, 1, 1), (9.9, P1, 1, 1)], False),
        ([(0, P1, 1, 1), (10, P1, 1, 1)], True),
        ([(0, P1, 0, 0), (10, P1, 0, 0)], True),  # nobody writes, and no replica is there
        ([(0, P1, 0, 1), (99, P1, 0, 1)], False),  # nobody writes
        ([(0, P1, 1, 1), (9, P2, 1, 1), (18, P2, 1, 1)], False),  # an ACK came
        ([(0, P1, 1, 1), (9, P3, 1, 1), (18, P3, 1, 1)], False),  # a large transaction is on its way
        ([(0, P1, 1, 1), (5, P1, 0, 1), (14, P1, 1, 1)], False),  # in between nothing waited
        ([(0, P1, 1, 1), (9, P2, 1, 1), (19, P2, 1, 1)], True),
        ([(0, P1, 1, 0), (5, P1, 0, 0), (10, P1, 1, 0)], True),  # no replica all the time
    ],
)
def test_no_progress(looks: list[tuple[float, Progress, int, int]], over: bool) -> None:
    stalled = Stalled(10)
    assert [stalled.look(at, moved, waiting=w, replicas=r) for at, moved, w, r in looks][-1] is over


def test_a_server_that_was_closed_begins_anew() -> None:
    stalled = Stalled(10)
    stalled.look(0, P1, waiting=1, replicas=1)
    stalled.reset()
    assert not stalled.look(50, P1, waiting=1, replicas=1)


def test_a_marker_counts_only_commits_that_began_after_it() -> None:
    marker = Marker(2)
    assert marker.want(10, B1)
    marker.look(9.9, "before")
    marker.look(10, "at once")
    assert marker.executed is None
    marker.look(10.1, "after")
    assert marker.executed == "after"
    marker.look(11, "later")
    assert marker.executed == "after"


def test_a_marker_belongs_to_one_instance_of_the_replica() -> None:
    marker = Marker(2)
    marker.want(10, B1)
    marker.look(11, "x")
    assert not marker.want(11, B1)
    assert marker.want(12, B2)
    assert marker.executed is None
    assert not marker.overdue(13.9)
    assert marker.overdue(14)
    marker.drop()
    assert not marker.overdue(99)
    assert marker.want(20, B2)


@pytest.mark.parametrize(
    ("heard", "answered", "runs", "grey", "over"),
    [
        (98, 99.0, True, False, set()),
        (95, 99.0, True, False, {"isolated"}),
        (99, 90.0, True, False, {"sql_silent"}),
        (99, 90.0, False, False, set()),
        (99, None, True, False, set()),  # never answered: perhaps it is starting
        (99, 99.0, True, True, {"sql_silent"}),
    ],
)
def test_times_that_are_over(heard: float, answered: float | None, runs: bool, grey: bool, over: set[str]) -> None:
    clocks = Clocks(TIMING, 0)
    clocks.heard(heard)
    clocks.heard(heard - 50)
    clocks.answered = answered
    timers = clocks.timers(100, no_progress=False, observed_runs=runs, grey=grey)
    assert {name for name in timers.__slots__ if getattr(timers, name)} == over


def test_what_is_done_in_vain_is_done_less_often() -> None:
    backoff = Backoff()
    tried = [now for now in range(0, 400) if backoff.allows(float(now), "start")]
    assert tried[:6] == [0, 1, 3, 7, 15, 31]
    assert max(later - earlier for earlier, later in zip(tried, tried[1:], strict=False)) == 60
    assert backoff.allows(0, "attach")
    assert backoff.allows(1000, "start")
    assert backoff.allows(1001, "start")
