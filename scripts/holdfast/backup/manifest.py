"""What is known of one backup. The manifest is written last: a folder without one is not a backup."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from holdfast.backup.sealed import seal, unseal
from holdfast.backup.segments import Segment
from holdfast.clock import compact_utc, format_utc
from holdfast.errors import StorageError
from holdfast.gtid import GtidSet

if TYPE_CHECKING:
    from holdfast.backup.store import Store

SCHEMA_VERSION = 1
BackupType = Literal["full", "incremental"]
FOLDER = "backups"


@dataclass(frozen=True)
class TableFingerprint:
    """One table: SHA-256 of its definition; rows and CHECKSUM TABLE, or None above the size limit."""

    definition_sha256: str
    rows: int | None
    checksum: int | None


@dataclass(frozen=True)
class Fingerprint:
    """Tables ("database.table") as they were in one snapshot, whose executed set is `gtid`."""

    gtid: GtidSet
    tables: Mapping[str, TableFingerprint]


@dataclass(frozen=True)
class Manifest:
    """One backup. Bytes are bytes, times are UTC, segment names are relative to the cluster's folder."""

    id: str
    cluster: str
    type: BackupType
    engine: str
    engine_version: str
    server_version: str
    series: str
    host: str
    server_uuid: str
    lineage: str
    parent_id: str | None
    chain_id: str
    from_lsn: int | None
    to_lsn: int | None
    gtid_contained: GtidSet
    gtid_upper: GtidSet
    binlog_file: str
    binlog_position: int
    started_at: datetime
    finished_at: datetime
    data_bytes: int
    stored_bytes: int
    segments: tuple[Segment, ...]
    compression: str
    encrypted: bool
    on_primary: bool
    fingerprint: Fingerprint | None
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> bytes:
        """The manifest as it is stored."""
        document = {field.name: _plain(getattr(self, field.name)) for field in fields(self)}
        return seal(document)

    @staticmethod
    def from_json(data: bytes, name: str) -> Manifest:
        """Read a stored manifest. Raises StorageError naming `name` if it is damaged, incomplete or too new."""
        document = unseal(data, name, schema_version=SCHEMA_VERSION)
        try:
            return from_document(document)
        except (KeyError, TypeError, ValueError) as error:
            raise StorageError(
                f"{name} is not a complete manifest: {type(error).__name__} {error}",
                meaning="It does not count as a backup.",
            ) from error


def backup_id(started_at: datetime, kind: BackupType, host: str) -> str:
    """The backup's name, which is its folder under backups/."""
    return f"{compact_utc(started_at)}-{kind}-{host}"


def folder_of(identifier: str) -> str:
    """The backup's folder."""
    return f"{FOLDER}/{identifier}"


def name_of_manifest(identifier: str) -> str:
    """The object that makes the folder a backup."""
    return f"{folder_of(identifier)}/manifest.json"


def load_manifests(store: Store, since: datetime | None = None) -> tuple[list[Manifest], list[StorageError]]:
    """Every complete backup in the store, oldest first, and what is wrong with those that do not count.

    With `since`, folders of an earlier start are not opened. Raises StorageError when the store itself fails.
    """
    names = [item.name for item in store.matching(["/backups/*/manifest.json"]) if is_manifest(item.name, since)]
    manifests, damaged = [], []
    for name, data in store.bulk.fetch(names).items():
        try:
            manifests.append(read_manifest(data, name))
        except StorageError as error:
            damaged.append(error)
    return sorted(manifests, key=lambda item: (item.started_at, item.id)), damaged


def read_manifest(data: bytes, name: str) -> Manifest:
    """The manifest that lies under its own name. Raises StorageError."""
    manifest = Manifest.from_json(data, name)
    if name_of_manifest(manifest.id) != name:
        raise StorageError(f"{name} says that it is {manifest.id}", meaning="It was copied there; it does not count.")
    return manifest


def newest(manifests: Iterable[Manifest]) -> Manifest | None:
    """The backup that started last."""
    return max(manifests, key=lambda item: (item.started_at, item.id), default=None)


def is_manifest(name: str, since: datetime | None = None) -> bool:
    """Whether an object is one, by its name; with `since` of a backup that did not begin before."""
    parts = name.split("/")
    if len(parts) != 3 or (parts[0], parts[2]) != (FOLDER, "manifest.json"):
        return False
    # Ids begin with the start in UTC; a day's slack costs a few extra reads and forgives a clock.
    return since is None or parts[1] >= compact_utc(since - timedelta(days=1))


def _plain(value: Any) -> Any:
    if isinstance(value, GtidSet):
        return str(value)
    if isinstance(value, datetime):
        return format_utc(value)
    if isinstance(value, tuple):
        return [{"name": item.name, "size": item.size, "sha256": item.sha256} for item in value]
    if isinstance(value, Fingerprint):
        tables = {
            name: {"definition_sha256": table.definition_sha256, "rows": table.rows, "checksum": table.checksum}
            for name, table in sorted(value.tables.items())
        }
        return {"gtid": str(value.gtid), "tables": tables}
    return value


def time_from(text: str) -> datetime:
    """The inverse of format_utc. Raises ValueError."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def from_document(document: dict[str, Any]) -> Manifest:
    """The manifest of a parsed document without its seal. Raises KeyError, TypeError or ValueError."""
    known = {field.name for field in fields(Manifest)}
    if document.keys() != known:
        raise ValueError("keys missing or unknown: " + ", ".join(sorted(document.keys() ^ known)))
    if document["type"] not in ("full", "incremental"):
        raise ValueError(f"type {document['type']!r}")
    values = dict(document)
    for name in ("gtid_contained", "gtid_upper"):
        values[name] = GtidSet.parse(document[name])
    for name in ("started_at", "finished_at"):
        values[name] = time_from(document[name])
    values["segments"] = tuple(Segment(item["name"], item["size"], item["sha256"]) for item in document["segments"])
    if document["fingerprint"] is not None:
        values["fingerprint"] = Fingerprint(
            gtid=GtidSet.parse(document["fingerprint"]["gtid"]),
            tables={name: TableFingerprint(**table) for name, table in document["fingerprint"]["tables"].items()},
        )
    return Manifest(**values)
