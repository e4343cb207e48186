"""The ledger: what the writer was told is safe. A restore is right when it agrees with the ledger, row by row.

The writer puts a line in its ledger before it sends a row (`try`) and, flushed to disk, after the server acknowledged
it (`ack`). A table's rows are sent one after another, so at most one of each table is in flight. This module reads such
a file and judges what a server holds. Pure: nothing here touches a host.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

ALWAYS = math.inf


@dataclass(frozen=True)
class Put:
    """One write of one row: when it was sent and acknowledged (Unix seconds; None: never), digest of the content."""

    row: int
    digest: str
    tried_at: float
    acknowledged_at: float | None


@dataclass
class Ledger:
    """Every write of every table, in the order in which they were sent."""

    puts: dict[str, list[Put]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def acknowledged(self, table: str, until: float = ALWAYS) -> int:
        """Return how many writes of a table were acknowledged by a moment."""
        return sum(put.acknowledged_at is not None and put.acknowledged_at <= until for put in self.puts.get(table, []))


@dataclass(frozen=True)
class Comparison:
    """What a server holds against what it must hold. Lists of row numbers."""

    table: str
    expected: int
    found: int
    missing: tuple[int, ...]
    altered: tuple[int, ...]
    unexpected: tuple[int, ...]

    @property
    def exact(self) -> bool:
        """Tell whether every acknowledged row is there with its content, and none that nobody wrote by then."""
        return not (self.missing or self.altered or self.unexpected)

    def __str__(self) -> str:
        """Return one line for a person."""
        if self.exact:
            return f"{self.table}: {self.expected} rows expected, {self.found} found, all exact"
        parts = [
            f"{len(rows)} {name} (first: {rows[0]})"
            for name, rows in (("missing", self.missing), ("altered", self.altered), ("unexpected", self.unexpected))
            if rows
        ]
        return f"{self.table}: {self.expected} rows expected, {self.found} found; " + ", ".join(parts)


def parse(lines: Iterable[str]) -> Ledger:
    """Read a ledger. A last line that was cut short is left out: it was never flushed. Raises ValueError otherwise."""
    ledger = Ledger()
    numbered = [line for line in lines if line.strip()]
    places: dict[tuple[str, int, str], int] = {}
    for number, line in enumerate(numbered):
        try:
            entry = json.loads(line)
        except ValueError:
            if number == len(numbered) - 1:
                break
            raise ValueError(f"ledger line {number + 1} is no JSON: {line[:80]!r}") from None
        table = entry.get("table", "")
        if entry["event"] == "try":
            puts = ledger.puts.setdefault(table, [])
            places[table, entry["row"], entry["digest"]] = len(puts)
            puts.append(Put(entry["row"], entry["digest"], entry["at"], None))
        elif entry["event"] == "ack":
            place = places[table, entry["row"], entry["digest"]]
            tried = ledger.puts[table][place]
            ledger.puts[table][place] = Put(tried.row, tried.digest, tried.tried_at, entry["at"])
        else:
            ledger.errors.append(f"{entry['event']} {table}: {entry.get('text', '')}".strip())
    return ledger


def compare(
    ledger: Ledger, table: str, found: Mapping[int, str], *, surely_by: float = ALWAYS, not_after: float = ALWAYS
) -> Comparison:
    """Judge a table's rows (number to digest) that should be the state of a moment between two instants.

    `surely_by`: a write acknowledged by then must be there (unless a later write of the same row may have replaced it).
    `not_after`: a write that was sent later must not be there. With one instant for both the cut is as sharp as can be
    known from outside: only what was in flight at that instant may be there or not.
    """
    required: dict[int, str] = {}
    allowed: dict[int, set[str]] = {}
    for put in ledger.puts.get(table, []):
        if put.acknowledged_at is not None and put.acknowledged_at <= surely_by:
            required[put.row] = put.digest
            allowed[put.row] = {put.digest}
        elif put.tried_at <= not_after:
            allowed.setdefault(put.row, set()).add(put.digest)
    missing = tuple(row for row in required if row not in found)
    altered = tuple(row for row, digest in found.items() if row in allowed and digest not in allowed[row])
    unexpected = tuple(row for row in found if row not in allowed)
    return Comparison(table, len(required), len(found), missing, altered, unexpected)
