"""Everything that the store knows and a plan needs: one listing, and what it names in two calls."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.backup import binlog_index
from holdfast.backup.archive import RECORDS, with_live_pieces
from holdfast.backup.binlog_index import INDEXES, all_entries, read_entries
from holdfast.backup.binlogs import BinlogEntry
from holdfast.backup.catalog_cache import Cache, Kind
from holdfast.backup.manifest import Manifest, is_manifest, read_manifest
from holdfast.backup.store import Store
from holdfast.backup.stream_piece import live_records, open_files
from holdfast.recovery import lines
from holdfast.recovery.lines import Line

PATTERNS = (
    "/backups/*/manifest.json",
    "/binlogs/*/*.json",
    f"/binlogs/*/*{binlog_index.ENDING}",
    f"/{lines.FOLDER}/*.json",
)
MANIFESTS = Kind(read_manifest)
LINES = Kind(Line.from_json)


@dataclass(frozen=True)
class Catalog:
    """Manifests, binlogs and lines that verified, and what is wrong with those that did not.

    `entries` are the archived binlogs and, after them, the open ones as far as they were streamed.
    """

    manifests: tuple[Manifest, ...]
    entries: tuple[BinlogEntry, ...]
    lines: tuple[Line, ...]
    problems: tuple[str, ...]


def load_catalog(store: Store) -> Catalog:
    """Read it all. Raises StorageError when the store fails or a line cannot be read."""
    listed = with_live_pieces(store, store.matching(PATTERNS))
    stored = {item.name: item for item in listed}
    groups = (
        [item for item in listed if is_manifest(item.name)],
        [stored[name] for name in live_records(stored.keys())],
        [item for item in listed if item.name.startswith(f"{lines.FOLDER}/")],
    )
    indexes = [item for item in listed if binlog_index.is_index(item.name)]
    cache = Cache(None, store.address)
    cache.fetch(store.bulk, [*indexes, *(item for group in groups for item in group)])
    manifests, bad = cache.load(groups[0], MANIFESTS)
    records, bad_records = cache.load(groups[1], RECORDS)
    found_lines, bad_lines = cache.load(groups[2], LINES)
    if bad_lines:
        raise bad_lines[0]
    entries = read_entries(listed, cache, store.bulk, INDEXES)
    files, gaps = open_files(records, stored.keys())
    problems = [*(error.what for error in (*bad, *entries.problems, *bad_records)), *gaps]
    return Catalog(
        tuple(sorted(manifests, key=lambda item: (item.started_at, item.id))),
        (*all_entries(entries), *files),
        tuple(sorted(found_lines, key=lambda line: line.at)),
        tuple(problems),
    )
