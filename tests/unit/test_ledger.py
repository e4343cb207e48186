"""The judge of every restore must itself be right: what it calls exact, missing, altered and unexpected."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support import ledger  # noqa: E402


def lines(*events: tuple[str, int, str, float]) -> list[str]:
    """Return ledger lines for (event, row, digest, at)."""
    return [json.dumps({"event": e, "table": "t", "row": r, "digest": d, "at": at}) for e, r, d, at in events]


HISTORY = lines(
    ("try", 1, "a", 1.0), ("ack", 1, "a", 1.1),
    ("try", 2, "b", 2.0), ("ack", 2, "b", 2.1),
    ("try", 1, "c", 3.0), ("ack", 1, "c", 3.1),
    ("try", 3, "d", 4.0),
)  # fmt: skip


@pytest.mark.parametrize(
    ("found", "surely_by", "not_after", "verdict"),
    [
        ({1: "c", 2: "b"}, ledger.ALWAYS, ledger.ALWAYS, ((), (), ())),
        ({1: "c", 2: "b", 3: "d"}, ledger.ALWAYS, ledger.ALWAYS, ((), (), ())),  # in flight: may be there
        ({1: "a", 2: "b"}, ledger.ALWAYS, ledger.ALWAYS, ((), (1,), ())),  # an older version is a lost write
        ({1: "c"}, ledger.ALWAYS, ledger.ALWAYS, ((2,), (), ())),
        ({1: "c", 2: "b", 9: "x"}, ledger.ALWAYS, ledger.ALWAYS, ((), (), (9,))),
        ({1: "a", 2: "b"}, 2.5, 2.5, ((), (), ())),
        ({1: "c", 2: "b"}, 2.5, 2.5, ((), (1,), ())),  # sent after the cut: must not be there
        ({1: "c", 2: "b"}, 3.05, 3.05, ((), (), ())),  # in flight at the cut: either
        ({1: "a", 2: "b"}, 3.05, 3.05, ((), (), ())),
        ({1: "a", 2: "b", 3: "d"}, 2.5, 3.5, ((), (), (3,))),
        ({1: "a"}, 1.5, 2.05, ((), (), ())),
        ({}, 0.5, 0.5, ((), (), ())),
    ],
)
def test_compare(found: dict[int, str], surely_by: float, not_after: float, verdict: tuple[object, ...]) -> None:
    """Each way in which a table can agree or disagree with the ledger."""
    result = ledger.compare(ledger.parse(HISTORY), "t", found, surely_by=surely_by, not_after=not_after)
    assert (result.missing, result.altered, result.unexpected) == verdict
    assert result.exact == (verdict == ((), (), ()))


def test_a_last_line_that_was_cut_short_is_left_out() -> None:
    """A crash can cut the line in hand; the ledger before it stands."""
    assert ledger.parse([*HISTORY, '{"event": "ac']).acknowledged("t") == 3


def test_a_broken_line_in_the_middle_is_an_error() -> None:
    """A ledger with a hole proves nothing."""
    with pytest.raises(ValueError, match="line 1"):
        ledger.parse(['{"event', *HISTORY])
