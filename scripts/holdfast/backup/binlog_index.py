"""A day's entries of the binlog archive in one object, so that whoever knows nothing yet reads few objects.

`binlogs/<lineage>/<YYYYMMDD>.index`, written once when the day is over, by the day of `archived_at` (UTC). It only
saves reading: every entry is an object of its own too, and what no index names is read there. What its entries make
together is in it as well, so that a status need not read each of them.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Generic, Protocol, TypeVar

from holdfast.backup.archive_pieces import fold, piece_document
from holdfast.backup.binlogs import FOLDER, BinlogEntry
from holdfast.backup.bulk import Bulk, StoredObject
from holdfast.backup.catalog_cache import Cache, Kind
from holdfast.backup.lineage import sequence_of
from holdfast.backup.sealed import seal_compact, unseal_compact
from holdfast.errors import StorageError

SCHEMA_VERSION = 1
ENDING = ".index"
# Another host's lineage is left to that host for so long; then its server is gone, and whoever comes first does it.
OWN_AFTER, OTHERS_AFTER = timedelta(), timedelta(days=1)

log = logging.getLogger(__name__)


class Named(Protocol):
    """What is asked of an index, or of what is kept of one."""

    @property
    def name(self) -> str:
        """The object in the store."""

    @property
    def members(self) -> frozenset[str]:
        """The names of its entries' own objects."""


I = TypeVar("I", bound=Named)  # noqa: E741 - an index


@dataclass(frozen=True)
class Index:
    """The entries of one lineage that were archived on one day (YYYYMMDD, UTC), in the order of their numbers."""

    lineage: str
    day: str
    entries: tuple[BinlogEntry, ...]

    @property
    def name(self) -> str:
        """The object in the store."""
        return name_of_index(self.lineage, self.day)

    @cached_property
    def members(self) -> frozenset[str]:
        """The names of its entries' own objects."""
        return frozenset(entry.entry_name for entry in self.entries)

    def to_json(self) -> bytes:
        """The index as it is stored; of the same entries it is always the same."""
        document = {
            "schema_version": SCHEMA_VERSION,
            "lineage": self.lineage,
            "day": self.day,
            "entries": [entry.document() for entry in self.entries],
            "pieces": [piece_document(piece) for piece in fold(self.entries)],
        }
        return seal_compact(document)

    @staticmethod
    def from_json(data: bytes, name: str) -> Index:
        """Read a stored index. Raises StorageError naming `name` if anything in it is not as it must be."""
        document = unseal_compact(data, name, schema_version=SCHEMA_VERSION)
        try:
            entries = tuple(BinlogEntry.from_document(item) for item in document["entries"])
            index = Index(str(document["lineage"]), str(document["day"]), entries)
            if not entries or any((entry.lineage, day_of(entry)) != (index.lineage, index.day) for entry in entries):
                raise ValueError("it has entries of another day or lineage, or none")
            if document["pieces"] != [piece_document(piece) for piece in fold(entries)]:
                raise ValueError("its entries do not make the pieces that it says")
            if list(entries) != sorted(entries, key=lambda entry: sequence_of(entry.file)):
                raise ValueError("its entries are not in order")
        except (KeyError, TypeError, ValueError) as error:
            raise StorageError(
                f"{name} is not an index of archived binlogs: {error}",
                meaning="It does not count; its entries are read one by one.",
            ) from error
        if index.name != name:
            raise StorageError(
                f"{name} says that it is {index.name}", meaning="It was copied there; it does not count."
            )
        return index


def name_of_index(line: str, day: str) -> str:
    """The object that has a day's entries of a lineage."""
    return f"{FOLDER}/{line}/{day}{ENDING}"


def is_index(name: str) -> bool:
    """Whether an object is one, by its name."""
    return name.startswith(f"{FOLDER}/") and name.endswith(ENDING) and name.count("/") == 2


def is_entry(name: str) -> bool:
    """Whether an object is an entry of the archive, by its name."""
    return name.startswith(f"{FOLDER}/") and name.endswith(".json") and name.count("/") == 2


def day_of(entry: BinlogEntry) -> str:
    """The day to which an entry belongs."""
    return f"{entry.archived_at:%Y%m%d}"


def due(loose: Iterable[BinlogEntry], stored: Collection[str], own: str, now: datetime) -> list[Index]:
    """The indexes to write: of days that are over and have none, from entries that no index has (pure).

    `stored` are the names of all objects, `own` is the lineage of this host's server.
    """
    days: dict[tuple[str, str], list[BinlogEntry]] = {}
    for entry in loose:
        days.setdefault((entry.lineage, day_of(entry)), []).append(entry)
    found = []
    for (line, day), entries in sorted(days.items()):
        over = now - (OWN_AFTER if line == own else OTHERS_AFTER)
        if day < f"{over:%Y%m%d}" and name_of_index(line, day) not in stored:
            found.append(Index(line, day, tuple(sorted(entries, key=lambda entry: sequence_of(entry.file)))))
    return found


@dataclass(frozen=True)
class Entries(Generic[I]):
    """What was read of the archive: the indexes that count, the entries that none of them has, and what is wrong.

    `names` are the objects that this stands upon.
    """

    indexes: Sequence[I]
    loose: Sequence[BinlogEntry]
    names: Sequence[str]
    problems: Sequence[StorageError]


INDEXES = Kind(Index.from_json)
ENTRIES = Kind(BinlogEntry.from_json)


def read_entries(listed: Iterable[StoredObject], cache: Cache, bulk: Bulk | None, kind: Kind[I]) -> Entries[I]:
    """Read indexes, which must be fetched already, then what they lack, in one call (without `bulk` in none).

    Raises as Cache.load does.
    """
    stored = {item.name: item for item in listed}
    indexes, bad = cache.load([item for name, item in stored.items() if is_index(name)], kind)
    usable = [index for index in indexes if all(member in stored for member in index.members)]
    if len(usable) < len(indexes):
        # On its way out, with its entries; or somebody took an entry away, and then that must be seen.
        log.info("%d indexes have entries that are not there: theirs are read one by one", len(indexes) - len(usable))
    members = frozenset().union(*(index.members for index in usable))
    lacking = [item for name, item in sorted(stored.items()) if is_entry(name) and name not in members]
    if bulk is not None:
        cache.fetch(bulk, lacking)
    loose, unreadable = cache.load(lacking, ENTRIES)
    names = [*(index.name for index in usable), *(item.name for item in lacking)]
    return Entries(usable, loose, names, [*bad, *unreadable])


def all_entries(found: Entries[Index]) -> list[BinlogEntry]:
    """Every archived binlog by lineage and number."""
    entries = [*found.loose, *(entry for index in found.indexes for entry in index.entries)]
    return sorted(entries, key=lambda entry: (entry.lineage, sequence_of(entry.file)))
