from __future__ import annotations

import signal

import pytest

from holdfast.stages import Outcome, complaint_of_exit_status, first_to_break

PIPE = -signal.SIGPIPE


def outcome(name: str, status: int, ended_at: float, tail: str = "") -> Outcome:
    return Outcome(name, status, ended_at, complaint_of_exit_status(status, tail), tail)


@pytest.mark.parametrize(
    ("status", "complaint"),
    [(0, None), (3, "exited with status 3"), (-9, "was killed by SIGKILL"), (-64, "was killed by SIGRTMAX")],
)
def test_complaints(status: int, complaint: str | None) -> None:
    assert complaint_of_exit_status(status, "") == complaint


@pytest.mark.parametrize(
    ("outcomes", "blamed"),
    [
        ([outcome("engine", 0, 1), outcome("lz4", 0, 2)], None),
        # the engine died; its reader saw a cut stream
        ([outcome("engine", 1, 1), outcome("lz4", 1, 2)], "engine"),
        # the reader died; the engine got SIGPIPE, by number, as a shell tells it, or in words
        ([outcome("engine", PIPE, 2), outcome("lz4", 1, 1)], "lz4"),
        ([outcome("engine", 141, 2), outcome("lz4", 1, 1)], "lz4"),
        ([outcome("engine", 1, 2, "write: Broken pipe"), outcome("lz4", -9, 1)], "lz4"),
        ([outcome("engine", 1, 2, "Error writing file (OS errno 32 - Broken pipe)"), outcome("lz4", -9, 1)], "lz4"),
        # noticed in the wrong order, within a moment
        ([outcome("engine", PIPE, 1.00), outcome("lz4", 1, 1.01)], "lz4"),
        ([outcome("engine", 1, 1.01), outcome("lz4", 1, 1.00)], "engine"),
        # a broken pipe of its own, to the network, long before the reader complained of a cut stream
        ([outcome("fetch", 1, 1, "read tcp: broken pipe"), outcome("lz4", 1, 2)], "fetch"),
        # everybody downstream went well: whoever broke is to blame
        ([outcome("engine", PIPE, 1), outcome("lz4", 0, 2)], "engine"),
        ([outcome("a", PIPE, 3), outcome("b", PIPE, 2), outcome("c", 2, 1)], "c"),
        ([outcome("a", PIPE, 3), outcome("b", PIPE, 2)], "b"),
    ],
)
def test_the_first_to_break_is_blamed(outcomes: list[Outcome], blamed: str | None) -> None:
    found = first_to_break(outcomes)
    assert (found.name if found else None) == blamed
