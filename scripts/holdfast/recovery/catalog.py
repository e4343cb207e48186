"""Everything that the store knows and a plan needs."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.backup.binlogs import BinlogEntry, load_entries
from holdfast.backup.manifest import Manifest, load_manifests
from holdfast.backup.store import Store
from holdfast.recovery.lines import Line, load_lines


@dataclass(frozen=True)
class Catalog:
    """Manifests, binlog entries and lines that verified, and what is wrong with those that did not."""

    manifests: tuple[Manifest, ...]
    entries: tuple[BinlogEntry, ...]
    lines: tuple[Line, ...]
    problems: tuple[str, ...]


def load_catalog(store: Store) -> Catalog:
    """Read it all. Raises StorageError when the store fails or a line cannot be read."""
    manifests, bad_manifests = load_manifests(store)
    entries, bad_entries = load_entries(store)
    problems = tuple(error.what for error in (*bad_manifests, *bad_entries))
    return Catalog(tuple(manifests), tuple(entries), tuple(load_lines(store)), problems)
