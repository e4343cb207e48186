"""What a plan will cost in bytes, disk and seconds, and how it reads. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from holdfast.backup.drills import Drill, newest_passed
from holdfast.clock import format_utc
from holdfast.recovery.plan import Plan
from holdfast.recovery.target import ToTime

# Assumptions until drills have measured this site; the replay rate was seen on 2 cores with 4 workers.
DOWNLOAD_BYTES_PER_SECOND = 60e6
UNPACK_BYTES_PER_SECOND = 150e6
REPLAY_TRANSACTIONS_PER_SECOND = 4000.0
REPLAY_BYTES_PER_SECOND = 10e6
FIXED_SECONDS = 15.0
# A drill that moved less than this measured its own start, not a rate.
TELLING_BYTES = 64 << 20
TELLING_TRANSACTIONS = 1000
# An incremental is unpacked beside its parent; its blocks were compressed about this well.
UNPACKED_PER_STORED_BYTE = 4
# InnoDB's redo, undo and temporary files of the side server, and its log.
SERVER_BYTES = 1 << 30


@dataclass(frozen=True)
class Estimate:
    """Bytes to fetch, bytes needed on disk at the peak, transactions to replay at most, seconds."""

    download_bytes: int
    disk_bytes: int
    transactions: int
    seconds: float


@dataclass(frozen=True)
class Rates:
    """How fast a restore goes: bytes of the data directory made a second, transactions replayed a second.

    None: not measured. `at` is the drill's time (UTC).
    """

    restored_bytes_per_second: float | None = None
    transactions_per_second: float | None = None
    at: datetime | None = None


def rates_of(drills: Iterable[Drill]) -> Rates:
    """What the newest drill that passed has measured, as far as it was long enough to tell."""
    drill = newest_passed(drills)
    if drill is None:
        return Rates()
    told = drill.measured
    bytes_, seconds = told.get("data_bytes", 0.0), told.get("restore_seconds", 0.0)
    transactions, replay = told.get("transactions", 0.0), told.get("replay_seconds", 0.0)
    return Rates(
        bytes_ / seconds if bytes_ >= TELLING_BYTES and seconds > 0 else None,
        transactions / replay if transactions >= TELLING_TRANSACTIONS and replay > 0 else None,
        drill.at,
    )


def estimate(plan: Plan, rates: Rates = Rates()) -> Estimate:  # noqa: B008  (frozen)
    """The cost of a plan."""
    backups = sum(manifest.stored_bytes for manifest in plan.chain)
    stored = sum(entry.stored_size for entry in plan.binlogs)
    raw = sum(entry.size for entry in plan.binlogs)
    gtids = [entry.gtids - plan.chain[-1].gtid_contained for entry in plan.binlogs]
    transactions = sum(one.count() for one in gtids)
    data = max(manifest.data_bytes for manifest in plan.chain)
    increments = sum(manifest.stored_bytes for manifest in plan.chain[1:]) * UNPACKED_PER_STORED_BYTE
    base = backups / DOWNLOAD_BYTES_PER_SECOND + (data + increments) / UNPACK_BYTES_PER_SECOND
    if rates.restored_bytes_per_second:
        base = data / rates.restored_bytes_per_second
    replay = max(transactions / REPLAY_TRANSACTIONS_PER_SECOND, raw / REPLAY_BYTES_PER_SECOND)
    if rates.transactions_per_second:
        replay = transactions / rates.transactions_per_second
    seconds = base + stored / DOWNLOAD_BYTES_PER_SECOND + replay + FIXED_SECONDS
    # The raw binlogs, the relay logs cut from them, and at most as much again that the replay adds to the data.
    return Estimate(backups + stored, data + increments + stored + 3 * raw + SERVER_BYTES, transactions, seconds)


def human_bytes(count: float) -> str:
    """A size as people read it."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def moment(time: datetime, zone: str) -> str:
    """A time in UTC and in the site's zone."""
    return f"{format_utc(time)} ({time.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M:%S %Z})"


