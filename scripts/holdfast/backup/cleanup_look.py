"""What the cleanup sees of the store, and what it decides about it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from holdfast.backup import drills, lease, manifest, retention
from holdfast.backup.archive import RECORDS
from holdfast.backup.binlog_index import INDEXES, all_entries, is_index, read_entries
from holdfast.backup.bulk import Bulk, StoredObject
from holdfast.backup.catalog_cache import Cache, Kind
from holdfast.backup.drills import Drill
from holdfast.backup.rclone import MissingError
from holdfast.backup.retention import ORPHAN, Decision, Held
from holdfast.backup.retention_refusals import Case, Refusal, refusals
from holdfast.backup.stream_piece import live_records, open_files
from holdfast.config import Config
from holdfast.errors import StorageError
from holdfast.recovery import lines
from holdfast.recovery.catalog import LINES, MANIFESTS

CACHE = "cleanup-objects.jsonl"
DRILLS = Kind(Drill.from_json)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Look:
    """What was read, what was decided about it, and what stands against doing it."""

    decisions: Sequence[Decision]
    refusals: Sequence[Refusal]
    leases: Sequence[lease.Lease]


def look_at(config: Config, bulk: Bulk) -> Look:
    """List the store, read what is not known yet, decide. Raises StorageError."""
    try:
        objects, moment = bulk.listing(), bulk.moment()
    except MissingError as error:
        raise StorageError(
            f"{bulk.root}: there is nothing",
            meaning=f"No backup was ever stored there, or store.remote names another place.\n{error.meaning}".rstrip(),
            remedy="Compare store.remote here with that of the database hosts.",
        ) from None
    held, problems = read(objects, bulk, Cache(config.state_directory / CACHE, bulk.root))
    for problem in problems:
        log.warning("%s", problem)
    now = moment.now
    decided = retention.decide(held, config.retention, ZoneInfo(config.time_zone), now)
    decided = [without_hidden_manifest(item, bulk) for item in decided]
    found = refusals(Case(held, decided, config.retention, moment))
    return Look(decided, found, [item for item in lease.leases_in(objects) if item.stands(now)])


def read(objects: Sequence[StoredObject], bulk: Bulk, cache: Cache) -> tuple[Held, list[StorageError]]:
    """What manifests, binlogs, lines and drills say, and what is wrong with those that do not count."""
    stored = {item.name: item for item in objects}

    def named(folder: str) -> list[StoredObject]:
        inside = [item for item in objects if item.name.startswith(f"{folder}/") and item.name.endswith(".json")]
        return [item for item in inside if item.name.count("/") == 2]

    manifests = [item for item in objects if manifest.is_manifest(item.name)]
    indexes = [item for item in objects if is_index(item.name)]
    records = [stored[name] for name in live_records(stored.keys())]
    cache.fetch(bulk, [*manifests, *indexes, *records, *named(lines.FOLDER), *named(drills.FOLDER)])
    found, damaged = cache.load(manifests, MANIFESTS)
    pieces, torn = cache.load(records, RECORDS)
    # A line or drill that cannot be read ends the run: what they say decides about all the rest.
    found_lines, bad_lines = cache.load(named(lines.FOLDER), LINES)
    found_drills, bad_drills = cache.load(named(drills.FOLDER), DRILLS)
    if bad := [*bad_lines, *bad_drills]:
        raise bad[0]
    entries = read_entries(objects, cache, bulk, INDEXES)
    names = [item.name for item in (*manifests, *records, *named(lines.FOLDER), *named(drills.FOLDER))]
    cache.save([*names, *entries.names])
    files, gaps = open_files(pieces, stored.keys())
    held = Held(objects, found, all_entries(entries), found_lines, found_drills, files, entries.indexes)
    return held, [*damaged, *torn, *entries.problems, *(StorageError(gap) for gap in gaps)]


def without_hidden_manifest(decision: Decision, bulk: Bulk) -> Decision:
    """Keep a leftover of which an older version has a manifest: who may write can hide one, and a backup with it."""
    if decision.kind != ORPHAN or not decision.delete:
        return decision
    hidden = [name for name in bulk.versions(manifest.folder_of(decision.name)) if name.startswith("manifest.json")]
    if not hidden:
        return decision
    log.warning("%s: its manifest was hidden or overwritten (%s)", decision.name, ", ".join(hidden))
    reason = "its manifest was hidden: look who did that, and take the older version back"
    return Decision(decision.kind, decision.name, decision.objects, False, reason)
