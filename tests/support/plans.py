"""Manifests and binlog entries in shorthand, for the tests of plans and restores."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from holdfast.backup.binlogs import BinlogEntry
from holdfast.backup.manifest import Manifest
from holdfast.gtid import GtidSet

A = "aaaaaaaa-71ca-11e1-9e33-c80aa9429562"
B = "bbbbbbbb-71ca-11e1-9e33-c80aa9429562"
START = datetime(2026, 11, 1, tzinfo=UTC)


def minute(number: float) -> datetime:
    return START + timedelta(minutes=number)


def gtids(text: str) -> GtidSet:
    return GtidSet.parse(text.replace("A", A).replace("B", B))


def backup(
    name: str,
    upper: str,
    finished: float,
    *,
    contained: str | None = None,
    lineage: str = "db1",
    parent: str | None = None,
) -> Manifest:
    return Manifest(
        id=name,
        cluster="lab",
        type="incremental" if parent else "full",
        engine="clone",
        engine_version="1",
        server_version="9.7.4",
        series="9.7",
        host=lineage,
        server_uuid=A,
        lineage=lineage,
        parent_id=parent,
        chain_id=parent or name,
        from_lsn=None,
        to_lsn=None,
        gtid_contained=gtids(upper if contained is None else contained),
        gtid_upper=gtids(upper),
        binlog_file="binlog.000001",
        binlog_position=4,
        started_at=minute(finished - 1),
        finished_at=minute(finished),
        data_bytes=1000,
        stored_bytes=500,
        segments=(),
        compression="lz4",
        encrypted=True,
        on_primary=False,
        fingerprint=None,
    )


def binlog(name: str, previous: str, new: str, first: float | None, last: float | None) -> BinlogEntry:
    """`name` is lineage/number."""
    lineage, _, number = name.partition("/")
    return BinlogEntry(
        lineage=lineage,
        server_uuid=A,
        host=lineage,
        file=f"binlog.{int(number):06d}",
        size=100,
        stored_size=50,
        sha256="",
        content_sha256="",
        previous_gtids=gtids(previous),
        gtids=gtids(new),
        first_time=None if first is None else minute(first),
        last_time=None if last is None else minute(last),
        server_version="9.7.4",
        archived_at=minute(1000),
    )


FULL = backup("full", "A:1-10", 10)
INCREMENTAL = backup("inc", "A:1-30", 30, parent="full")
FILES = [
    binlog("db1/1", "", "A:1-10", 1, 10),
    binlog("db1/2", "A:1-10", "A:11-20", 11, 20),
    binlog("db1/3", "A:1-20", "", None, None),
    binlog("db1/4", "A:1-20", "A:21-40", 21, 40),
    binlog("db1/5", "A:1-40", "A:41-50", 41, 50),
]
