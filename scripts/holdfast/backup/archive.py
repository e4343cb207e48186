"""What the store holds: one listing, and one copy of what this host does not know yet.

Manifests, archive entries, a day's index of them and drills never change once written, so each is fetched and checked
once. Of an index the entries that follow each other without a gap are kept as one piece: a hundred thousand become some
thousand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from holdfast.backup import binlog_index, stream_sign
from holdfast.backup.archive_pieces import Piece, fold
from holdfast.backup.binlog_index import read_entries
from holdfast.backup.binlogs import BinlogEntry
from holdfast.backup.bulk import Bulk, StoredObject
from holdfast.backup.catalog_cache import Cache, Kind, remembered
from holdfast.backup.coverage import Archived
from holdfast.backup.indexed_day import DAYS
from holdfast.backup.lineage import sequence_of
from holdfast.backup.manifest import Manifest, from_document, is_manifest, read_manifest
from holdfast.backup.store import Store
from holdfast.backup.stream_piece import OpenFile, StreamPiece, list_live, live_records, open_files
from holdfast.backup.stream_sign import StreamSign
from holdfast.errors import StorageError

DIGEST = "archive.jsonl"
PATTERNS = (
    "/backups/*/manifest.json",
    "/binlogs/*/*.json",
    f"/binlogs/*/*{binlog_index.ENDING}",
    "/state/stream/*.json",
    "/state/drills/*.json",
)
_NOT_AS_WRITTEN = (KeyError, TypeError, ValueError, AttributeError)


@dataclass(frozen=True)
class Archive:
    """The store as it was listed: complete backups (oldest first; without segments and fingerprint), binlogs in pieces.

    `open_files` are binlogs that are not archived yet, as far as they were streamed; `signs` are the streams' last.
    `drills` are the objects' bytes by name; `damaged` says what does not count, and why.
    """

    manifests: Sequence[Manifest] = ()
    pieces: Sequence[Piece] = ()
    open_files: Sequence[OpenFile] = ()
    signs: Sequence[StreamSign] = ()
    drills: Mapping[str, bytes] = field(default_factory=dict)
    damaged: Sequence[str] = ()

    @property
    def binlogs(self) -> Sequence[Archived]:
        """All that goes on from the backups."""
        return [*self.pieces, *self.open_files]

    @property
    def archived(self) -> dict[str, datetime]:
        """When each host's last binlog was archived."""
        found: dict[str, datetime] = {}
        for piece in self.pieces:
            found[piece.host] = max(found.get(piece.host, piece.archived_at), piece.archived_at)
        return found


def look(store: Store, state_directory: Path) -> Archive:
    """List the store, fetch what is not known yet, remember it. Raises StorageError."""
    cache = Cache(state_directory / DIGEST, store.address)
    listed = with_live_pieces(store, store.matching(PATTERNS))
    cache.drop(item.name for item in listed if _below(item.name, stream_sign.FOLDER))
    try:
        archive, names = read(listed, cache, store.bulk)
    except _NOT_AS_WRITTEN:
        cache.forget()
        archive, names = read(listed, cache, store.bulk)
    cache.save(names)
    return archive


def with_live_pieces(store: Store, listed: Sequence[StoredObject]) -> list[StoredObject]:
    """These objects, and those of the pieces of files that the archive does not have. Raises StorageError."""
    return [*listed, *list_live(store, {item.name for item in listed})]


def look_without_asking(store: Store, state_directory: Path) -> tuple[Archive, datetime]:
    """What this host saw at its last look, and when that was (UTC); nothing is asked of the store.

    Raises StorageError when nothing is remembered, or nothing that can be read.
    """
    path = state_directory / DIGEST
    try:
        at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        cache = Cache(path, store.address)
        names = cache.names()
        if not names:
            raise ValueError("it remembers nothing of this store")
        # What was there besides, and is not remembered by name: the pieces' contents, and the entries of an index.
        names += [f"{name.removesuffix('.json')}.lz4" for name in live_records(frozenset(names))]
        days, _ = cache.load(remembered([name for name in names if binlog_index.is_index(name)]), DAYS)
        return read(remembered([*names, *(member for day in days for member in day.members)]), cache, None)[0], at
    except (OSError, *_NOT_AS_WRITTEN) as error:
        raise StorageError(
            f"{path} cannot be read: {error}",
            meaning="This host has not looked at the store yet.",
            remedy="Leave --cached out.",
        ) from None


def read(listed: Sequence[StoredObject], cache: Cache, bulk: Bulk | None) -> tuple[Archive, list[str]]:
    """What the listed objects say, and the names of those that are to be remembered. Raises as Cache.load does.

    Without `bulk` nothing is fetched.
    """
    stored = {item.name: item for item in listed}
    manifests = [item for item in listed if is_manifest(item.name)]
    drills = [item for item in listed if _below(item.name, "state/drills")]
    signs = [item for item in listed if _below(item.name, stream_sign.FOLDER)]
    records = [stored[name] for name in live_records(stored.keys())]
    indexes = [item for item in listed if binlog_index.is_index(item.name)]
    if bulk is not None:
        cache.fetch(bulk, [*manifests, *indexes, *records, *signs, *drills])
    found, bad = cache.load(manifests, MANIFESTS)
    streamed, bad_records = cache.load(records, RECORDS)
    known_signs, bad_signs = cache.load(signs, SIGNS)
    texts, _ = cache.load(drills, DRILLS)
    entries = read_entries(listed, cache, bulk, DAYS)
    files, problems = open_files(streamed, stored.keys())
    archive = Archive(
        manifests=sorted(found, key=lambda item: (item.started_at, item.id)),
        pieces=[*(piece for day in entries.indexes for piece in day.pieces), *_folded(entries.loose)],
        open_files=files,
        signs=known_signs,
        drills=dict(texts),
        damaged=[*(error.what for error in (*bad, *entries.problems, *bad_records, *bad_signs)), *problems],
    )
    return archive, [*(item.name for item in (*manifests, *records, *signs, *drills)), *entries.names]


def _folded(loose: Iterable[BinlogEntry]) -> list[Piece]:
    """What the entries that no index has make, each lineage's in the order of its numbers."""
    lines: dict[str, list[BinlogEntry]] = {}
    for entry in loose:
        lines.setdefault(entry.lineage, []).append(entry)
    return [piece for line in lines.values() for piece in fold(sorted(line, key=lambda entry: sequence_of(entry.file)))]


def _below(name: str, folder: str) -> bool:
    return name.startswith(f"{folder}/") and name.endswith(".json")


def _bare(data: bytes, name: str) -> Manifest:
    return replace(read_manifest(data, name), segments=(), fingerprint=None)


def _kept(manifest: Manifest) -> str:
    document = json.loads(manifest.to_json())
    return json.dumps({key: value for key, value in document.items() if key in Manifest.__dataclass_fields__})


def _recalled(text: str) -> Manifest:
    return from_document(json.loads(text))


def _drill(data: bytes, name: str) -> tuple[str, bytes]:
    return name, data


MANIFESTS = Kind(_bare, _kept, _recalled)
RECORDS = Kind(StreamPiece.from_json)
SIGNS = Kind(StreamSign.from_json)
DRILLS = Kind(_drill)
