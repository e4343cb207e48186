"""Stages of a pipeline, and who is to blame when it breaks (pure)."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Complaint = Callable[[int, str], "str | None"]

_BROKEN_PIPE = re.compile(r"broken pipe|\bEPIPE\b|errno:? 32\b|error code:? 32\b", re.IGNORECASE)
# Ends are noticed by one thread per process; closer together than this their order says nothing.
_SAME_MOMENT_SECONDS = 0.05


def complaint_of_exit_status(exit_status: int, stderr_tail: str) -> str | None:
    """What is wrong with a stage, or None: any exit status but 0."""
    del stderr_tail
    if exit_status < 0:
        return f"was killed by {_signal_name(-exit_status)}"
    return f"exited with status {exit_status}" if exit_status else None


@dataclass(frozen=True)
class Stage:
    """One process of a pipeline. `complaint` judges exit status and standard error; `user` is who it runs as."""

    name: str
    argv: tuple[str, ...]
    complaint: Complaint = complaint_of_exit_status
    environment: Mapping[str, str] | None = None
    user: str | None = None


@dataclass(frozen=True)
class Outcome:
    """How a stage ended; `ended_at` is on the monotonic clock, `complaint` is None when it did well."""

    name: str
    exit_status: int
    ended_at: float
    complaint: str | None
    stderr_tail: str


def first_to_break(outcomes: Sequence[Outcome]) -> Outcome | None:
    """The stage to blame, of outcomes in the order of the stream; None when all did well.

    A stage that wrote into a broken pipe after one further down the stream broke suffers from that one. Of the
    others the first to end is the cause, and at the same moment the one further up: its reader saw a cut stream.
    """
    broken = [outcome for outcome in outcomes if outcome.complaint is not None]
    causes = [outcome for place, outcome in enumerate(broken) if not _suffers(outcome, broken[place + 1 :])]
    if not causes:
        return None
    first = min(outcome.ended_at for outcome in causes)
    return next(outcome for outcome in causes if outcome.ended_at <= first + _SAME_MOMENT_SECONDS)


def _suffers(outcome: Outcome, downstream: Sequence[Outcome]) -> bool:
    wrote_into_nothing = (
        outcome.exit_status in (-signal.SIGPIPE, 128 + signal.SIGPIPE)
        or _BROKEN_PIPE.search(outcome.stderr_tail) is not None
    )
    return wrote_into_nothing and any(other.ended_at <= outcome.ended_at + _SAME_MOMENT_SECONDS for other in downstream)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
