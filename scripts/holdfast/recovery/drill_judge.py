"""Whether what a drill restored is what was backed up, and what it says of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holdfast.backup.binlogs import BinlogEntry
from holdfast.backup.manifest import TableFingerprint
from holdfast.gtid import GtidSet
from holdfast.recovery.estimate import duration, human_bytes

NAMED = 5


@dataclass(frozen=True)
class Seen:
    """What a drill found. `differences` and `damaged` are tables; `rpo_seconds` is the age of the newest data."""

    compared: int
    tables: int
    differences: tuple[str, ...]
    damaged: tuple[str, ...]
    replayed: int
    rpo_seconds: float


def split(binlogs: Sequence[BinlogEntry], have: GtidSet, wanted: GtidSet) -> int:
    """How many of a plan's binlogs lead to `wanted`; all of them where that is not reached."""
    for number, entry in enumerate(binlogs):
        if wanted <= have:
            return number
        have = have | entry.gtids
    return len(binlogs)


def differences(expected: Mapping[str, TableFingerprint], found: Mapping[str, TableFingerprint | None]) -> list[str]:
    """What differs, by table: missing, another definition, other rows. A table without a checksum is not counted."""
    said = []
    for name, table in sorted(expected.items()):
        there = found.get(name)
        if there is None:
            said.append(f"{name} is missing")
        elif there.definition_sha256 != table.definition_sha256:
            said.append(f"{name} has another definition")
        elif table.checksum is not None and (there.rows, there.checksum) != (table.rows, table.checksum):
            said.append(f"{name} has {there.rows} rows and another content, not the {table.rows} of the backup")
    return said


def problem(seen: Seen) -> str:
    """Why the drill did not pass; empty when it did."""
    parts = []
    if seen.differences:
        parts.append(f"{len(seen.differences)} tables differ: {_some(seen.differences)}")
    if seen.damaged:
        parts.append(f"CHECK TABLE: {_some(seen.damaged)}")
    return ". ".join(parts)


def line(backup_id: str, seen: Seen, measured: Mapping[str, float]) -> str:
    """What people are told of a drill that passed."""
    return (
        f"{backup_id} restores: {seen.compared} of {seen.tables} tables equal by content, all of them checked,"
        f" {seen.replayed} transactions replayed. {human_bytes(measured['data_bytes'])} in"
        f" {duration(measured['seconds'])}; the newest data is {duration(seen.rpo_seconds)} old."
    )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
