"""What stays in the store and what goes, with a reason for each. Pure; the policy is in docs/decisions/retention.md."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from holdfast.backup import lease, manifest
from holdfast.backup.binlog_index import Index, is_index
from holdfast.backup.binlogs import FOLDER as BINLOGS
from holdfast.backup.binlogs import BinlogEntry
from holdfast.backup.drills import Drill
from holdfast.backup.manifest import Manifest
from holdfast.backup.retention_backups import View, kept_backups
from holdfast.backup.retention_binlogs import archive_begins, kept_binlogs, why_not_kept
from holdfast.backup.store import StoredObject
from holdfast.backup.stream_piece import FOLDER as STREAM
from holdfast.backup.stream_piece import OpenFile, file_of, folder_of
from holdfast.clock import format_utc, parse_utc
from holdfast.config_retention import RetentionConfig
from holdfast.recovery.lines import Line

BACKUP, ORPHAN, BINLOG, LEASE, OTHER = "backup", "leftover", "binlog", "lease", "other"
PIECES, INDEX = "streamed pieces", "index"


@dataclass(frozen=True)
class Held:
    """Everything in the store: one listing of all objects, and what those say that were read and verified.

    `entries` are the archived binlogs, those of `indexes` too; `open_files` those that were streamed and not archived.
    """

    objects: Sequence[StoredObject]
    manifests: Sequence[Manifest]
    entries: Sequence[BinlogEntry]
    lines: Sequence[Line]
    drills: Sequence[Drill]
    open_files: Sequence[OpenFile] = ()
    indexes: Sequence[Index] = ()


@dataclass(frozen=True)
class Decision:
    """What becomes of some objects that belong together, and why. `depth`: how many parents a backup stands upon."""

    kind: str
    name: str
    objects: tuple[StoredObject, ...]
    delete: bool
    reason: str
    depth: int = 0

    @property
    def size(self) -> int:
        """Bytes of all of them."""
        return sum(item.size for item in self.objects)


def decide(held: Held, policy: RetentionConfig, zone: ZoneInfo, now: datetime) -> list[Decision]:
    """One decision for each backup, leftover, binlog, index, streamed file and lease, and for each other object."""
    view = View(
        manifests=held.manifests,
        intact=intact(held.manifests, held.objects),
        entries=[*held.entries, *held.open_files],
        lines=held.lines,
        drills=held.drills,
        policy=policy,
        zone=zone,
        now=now,
    )
    folders: dict[str, list[StoredObject]] = {}
    rest: list[StoredObject] = []
    binlogs: dict[str, list[StoredObject]] = {}
    leases: dict[str, list[StoredObject]] = {}
    streamed: dict[str, list[StoredObject]] = {}
    indexes: list[StoredObject] = []
    for item in held.objects:
        parts = item.name.split("/")
        if parts[0] == manifest.FOLDER and len(parts) > 2:
            folders.setdefault(parts[1], []).append(item)
        elif parts[0] == BINLOGS and len(parts) == 3 and parts[2].endswith((".lz4", ".json")):
            binlogs.setdefault(item.name.rpartition(".")[0], []).append(item)
        elif is_index(item.name):
            indexes.append(item)
        elif parts[0] == STREAM and (key := _file_streamed(item.name)):
            streamed.setdefault(key, []).append(item)
        elif "/".join(parts[:2]) == lease.FOLDER and len(parts) == 4:
            leases.setdefault(parts[2], []).append(item)
        else:
            rest.append(item)
    files = list(_binlogs(view, binlogs))
    return [
        *_folders(view, folders),
        *files,
        *_indexes(held, indexes, {f"{item.name}.json" for item in files if item.delete}),
        *_streamed(view, held, streamed),
        *_leases(view, leases),
        *(Decision(OTHER, item.name, (item,), False, "not the cleanup's to judge") for item in rest),
    ]


def _file_streamed(name: str) -> str:
    try:
        return folder_of(*file_of(name))
    except ValueError:
        return ""


def intact(manifests: Iterable[Manifest], objects: Iterable[StoredObject]) -> frozenset[str]:
    """The backups whose segments are all there, with the sizes that their manifests say."""
    sizes = {item.name: item.size for item in objects}
    return frozenset(
        item.id for item in manifests if all(sizes.get(segment.name) == segment.size for segment in item.segments)
    )


def deletions(decisions: Iterable[Decision]) -> list[Decision]:
    """What goes, in order: backups, each before what it stands upon, then leftovers, indexes, and all the rest."""
    order = (BACKUP, ORPHAN, INDEX, BINLOG, PIECES, LEASE)
    gone = [item for item in decisions if item.delete]
    return sorted(gone, key=lambda item: (order.index(item.kind), -item.depth, item.name))


def safe_age(policy: RetentionConfig) -> timedelta:
    """How old an object must be that nothing names: no job can be at work on it, and no lock of the store holds it."""
    locked = timedelta(days=policy.object_lock_days + 1) if policy.object_lock_days else timedelta()
    return max(timedelta(hours=policy.orphan_minimum_age_hours), locked)


def _folders(view: View, folders: Mapping[str, Sequence[StoredObject]]) -> Iterator[Decision]:
    reasons = kept_backups(view)
    named = {item.parent_id: item.id for item in view.manifests if item.parent_id}
    gone = f"older than {view.policy.point_in_time_days} days, and no promised moment needs it"
    for key, objects in sorted(folders.items()):
        if key in view.by_id:
            reason = reasons.get(key)
            depth = len(_ancestors(view, key))
            yield Decision(BACKUP, key, tuple(objects), reason is None, reason or gone, depth)
        elif any(item.name == manifest.name_of_manifest(key) for item in objects):
            text = "its manifest cannot be read or is too new; kept for a person to look at"
            yield Decision(BACKUP, key, tuple(objects), False, text)
        elif key in named:
            text = f"has no manifest, but {named[key]} stands upon it; kept for a person to look at"
            yield Decision(ORPHAN, key, tuple(objects), False, text)
        else:
            yield _orphan(view, key, tuple(objects))


def _ancestors(view: View, key: str) -> set[str]:
    found: set[str] = set()
    parent = view.by_id[key].parent_id
    while parent and parent in view.by_id and parent not in found:
        found.add(parent)
        parent = view.by_id[parent].parent_id
    return found


def _orphan(view: View, key: str, objects: tuple[StoredObject, ...]) -> Decision:
    try:
        begun = parse_utc(key.partition("-")[0])
    except ValueError:
        return Decision(ORPHAN, key, objects, False, "has no manifest, and its name is not a backup's")
    hours = round(safe_age(view.policy).total_seconds() / 3600)
    if view.now - begun < safe_age(view.policy):
        return Decision(ORPHAN, key, objects, False, f"has no manifest, but began less than {hours} hours ago")
    return Decision(ORPHAN, key, objects, True, f"has no manifest, and began more than {hours} hours ago")


def _binlogs(view: View, binlogs: Mapping[str, Sequence[StoredObject]]) -> Iterator[Decision]:
    reasons = kept_binlogs(view)
    known = {entry.entry_name for entry in view.entries}
    begins = archive_begins(view)
    for key, objects in sorted(binlogs.items()):
        entry = f"{key}.json"
        if entry in known:
            reason = reasons.get(entry)
            yield Decision(BINLOG, key, tuple(objects), reason is None, reason or why_not_kept(view))
        elif any(item.name == entry for item in objects):
            text = "its entry cannot be read or is too new; kept for a person to look at"
            yield Decision(BINLOG, key, tuple(objects), False, text)
        else:
            last = max(item.modified for item in objects)
            old = begins is not None and last < begins and view.now - last >= safe_age(view.policy)
            text = f"has no entry; stored before {format_utc(begins)}" if old and begins else "has no entry yet"
            yield Decision(BINLOG, key, tuple(objects), old, text)


def _indexes(held: Held, indexes: Sequence[StoredObject], gone: Collection[str]) -> Iterator[Decision]:
    """An index goes with the first of its entries: those that stay longer are read one by one."""
    members = {index.name: index.members for index in held.indexes}
    for item in indexes:
        if item.name not in members:
            text = "cannot be read, or names entries that are not there; kept for a person to look at"
            yield Decision(INDEX, item.name, (item,), False, text)
        elif not members[item.name].isdisjoint(gone):
            yield Decision(INDEX, item.name, (item,), True, "an entry that it names goes")
        else:
            yield Decision(INDEX, item.name, (item,), False, "all of its entries stay")


def _streamed(view: View, held: Held, streamed: Mapping[str, Sequence[StoredObject]]) -> Iterator[Decision]:
    """All pieces of a file together: as the file itself would be, until the archive has it as a whole."""
    reasons = kept_binlogs(view)
    sizes = {item.name: item.size for item in held.objects}
    whole = {
        folder_of(entry.lineage, entry.file): entry.object_name
        for entry in held.entries
        if sizes.get(entry.object_name) == entry.stored_size
    }
    known = {file.entry_name for file in held.open_files}
    for key, objects in sorted(streamed.items()):
        young = view.now - max(item.modified for item in objects) < safe_age(view.policy)
        if key in whole:
            text = f"superseded by {whole[key]}"
            yield Decision(PIECES, key, tuple(objects), not young, f"{text}, but young" if young else text)
        elif key in reasons:
            yield Decision(PIECES, key, tuple(objects), False, f"not archived as a whole, and {reasons[key]}")
        elif key in known and not young:
            yield Decision(PIECES, key, tuple(objects), True, why_not_kept(view))
        else:
            yield Decision(PIECES, key, tuple(objects), False, "no use of them is known, or they are young")


def _leases(view: View, leases: Mapping[str, Sequence[StoredObject]]) -> Iterator[Decision]:
    for key, objects in sorted(leases.items()):
        found = lease.leases_in(objects)
        if not found:
            yield Decision(LEASE, key, tuple(objects), False, "its name is not a lease's")
        elif found[0].stands(view.now):
            yield Decision(LEASE, key, tuple(objects), False, f"stands: {found[0]}")
        elif view.now - found[0].begun < safe_age(view.policy):
            yield Decision(LEASE, key, tuple(objects), False, f"over, but young: {found[0]}")
        else:
            yield Decision(LEASE, key, tuple(objects), True, f"over: {found[0]}")
