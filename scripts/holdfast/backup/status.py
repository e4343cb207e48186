"""What tells a person whether the backups are well: the facts, the verdict, and the same for programs. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from holdfast.backup.archive import Archive
from holdfast.backup.coverage import Coverage, Hole, coverage
from holdfast.backup.manifest import Manifest, newest
from holdfast.backup.schedule import CLOCKS_DIFFER
from holdfast.clock import format_utc
from holdfast.gtid import GtidSet
from holdfast.notify import duration_text

BACKUP_MAXIMUM_AGE = timedelta(hours=26)  # a night's backup and two hours of grace
BINLOGS_MAXIMUM_AGE = timedelta(hours=3)  # an hourly job that may fail once
STREAM_MAXIMUM_AGE = timedelta(minutes=15)  # some failed uploads, or a replica that restarts
TERABYTE = 10**12  # as suppliers count


@dataclass(frozen=True)
class Price:
    """What a terabyte (10^12 bytes) costs a month."""

    per_terabyte_month: float
    currency: str


@dataclass(frozen=True)
class Status:
    """What the store shows at `now`. `next_runs` by job, UTC; `price` None: nobody asked what it costs.

    `seen_at` is when the store was looked at, if that was not now; `streams`: whether binlogs should come as they are
    written.
    """

    cluster: str
    now: datetime
    archive: Archive
    covered: Coverage
    next_runs: Mapping[str, datetime] = field(default_factory=dict)
    price: Price | None = None
    seen_at: datetime | None = None
    streams: bool = False

    @property
    def manifests(self) -> Sequence[Manifest]:
        """The complete backups, oldest first."""
        return self.archive.manifests

    @property
    def chains(self) -> dict[str, list[Manifest]]:
        """The backups by chain, newest chain first."""
        found: dict[str, list[Manifest]] = {}
        for manifest in self.manifests:
            found.setdefault(manifest.chain_id, []).append(manifest)
        return dict(sorted(found.items(), reverse=True))

    @property
    def binlog_files(self) -> int:
        """How many binlogs are archived."""
        return sum(piece.files for piece in self.archive.pieces)


def look(
    cluster: str,
    now: datetime,
    archive: Archive,
    *,
    next_runs: Mapping[str, datetime] | None = None,
    price: Price | None = None,
    seen_at: datetime | None = None,
    streams: bool = False,
) -> Status:
    """Put together what was read from the store."""
    covered = coverage(archive.manifests, archive.binlogs)
    return Status(cluster, now, archive, covered, next_runs or {}, price, seen_at, streams)


def problems(status: Status) -> list[str]:
    """What is not well, worst first; empty when all is."""
    found = []
    last = newest(status.manifests)
    if last is None:
        found.append("there is no backup")
    elif last.started_at - status.now > CLOCKS_DIFFER:
        found.append(f"{last.id} lies in the future: check the clocks of this host and of {last.host}")
    elif status.now - last.started_at > BACKUP_MAXIMUM_AGE:
        found.append(f"the newest backup is {age(status, last.started_at)} old")
    archived = max(status.archive.archived.values(), default=None)
    if archived is None:
        found.append("no binlog is archived: only the moments of backups can be restored")
    elif status.now - archived > BINLOGS_MAXIMUM_AGE:
        found.append(f"the last binlog was archived {age(status, archived)} ago")
    found += _stream_problems(status)
    found += [f"does not count: {what}" for what in status.archive.damaged]
    found += [f"broken chain: {what}" for what in status.covered.broken]
    found += [hole_text(hole) for hole in status.covered.holes]
    return found


def _stream_problems(status: Status) -> list[str]:
    """What was streamed last, if that is long ago; as it was when the store was looked at."""
    if not status.streams:
        return []
    seen_at = status.seen_at or status.now
    last = max((sign.at for sign in status.archive.signs), default=None)
    if last is None:
        return ["no binlog has been streamed yet: see `systemctl status holdfast-binlog-stream` on the database hosts"]
    if seen_at - last <= STREAM_MAXIMUM_AGE:
        return []
    return [f"no binlog was streamed since {format_utc(last)}, for {duration_text((seen_at - last).total_seconds())}"]


def last_successes(status: Status) -> Mapping[str, datetime | None]:
    """When each job last left something complete in the store; binlogs by host."""
    found: dict[str, datetime | None] = {
        kind: max((item.finished_at for item in status.manifests if item.type == kind), default=None)
        for kind in ("full", "incremental")
    }
    found |= {f"binlogs {host}": at for host, at in sorted(status.archive.archived.items())}
    if not status.archive.pieces:
        found["binlogs"] = None
    found |= {f"stream {sign.host}": sign.at for sign in sorted(status.archive.signs, key=lambda sign: sign.host)}
    return found


def restorable_until(status: Status) -> datetime | None:
    """The last moment that the store alone gives back; None if it gives back nothing.

    Of a server that was idle it is the moment of its last archived binlog, or of its stream's last sign: nothing was
    written since the transaction before it.
    """
    if not status.covered.windows:
        return None
    last = status.covered.windows[-1]
    reached = [piece.archived_at for piece in status.archive.pieces if piece.gtids <= last.reached]
    reached += [sign.reached for sign in status.archive.signs if sign.gtid_executed <= last.reached]
    behind = [hole for hole in status.covered.holes if hole.start == last.end]
    return last.end if behind else max([last.end, *reached])


def rpo_seconds(status: Status) -> float | None:
    """How much would be lost if both servers were lost now; None: everything."""
    until = restorable_until(status)
    return None if until is None else max(0.0, (status.now - until).total_seconds())


def cost(status: Status) -> dict[str, tuple[int, float]]:
    """Bytes in the store and what they cost a month, by kind and in all, without what requests cost."""
    sizes = {
        "full": sum(item.stored_bytes for item in status.manifests if item.type == "full"),
        "incremental": sum(item.stored_bytes for item in status.manifests if item.type == "incremental"),
        "binlogs": sum(piece.stored_bytes for piece in status.archive.pieces),
        "streamed": sum(file.stored_size for file in status.archive.open_files),
    }
    sizes["total"] = sum(sizes.values())
    price = status.price.per_terabyte_month if status.price else 0.0
    return {kind: (size, size / TERABYTE * price) for kind, size in sizes.items()}


def document(status: Status) -> dict[str, Any]:
    """The same for programs."""
    found = problems(status)
    until = restorable_until(status)
    made: dict[str, Any] = {
        "cluster": status.cluster,
        "at": format_utc(status.now),
        "well": not found,
        "problems": found,
        "last_success": {name: None if at is None else format_utc(at) for name, at in last_successes(status).items()},
        "next_runs": {name: format_utc(at) for name, at in status.next_runs.items()},
        "restorable_until": None if until is None else format_utc(until),
        "rpo_seconds": rpo_seconds(status),
        "restorable": [
            {"from": format_utc(window.start), "to": format_utc(window.end), "backup": window.backup_id}
            for window in status.covered.windows
        ],
        "holes": [
            {"from": format_utc(hole.start), "to": format_utc(hole.end), "missing": str(hole.missing)}
            for hole in status.covered.holes
        ],
        "backups": [
            {
                "id": manifest.id,
                "type": manifest.type,
                "chain": manifest.chain_id,
                "engine": manifest.engine,
                "host": manifest.host,
                "on_primary": manifest.on_primary,
                "finished_at": format_utc(manifest.finished_at),
                "stored_bytes": manifest.stored_bytes,
                "data_bytes": manifest.data_bytes,
            }
            for manifest in status.manifests
        ],
        "binlogs": status.binlog_files,
        "streamed": [
            {"lineage": file.lineage, "file": file.file, "pieces": len(file.pieces), "host": file.host}
            for file in status.archive.open_files
        ],
    }
    if status.seen_at is not None:
        made["seen_at"] = format_utc(status.seen_at)
    if status.price is not None:
        made["cost"] = {
            "currency": status.price.currency,
            "per_terabyte_month": status.price.per_terabyte_month,
            "month": {kind: {"bytes": size, "price": round(price, 2)} for kind, (size, price) in cost(status).items()},
        }
    return made


def hole_text(hole: Hole) -> str:
    """A hole in words."""
    missing = f", missing {_short(hole.missing)}" if hole.missing else ""
    return f"no moment from {format_utc(hole.start)} to {format_utc(hole.end)} can be restored{missing}"


def age(status: Status, at: datetime) -> str:
    """How long ago that was, for people."""
    seconds = (status.now - at).total_seconds()
    return duration_text(seconds) if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"


def _short(gtids: GtidSet) -> str:
    line = gtids.one_line()
    return line if len(line) <= 100 else line[:97] + "..."
