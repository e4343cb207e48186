"""What a host remembers of a day's index: which entries it has, and what those say together."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from functools import cached_property

from holdfast.backup.archive_pieces import Piece, numbers_in, numbers_text, piece_document, piece_of
from holdfast.backup.binlog_index import SCHEMA_VERSION, name_of_index
from holdfast.backup.binlogs import name_of_entry
from holdfast.backup.catalog_cache import Kind
from holdfast.backup.lineage import sequence_of
from holdfast.backup.sealed import unseal_compact
from holdfast.errors import StorageError


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


def day_of_index(data: bytes, name: str) -> Day:
    """What is remembered of an index. Raises StorageError naming `name` as Index.from_json does.

    The seal says that it is as it was written; what its entries make is in it, so none of them is read.
    """
    document = unseal_compact(data, name, schema_version=SCHEMA_VERSION)
    try:
        line, day = str(document["lineage"]), str(document["day"])
        date = f"{day[:4]}-{day[4:6]}-{day[6:]}T"
        entries = document["entries"]
        if any(entry["lineage"] != line or not entry["archived_at"].startswith(date) for entry in entries):
            raise ValueError("it has entries of another day or lineage")
        base, _, digits = str(entries[0]["file"]).rpartition(".")
        numbers = numbers_text([sequence_of(entry["file"]) for entry in entries])
        pieces = tuple(piece_of(piece) for piece in document["pieces"])
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise StorageError(
            f"{name} is not an index of archived binlogs: {error}",
            meaning="It does not count; its entries are read one by one.",
        ) from error
    found = Day(line, day, base, len(digits), numbers, pieces)
    if found.name != name:
        raise StorageError(f"{name} says that it is {found.name}", meaning="It was copied there; it does not count.")
    return found


DAYS = Kind(day_of_index, Day.to_text, Day.from_text)