def describe(plan: Plan, cost: Estimate, free_bytes: int, zone: str, rates: Rates = Rates()) -> str:  # noqa: B008
    """The plan as `mysql-restore plan` prints it."""
    tip = plan.chain[-1]
    lines = [
        f"target      {plan.target}",
        f"window      {moment(plan.window.start, zone)} to {moment(plan.window.end, zone)}",
        f"backup      {tip.id}, ended {moment(tip.finished_at, zone)}",
    ]
    lines += [f"  chain     {m.id} ({m.type}, {human_bytes(m.stored_bytes)})" for m in plan.chain]
    lines += [
        f"binlogs     {len(plan.binlogs)} files, {human_bytes(sum(e.size for e in plan.binlogs))},"
        f" at most {cost.transactions} transactions"
    ]
    lines += [
        f"  file      {entry.lineage}/{entry.file} ({human_bytes(entry.stored_size)}"
        + (f", until {format_utc(entry.last_time)})" if entry.last_time else ")")
        for entry in plan.binlogs
    ]
    if plan.abandoned:
        lines.append(f"left out    {plan.abandoned.one_line()} (given up by a promotion, restore or salvage)")
    lines += [
        f"download    {human_bytes(cost.download_bytes)}",
        f"disk        {human_bytes(cost.disk_bytes)} needed, {human_bytes(free_bytes)} free",
        f"time        about {duration(cost.seconds)} ({basis(rates)})",
    ]
    lines += [f"note        {note}" for note in plan.notes]
    return "\n".join(lines)


def basis(rates: Rates) -> str:
    """From what the time of a plan is foretold."""
    if rates.at is None:
        return (
            f"assumed: {DOWNLOAD_BYTES_PER_SECOND / 1e6:.0f} MB/s download,"
            f" {REPLAY_TRANSACTIONS_PER_SECOND:.0f} transactions/s; no drill has measured this site yet"
        )
    parts = []
    if rates.restored_bytes_per_second:
        parts.append(f"{human_bytes(rates.restored_bytes_per_second)}/s of data")
    if rates.transactions_per_second:
        parts.append(f"{rates.transactions_per_second:.0f} transactions/s")
    told = " and ".join(parts)
    if len(parts) == 2:
        return f"{told}, measured by the drill of {format_utc(rates.at)}"
    return (
        f"{f'{told} measured, the rest' if told else ''} assumed: the drill of {format_utc(rates.at)} was small".strip()
    )


def document(plan: Plan, cost: Estimate, free_bytes: int) -> dict[str, object]:
    """The plan for programs, as `mysql-restore plan --json` prints it; times in UTC (pure)."""
    return {
        "schema_version": 1,
        "target": str(plan.target),
        "backup": plan.chain[-1].id,
        "chain": [manifest.id for manifest in plan.chain],
        "binlogs": [f"{entry.lineage}/{entry.file}" for entry in plan.binlogs],
        "window": {"start": format_utc(plan.window.start), "end": format_utc(plan.window.end)},
        "reaches": format_utc(reaches(plan)),
        "download_bytes": cost.download_bytes,
        "disk_bytes": cost.disk_bytes,
        "free_bytes": free_bytes,
        "transactions": cost.transactions,
        "seconds": round(cost.seconds, 1),
        "left_out": plan.abandoned.one_line(),
        "notes": list(plan.notes),
    }


def reaches(plan: Plan) -> datetime:
    """Nothing committed after this moment (UTC) is in the restored data; exact for a time and the last (pure)."""
    last = max([entry.last_time for entry in plan.binlogs if entry.last_time] + [plan.chain[-1].finished_at])
    return min(last, plan.target.at) if isinstance(plan.target, ToTime) else last


def duration(seconds: float) -> str:
    """Seconds as people read them."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
