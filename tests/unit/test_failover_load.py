"""What the failover suite concludes from what clients were told."""

from __future__ import annotations

from support.failover_load import Told, longest_pause, overlaps, turns


def told(*moments: tuple[str, float]) -> list[Told]:
    return [Told(host, number, at - 0.01, at) for number, (host, at) in enumerate(moments)]


def test_two_servers_in_one_sample_are_found() -> None:
    assert overlaps(told(("db1", 10.01), ("db2", 10.09))) == ["db1, db2 within the 0.1 s from 10.0 on"]
    assert overlaps(told(("db1", 10.01), ("db1", 10.09), ("db2", 10.11))) == []


def test_turns_are_counted_in_the_order_of_time() -> None:
    assert turns(told(("db2", 12.0), ("db1", 10.0), ("db1", 11.0), ("db2", 13.0))) == 1
    assert turns(told(("db1", 10.0), ("db2", 11.0), ("db1", 12.0))) == 2
    assert turns([]) == 0


def test_the_longest_pause_is_between_neighbours() -> None:
    assert longest_pause([3.0, 1.0, 1.5, 5.5]) == 2.5
    assert longest_pause([3.0, 1.0, 1.5, 3.5], since=1.5) == 1.5
    assert longest_pause([1.0]) == 0.0
