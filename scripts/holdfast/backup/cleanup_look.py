"""What the cleanup sees of the store, and what it decides about it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from holdfast.backup import drills, lease, manifest, retention
from holdfast.backup.binlogs import FOLDER as BINLOGS
from holdfast.backup.binlogs import BinlogEntry
from holdfast.backup.bulk import Bulk
from holdfast.backup.catalog_cache import Cache
from holdfast.backup.drills import Drill
from holdfast.backup.manifest import Manifest
from holdfast.backup.rclone import MissingError
from holdfast.backup.retention import ORPHAN, Decision, Held
from holdfast.backup.retention_refusals import Case, Refusal, refusals
from holdfast.backup.store import StoredObject
from holdfast.config import Config
from holdfast.errors import StorageError
from holdfast.recovery import lines
from holdfast.recovery.lines import Line

CACHE = "cleanup-objects.jsonl"

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
    """What manifests, entries, lines and drills say, and what is wrong with those that do not count."""

    def named(folder: str, depth: int, ending: str = ".json") -> list[StoredObject]:
        inside = [item for item in objects if item.name.startswith(f"{folder}/") and item.name.endswith(ending)]
        return [item for item in inside if item.name.count("/") == depth]

    groups = (
        named(manifest.FOLDER, 2, "/manifest.json"),
        named(BINLOGS, 2),
        named(lines.FOLDER, 2),
        named(drills.FOLDER, 2),
    )
    cache.fetch(bulk, [item for group in groups for item in group])
    manifests, damaged = cache.load(groups[0], _manifest)
    entries, unreadable = cache.load(groups[1], _entry)
    # A line or drill that cannot be read ends the run: what they say decides about all the rest.
    found_lines, bad_lines = cache.load(groups[2], Line.from_json)
    found_drills, bad_drills = cache.load(groups[3], Drill.from_json)
    if bad := [*bad_lines, *bad_drills]:
        raise bad[0]
    cache.save([item.name for group in groups for item in group])
    return Held(objects, manifests, entries, found_lines, found_drills), [*damaged, *unreadable]


def _manifest(data: bytes, name: str) -> Manifest:
    found = Manifest.from_json(data, name)
    if manifest.name_of_manifest(found.id) != name:
        raise StorageError(f"{name} says that it is {found.id}", meaning="It was copied there; it does not count.")
    return found


def _entry(data: bytes, name: str) -> BinlogEntry:
    found = BinlogEntry.from_json(data, name)
    if found.entry_name != name:
        raise StorageError(f"{name} says that it is {found.entry_name}", meaning="It does not count.")
    return found


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
