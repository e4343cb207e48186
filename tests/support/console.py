"""What the demo prints: a line a step while it runs, a table at the end. Reads the same in a terminal and in a file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Step:
    """One step that was done: its name, seconds, and what there is to tell about it."""

    name: str
    seconds: float = 0.0
    note: str = ""


class Steps:
    """The steps of a run, printed as they happen."""

    def __init__(self) -> None:
        """Start the clock."""
        self.done: list[Step] = []
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._started

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Print a step's name, then its seconds and note when it is over."""
        step, began = Step(name), time.monotonic()
        sys.stdout.write(f"[{self.seconds:5.0f} s] {name:<58} ")
        sys.stdout.flush()
        try:
            yield step
        except BaseException:
            sys.stdout.write(f"FAILED after {time.monotonic() - began:.1f} s\n")
            sys.stdout.flush()
            raise
        step.seconds = time.monotonic() - began
        sys.stdout.write(f"{step.seconds:6.1f} s  {step.note}\n")
        sys.stdout.flush()
        self.done.append(step)


def human_bytes(count: float) -> str:
    """Return a size as people read it: 1536 is '1.5 KiB'."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a plain table; columns of numbers are set to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(line[index]) for line in [list(headings), *cells]) for index in range(len(headings))]
    right = [all(row[index][:1].isdigit() for row in cells if row[index]) for index in range(len(headings))]

    def line(parts: Sequence[str]) -> str:
        aligned = (
            part.rjust(width) if at_right else part.ljust(width)
            for part, width, at_right in zip(parts, widths, right, strict=True)
        )
        return "  ".join(aligned).rstrip()

    ruler = "  ".join("-" * width for width in widths)
    return "\n".join([line(headings), ruler, *(line(row) for row in cells)])
