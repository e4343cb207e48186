"""What the store holds, by way of a digest on this host's disk: one listing, and one copy of what the digest lacks.

Manifests, archive entries and drills never change once written, so each is fetched and checked once. A day's entries
of one lineage that follow each other without a gap are kept as one piece: a hundred thousand become some thousand.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from holdfast.backup.archive_pieces import Piece, fold, numbers_in, numbers_text, piece_document, piece_of
from holdfast.backup.binlogs import BinlogEntry, name_of_entry
from holdfast.backup.lineage import sequence_of
from holdfast.backup.manifest import Manifest, from_document, name_of_manifest
from holdfast.backup.store import Store
from holdfast.errors import StorageError
from holdfast.whole_file import replace_file

SCHEMA_VERSION = 1
DIGEST = "archive.json"
EMPTY: Mapping[str, Any] = {"schema_version": SCHEMA_VERSION, "manifests": {}, "days": {}, "drills": {}}
MANIFESTS = "/backups/*/manifest.json"
ENTRIES = "/binlogs/*/*.json"
DRILLS = "/state/drills/*.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Archive:
    """The store as it was listed: complete backups (oldest first; without segments and fingerprint), binlogs in pieces.

    `drills` are the objects' bytes by name; `damaged` says what does not count, and why.
    """

    manifests: Sequence[Manifest] = ()
    pieces: Sequence[Piece] = ()
    drills: Mapping[str, bytes] = field(default_factory=dict)
    damaged: Sequence[str] = ()

    @property
    def archived(self) -> dict[str, datetime]:
        """When each host's last binlog was archived."""
        found: dict[str, datetime] = {}
        for piece in self.pieces:
            found[piece.host] = max(found.get(piece.host, piece.archived_at), piece.archived_at)
        return found


def look(store: Store, state_directory: Path) -> Archive:
    """List the store, fetch what the digest lacks, bring the digest up to date. Raises StorageError."""
    path = state_directory / DIGEST
    digest = read_digest(path, store.address)
    try:
        archive, grown = _fetch(store, digest)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        log.warning("%s is not as it was written (%s) and is made anew", path, error)
        digest = {}
        archive, grown = _fetch(store, EMPTY)
    if grown != digest:
        try:
            replace_file(path, json.dumps({"store": store.address, **grown}) + "\n")
        except OSError as error:
            log.warning("%s cannot be written (%s): the next look fetches all again", path, error)
    return archive


def look_without_asking(store: Store, state_directory: Path) -> tuple[Archive, datetime]:
    """What this host saw at its last look, and when that was (UTC); nothing is asked of the store.

    Raises StorageError when there is no digest, or none that can be read.
    """
    path = state_directory / DIGEST
    try:
        archive, _ = with_objects(read_digest(path, store.address), {})
        return archive, datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise StorageError(
            f"{path} cannot be read: {error}",
            meaning="This host has not looked at the store yet.",
            remedy="Leave --cached out.",
        ) from None


def _fetch(store: Store, digest: Mapping[str, Any]) -> tuple[Archive, dict[str, Any]]:
    listed = store.names([MANIFESTS, ENTRIES, DRILLS])
    kept, lacking = without_the_vanished(digest, listed)
    with tempfile.TemporaryDirectory(prefix="holdfast-") as folder:
        directory = Path(folder)
        store.copy_to(directory, lacking)
        fetched = {name: (directory / name).read_bytes() for name in lacking if (directory / name).is_file()}
    return with_objects(kept, fetched)


def read_digest(path: Path, address: str) -> dict[str, Any]:
    """The digest of that store; an empty one when there is none, or none that can be read."""
    try:
        document = dict(json.loads(path.read_text(encoding="utf-8")))
        if document.pop("store") == address and document.keys() == EMPTY.keys():
            return document if document["schema_version"] == SCHEMA_VERSION else dict(EMPTY)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s cannot be read and is made anew: %s", path, error)
    return dict(EMPTY)


