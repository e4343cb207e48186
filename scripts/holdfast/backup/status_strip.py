"""The last days as a strip: which moments can be restored, and which cannot. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from holdfast.backup.status import Status, restorable_until

STRIP_DAYS = 30
Kind = Literal["good", "hole", "none", "later"]


@dataclass(frozen=True)
class Stretch:
    """From `start` to `end`: restorable, a hole, before the first backup, or not archived yet."""

    start: datetime
    end: datetime
    kind: Kind


def stretches(status: Status, days: int = STRIP_DAYS) -> list[Stretch]:
    """The last days in their order, without a gap. Of two that overlap the hole counts."""
    begin, now = status.now - timedelta(days=days), status.now
    windows = status.covered.windows
    until = restorable_until(status)
    good = [(window.start, window.end) for window in windows]
    # Between two windows without a hole nothing was written: what was there before is there after.
    holes = [(hole.start, hole.end) for hole in status.covered.holes]
    first = windows[0].start if windows else now
    cuts = sorted({begin, now, *_inside(begin, now, [first, *([until] if until else [])], good, holes)})
    made: list[Stretch] = []
    for start, end in zip(cuts, cuts[1:], strict=False):
        middle = start + (end - start) / 2
        kind: Kind = "good"
        if any(left <= middle < right for left, right in holes):
            kind = "hole"
        elif not windows or middle < first:
            kind = "none"
        elif until is not None and middle >= until:
            kind = "later"
        if made and made[-1].kind == kind:
            made[-1] = Stretch(made[-1].start, end, kind)
        else:
            made.append(Stretch(start, end, kind))
    return made


def strip(status: Status, width: int, days: int = STRIP_DAYS) -> str:
    """The same in `width` characters: = restorable, ! a hole, - not archived yet, . nothing. A hole is never hidden."""
    begin = status.now - timedelta(days=days)
    slot = timedelta(days=days) / width
    found = stretches(status, days)
    marks = []
    for number in range(width):
        start, end = begin + number * slot, begin + (number + 1) * slot
        shares = {
            kind: sum(
                ((min(end, each.end) - max(start, each.start)).total_seconds() for each in found
                 if each.kind == kind and each.start < end and each.end > start),
            )
            for kind in ("good", "hole", "none", "later")
        }  # fmt: skip
        if shares["hole"] > 0:
            marks.append("!")
        else:
            largest = max(shares, key=lambda kind: shares[kind])
            marks.append({"good": "=", "none": ".", "later": "-"}.get(largest, "!"))
    return "".join(marks)


def _inside(
    begin: datetime,
    now: datetime,
    moments: Sequence[datetime],
    *ranges: Sequence[tuple[datetime, datetime]],
) -> list[datetime]:
    everything = [*moments, *(edge for spans in ranges for span in spans for edge in span)]
    return [moment for moment in everything if begin < moment < now]
