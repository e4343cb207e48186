"""How long nobody took writes, from samples."""

from __future__ import annotations

import pytest
from pytest_httpserver import HTTPServer

from holdfast.failover.stall import Sample, is_primary, stall_of, watch


def samples(text: str) -> list[Sample]:
    """A sample each tenth of a second: A, B, both (2) or nobody (.)."""
    named = {"A": ("a",), "B": ("b",), "2": ("a", "b"), ".": ()}
    return [Sample(number / 10, named[letter]) for number, letter in enumerate(text)]


@pytest.mark.parametrize(
    ("text", "longest", "total", "two", "first", "last"),
    [
        ("AAAA", 0.0, 0.0, 0, "a", "a"),
        ("AAAABBB", 0.0, 0.0, 0, "a", "b"),
        ("AA...BB", 0.4, 0.4, 0, "a", "b"),
        ("AA.A..B", 0.3, 0.5, 0, "a", "b"),
        ("AA22BB", 0.0, 0.0, 2, "a", "b"),
        ("AA...", 0.3, 0.3, 0, "a", "a"),
        ("....", 0.3, 0.3, 0, "", ""),
        ("", 0.0, 0.0, 0, "", ""),
    ],
)
def test_a_gap_counts_between_the_answers_around_it(
    text: str, longest: float, total: float, two: int, first: str, last: str
) -> None:
    found = stall_of(samples(text))
    assert (round(found.longest_seconds, 6), round(found.total_seconds, 6)) == (longest, total)
    assert (found.two_primaries, found.first, found.last) == (two, first, last)


def test_servers_are_asked_by_their_health_answers(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/primary").respond_with_data("", status=200)
    assert is_primary("127.0.0.1", httpserver.port)
    assert not is_primary("127.0.0.1", 1)
    turns = iter([True] * 10 + [False])
    found = watch([("a", "127.0.0.1", httpserver.port), ("b", "127.0.0.1", 1)], lambda: next(turns))
    assert found and {name for sample in found for name in sample.primaries} == {"a"}
