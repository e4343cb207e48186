"""Entries of the binlog archive that follow each other without a gap, as one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from holdfast.backup.binlogs import BinlogEntry
from holdfast.backup.lineage import sequence_of
from holdfast.gtid import GtidSet

_TIME = "%Y-%m-%dT%H:%M:%S.%f"


@dataclass(frozen=True)
class Piece:
    """Files of one server in a row: what came before the first, what is in all, until when; sizes in bytes."""

    lineage: str
    host: str
    files: int
    stored_bytes: int
    previous_gtids: GtidSet
    gtids: GtidSet
    first_time: datetime | None
    last_time: datetime | None
    archived_at: datetime


def fold(entries: Iterable[BinlogEntry]) -> list[Piece]:
    """The pieces of one lineage's entries, given in the order of their numbers."""
    rows: list[list[BinlogEntry]] = []
    reached, number = GtidSet(), -1
    for entry in entries:
        following = sequence_of(entry.file)
        if rows and following == number + 1 and entry.previous_gtids == reached:
            rows[-1].append(entry)
            reached = reached | entry.gtids
        else:
            rows.append([entry])
            reached = entry.previous_gtids | entry.gtids
        number = following
    return [_joined(row) for row in rows]


def numbers_in(text: str) -> list[int]:
    """The inverse of numbers_text."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def numbers_text(numbers: Sequence[int]) -> str:
    """Rising numbers as 1-24,26."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(f"{first}-{last}" if last > first else str(first) for first, last in parts)


def piece_document(piece: Piece) -> dict[str, Any]:
    """The piece for JSON."""
    return {
        **piece.__dict__,
        "previous_gtids": str(piece.previous_gtids),
        "gtids": str(piece.gtids),
        "first_time": _time_text(piece.first_time),
        "last_time": _time_text(piece.last_time),
        "archived_at": _time_text(piece.archived_at),
    }


def piece_of(document: dict[str, Any]) -> Piece:
    """The inverse of piece_document. Raises KeyError, TypeError or ValueError."""
    archived_at = _time(document["archived_at"])
    if archived_at is None:
        raise ValueError("archived_at is missing")
    return Piece(
        lineage=document["lineage"],
        host=document["host"],
        files=document["files"],
        stored_bytes=document["stored_bytes"],
        previous_gtids=GtidSet.parse(document["previous_gtids"]),
        gtids=GtidSet.parse(document["gtids"]),
        first_time=_time(document["first_time"]),
        last_time=_time(document["last_time"]),
        archived_at=archived_at,
    )


def _joined(row: Sequence[BinlogEntry]) -> Piece:
    return Piece(
        lineage=row[0].lineage,
        host=row[-1].host,
        files=len(row),
        stored_bytes=sum(entry.stored_size for entry in row),
        previous_gtids=row[0].previous_gtids,
        gtids=GtidSet.union_of(entry.gtids for entry in row),
        first_time=next((entry.first_time for entry in row if entry.first_time), None),
        last_time=next((entry.last_time for entry in reversed(row) if entry.last_time), None),
        archived_at=max(entry.archived_at for entry in row),
    )


def _time_text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).strftime(_TIME)


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC)
