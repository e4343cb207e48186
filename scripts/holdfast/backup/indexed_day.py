"""What a host remembers of a day's index: which entries it has, and what those say together."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from functools import cached_property

from holdfast.backup.archive_pieces import Piece, fold, numbers_in, numbers_text, piece_document, piece_of
from holdfast.backup.binlog_index import Index, name_of_index
from holdfast.backup.binlogs import name_of_entry
from holdfast.backup.catalog_cache import Kind
from holdfast.backup.lineage import sequence_of


@dataclass(frozen=True)
class Day:
    """An index without its entries: their numbers as `1-24,26`, the name that they share, and the pieces they make."""

    lineage: str
    day: str
    base: str
    digits: int
    numbers: str
    pieces: tuple[Piece, ...]

    @property
    def name(self) -> str:
        """The index in the store."""
        return name_of_index(self.lineage, self.day)

    @cached_property
    def members(self) -> frozenset[str]:
        """The names of its entries' own objects."""
        files = (f"{self.base}.{number:0{self.digits}d}" for number in numbers_in(self.numbers))
        return frozenset(name_of_entry(self.lineage, file) for file in files)

    def to_text(self) -> str:
        """The day as it is remembered."""
        document = {field.name: getattr(self, field.name) for field in fields(self)}
        return json.dumps({**document, "pieces": [piece_document(piece) for piece in self.pieces]})

    @staticmethod
    def from_text(text: str) -> Day:
        """The inverse. Raises KeyError, TypeError or ValueError."""
        document = json.loads(text)
        pieces = tuple(piece_of(piece) for piece in document.pop("pieces"))
        return Day(pieces=pieces, **document)


def day_of_index(index: Index) -> Day:
    """What is remembered of an index (pure)."""
    base, _, digits = index.entries[0].file.rpartition(".")
    numbers = numbers_text([sequence_of(entry.file) for entry in index.entries])
    return Day(index.lineage, index.day, base, len(digits), numbers, tuple(fold(index.entries)))


def _read(data: bytes, name: str) -> Day:
    return day_of_index(Index.from_json(data, name))


DAYS = Kind(_read, Day.to_text, Day.from_text)
