"""Makers of manifests and archive entries for tests; every field can be given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, cast

from holdfast.backup.binlog_index import INDEXES, all_entries, read_entries
from holdfast.backup.binlogs import BinlogEntry
from holdfast.backup.bulk import Bulk
from holdfast.backup.catalog_cache import Cache
from holdfast.backup.manifest import Fingerprint, Manifest, TableFingerprint
from holdfast.backup.segments import Segment
from holdfast.backup.store import Store, StoredObject
from holdfast.backup.stream_piece import StreamPiece
from holdfast.errors import StorageError
from holdfast.gtid import GtidSet

SERVER = "11111111-1111-1111-1111-111111111111"
OTHER = "22222222-2222-2222-2222-222222222222"
LINEAGE = f"{SERVER}-20261101T000000Z"
START = datetime(2026, 11, 22, 1, 0, tzinfo=UTC)  # a Sunday, 02:00 in Berlin


def gtids(text: str) -> GtidSet:
    """A GTID set in which A and B stand for the two servers."""
    return GtidSet.parse(text.replace("A:", f"{SERVER}:").replace("B:", f"{OTHER}:"))


def full(identifier: str = "full", *, hours: float = 0.0, upper: str = "A:1-10", **changes: Any) -> Manifest:
    """A full that started `hours` after START and took half an hour."""
    at = START + timedelta(hours=hours)
    manifest = Manifest(
        id=identifier,
        cluster="lab",
        type="full",
        engine="clone",
        engine_version="9.7.4",
        server_version="9.7.4",
        series="9.7",
        host="db1",
        server_uuid=SERVER,
        lineage=LINEAGE,
        parent_id=None,
        chain_id=identifier,
        from_lsn=None,
        to_lsn=None,
        gtid_contained=gtids(upper),
        gtid_upper=gtids(upper),
        binlog_file="binlog.000007",
        binlog_position=1234,
        started_at=at,
        finished_at=at + timedelta(minutes=30),
        data_bytes=1000,
        stored_bytes=300,
        segments=(Segment(f"backups/{identifier}/segment-000001.lz4", 300, "a" * 64),),
        compression="lz4",
        encrypted=True,
        on_primary=False,
        fingerprint=Fingerprint(gtids(upper), {"shop.t": TableFingerprint("b" * 64, 3, 42)}),
    )
    return replace(manifest, **changes)


def incremental(identifier: str, parent: Manifest, *, hours: float, upper: str = "A:1-10", **changes: Any) -> Manifest:
    """An incremental upon `parent`."""
    manifest = full(identifier, hours=hours, upper=upper, engine=parent.engine, lineage=parent.lineage)
    linked = replace(
        manifest, type="incremental", parent_id=parent.id, chain_id=parent.chain_id, from_lsn=parent.to_lsn
    )
    return replace(linked, **changes)


def entry(number: int, previous: str, new: str, *, hours: tuple[float, float] | None, **changes: Any) -> BinlogEntry:
    """The archive's record of a file; `hours` after START of its first and last transaction."""
    first, last = (None, None) if hours is None else (START + timedelta(hours=at) for at in hours)
    made = BinlogEntry(
        lineage=LINEAGE,
        server_uuid=SERVER,
        host="db1",
        file=f"binlog.{number:06d}",
        size=1000,
        stored_size=100,
        sha256="c" * 64,
        content_sha256="d" * 64,
        previous_gtids=gtids(previous),
        gtids=gtids(new),
        first_time=first,
        last_time=last,
        server_version="9.7.4",
        archived_at=(last or START) + timedelta(minutes=1),
    )
    return replace(made, **changes)


def streamed(number: int, transaction: int, previous: str, new: str, *, hours: float, **changes: Any) -> StreamPiece:
    """The record of the piece of file `number` that has one transaction; the first has that after `previous`."""
    piece = transaction - int(previous.rpartition("-")[2])
    at = START + timedelta(hours=hours)
    made = StreamPiece(
        lineage=LINEAGE,
        server_uuid=SERVER,
        host="db1",
        file=f"binlog.{number:06d}",
        number=piece,
        start=100 * (piece - 1),
        end=100 * piece,
        stored_size=50,
        sha256="e" * 64,
        content_sha256="f" * 64,
        previous_gtids=gtids(previous),
        gtids=gtids(new),
        first_time=at,
        last_time=at,
        server_version="9.7.4",
        taken_at=at + timedelta(seconds=5),
    )
    return replace(made, **changes)


class MemoryStore:
    """A store that is a dictionary; leases lie apart.

    `refuse` names objects whose upload or deletion fails, "the store" all of it.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.leases: list[str] = []
        self.refuse: set[str] = set()
        self.order: list[str] = []

    @property
    def store(self) -> Store:
        """For the type checker."""
        return cast("Store", self)

    def put(
        self, local: Path, name: str, *, overwrite: bool = False, listed_later: bool = False, cancel: object = None
    ) -> None:
        del listed_later, cancel
        if name.startswith("state/leases/"):
            self.leases.append(name)
            return
        self.put_bytes(name, local.read_bytes(), overwrite=overwrite)

    def put_bytes(self, name: str, data: bytes, *, overwrite: bool = False) -> None:
        self._check(name)
        if not overwrite and self.objects.get(name, data) != data:
            raise StorageError(f"{name}: exists already, with other content")
        self.objects[name] = data
        self.order.append(name)

    address = "memory:lab"

    def get_bytes(self, name: str) -> bytes:
        return self.objects[name]

    @property
    def bulk(self) -> Bulk:
        """Itself, for what asks for many objects at once."""
        return cast("Bulk", self)

    def matching(self, patterns: Sequence[str]) -> Sequence[StoredObject]:
        self._check("the store")
        folders = [pattern.strip("/").split("/") for pattern in patterns]
        return [
            self._stored(name)
            for name in sorted(self.objects)
            if any(len(parts) == name.count("/") + 1 and all(map(fnmatch, name.split("/"), parts)) for parts in folders)
        ]

    def listing(self, prefix: str = "") -> Sequence[StoredObject]:
        return self.list(prefix)

    def folders(self, prefix: str, *, depth: int) -> Sequence[str]:
        inside = [name.removeprefix(f"{prefix}/").split("/") for name in self.objects if name.startswith(f"{prefix}/")]
        return sorted({"/".join(parts[:depth]) for parts in inside if len(parts) > depth})

    def fetch(self, names: Sequence[str]) -> dict[str, bytes]:
        return {name: self.objects[name] for name in names if name in self.objects}

    def _stored(self, name: str) -> StoredObject:
        return StoredObject(name, len(self.objects[name]), START)

    def list(self, prefix: str) -> list[StoredObject]:
        self._check("the store")
        folder = prefix.rstrip("/") + "/"
        return [StoredObject(n, len(d), START) for n, d in sorted(self.objects.items()) if n.startswith(folder)]

    def stat(self, name: str, *, cancel: object = None) -> StoredObject | None:
        return StoredObject(name, len(self.objects[name]), START) if name in self.objects else None

    def delete(self, name: str) -> None:
        self._check(name)
        self.objects.pop(name, None)

    def _check(self, name: str) -> None:
        if name in self.refuse:
            raise StorageError(f"{name}: refused")


def load_entries(store: Store) -> tuple[list[BinlogEntry], list[StorageError]]:
    """Return what a host that knows nothing reads of the archive."""
    found = read_entries(store.matching(["/binlogs/*/*.json"]), Cache(None, ""), store.bulk, INDEXES)
    return all_entries(found), list(found.problems)