def without_the_vanished(digest: Mapping[str, Any], listed: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    """The digest without what the store no longer has, and the names that it lacks (pure).

    A day that lost one of its entries is taken apart: the entries that are left are lacking again.
    """
    names = set(listed)
    manifests = {name: document for name, document in digest["manifests"].items() if name in names}
    drills = {name: text for name, text in digest["drills"].items() if name in names}
    days, known = {}, manifests.keys() | drills.keys()
    for key, day in digest["days"].items():
        line = key.partition("/")[0]
        members = {
            name_of_entry(line, f"{day['base']}.{number:0{day['digits']}d}") for number in numbers_in(day["numbers"])
        }
        if members <= names:
            days[key] = day
            known |= members
    return {**digest, "manifests": manifests, "drills": drills, "days": days}, sorted(names - known)


def with_objects(digest: Mapping[str, Any], fetched: Mapping[str, bytes]) -> tuple[Archive, dict[str, Any]]:
    """What digest and fetched objects say together, and the digest that remembers it (pure, but for the log)."""
    manifests = dict(digest["manifests"])
    drills, days = dict(digest["drills"]), dict(digest["days"])
    damaged: list[str] = []
    entries: list[BinlogEntry] = []
    for name, data in sorted(fetched.items()):
        folder = name.partition("/")[0]
        try:
            if folder == "backups":
                manifests[name] = _bare(data, name)
            elif folder == "binlogs":
                entries.append(_entry(data, name))
        except StorageError as error:
            damaged.append(error.what)
    drills |= {name: _text(data) for name, data in fetched.items() if name.startswith("state/drills/")}
    for key, members in _by_day(entries).items():
        if key in days and sequence_of(members[0].file) < numbers_in(days[key]["numbers"])[-1]:
            key = f"{key}/{members[0].file}"  # not its continuation: a part of its own
        days[key] = _grown(days.get(key), members)
    found = [from_document(dict(document)) for document in manifests.values()]
    archive = Archive(
        manifests=sorted(found, key=lambda item: (item.started_at, item.id)),
        pieces=[piece_of(document) for day in days.values() for document in day["pieces"]],
        drills={name: text.encode() for name, text in drills.items()},
        damaged=damaged,
    )
    return archive, {**digest, "manifests": manifests, "drills": drills, "days": days}


def _bare(data: bytes, name: str) -> dict[str, Any]:
    manifest = Manifest.from_json(data, name)
    if name_of_manifest(manifest.id) != name:
        raise StorageError(f"{name} says that it is {manifest.id}", meaning="It was copied there; it does not count.")
    document = json.loads(replace(manifest, segments=(), fingerprint=None).to_json())
    return {key: value for key, value in document.items() if key in Manifest.__dataclass_fields__}


def _entry(data: bytes, name: str) -> BinlogEntry:
    entry = BinlogEntry.from_json(data, name)
    if entry.entry_name != name:
        raise StorageError(f"{name} says that it is {entry.entry_name}", meaning="It does not count.")
    return entry


def _by_day(entries: Iterable[BinlogEntry]) -> dict[str, list[BinlogEntry]]:
    found: dict[str, list[BinlogEntry]] = {}
    for entry in entries:
        found.setdefault(f"{entry.lineage}/{entry.archived_at:%Y%m%d}", []).append(entry)
    for members in found.values():
        members.sort(key=lambda entry: sequence_of(entry.file))
    return found


def _grown(day: Mapping[str, Any] | None, members: Sequence[BinlogEntry]) -> dict[str, Any]:
    base, _, digits = members[0].file.rpartition(".")
    numbers = [] if day is None else numbers_in(day["numbers"])
    before = [] if day is None else [piece_of(document) for document in day["pieces"]]
    pieces = fold(members, before, numbers[-1] if numbers else -1)
    return {
        "base": base,
        "digits": len(digits),
        "numbers": numbers_text([*numbers, *(sequence_of(entry.file) for entry in members)]),
        "pieces": [piece_document(piece) for piece in pieces],
    }


def _text(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")
