"""One screen that tells a person whether the backups are well. Pure, but for fetching."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from holdfast.backup.archive import Archive
from holdfast.backup.coverage import Coverage, Hole, coverage
from holdfast.backup.manifest import Manifest, newest
from holdfast.backup.schedule import CLOCKS_DIFFER
from holdfast.clock import format_utc
from holdfast.gtid import GtidSet
from holdfast.notify import bytes_text, duration_text

BAR_CHARACTERS = 24
BACKUP_MAXIMUM_AGE = timedelta(hours=26)  # a night's backup and two hours of grace
BINLOGS_MAXIMUM_AGE = timedelta(hours=3)  # an hourly job that may fail once
LISTED_CHAINS = 6


@dataclass(frozen=True)
class Status:
    """What the store shows at `now`; `damaged` names objects that do not count."""

    cluster: str
    now: datetime
    archive: Archive
    covered: Coverage

    @property
    def manifests(self) -> Sequence[Manifest]:
        """The complete backups, oldest first."""
        return self.archive.manifests


def look(cluster: str, now: datetime, archive: Archive) -> Status:
    """Put together what was read from the store."""
    return Status(cluster, now, archive, coverage(archive.manifests, archive.pieces))


def problems(status: Status) -> list[str]:
    """What is not well, worst first; empty when all is."""
    found = []
    last = newest(status.manifests)
    if last is None:
        found.append("there is no backup")
    elif last.started_at - status.now > CLOCKS_DIFFER:
        found.append(f"{last.id} lies in the future: check the clocks of this host and of {last.host}")
    elif status.now - last.started_at > BACKUP_MAXIMUM_AGE:
        found.append(f"the newest backup is {_age(status, last.started_at)} old")
    archived = max(status.archive.archived.values(), default=None)
    if archived is None:
        found.append("no binlog is archived: only the moments of backups can be restored")
    elif status.now - archived > BINLOGS_MAXIMUM_AGE:
        found.append(f"the last binlog was archived {_age(status, archived)} ago")
    found += [f"does not count: {what}" for what in status.archive.damaged]
    found += [f"broken chain: {what}" for what in status.covered.broken]
    found += [_hole_text(hole) for hole in status.covered.holes]
    return found


def text(status: Status) -> str:
    """The screen."""
    found = problems(status)
    lines = [
        f"Backups of {status.cluster}: {'all is well' if not found else 'look here'}   ({format_utc(status.now)})",
        *[f"  ! {problem}" for problem in found],
        "",
        "Last success",
        *[f"  {name:<12} {_moment(status, at)}" for name, at in last_successes(status).items()],
        "",
        "Restorable",
        *([f"  {_window_text(status)}"] if not status.covered.windows else []),
        *[
            f"  {format_utc(window.start)} to {format_utc(window.end)}"
            f"  ({duration_text((window.end - window.start).total_seconds())})"
            for window in status.covered.windows
        ],
        "",
        "Chains",
        *(_chain_lines(status) or ["  none"]),
    ]
    return "\n".join(lines) + "\n"


def document(status: Status) -> dict[str, Any]:
    """The same for programs."""
    found = problems(status)
    return {
        "cluster": status.cluster,
        "at": format_utc(status.now),
        "well": not found,
        "problems": found,
        "last_success": {name: None if at is None else format_utc(at) for name, at in last_successes(status).items()},
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
        "binlogs": sum(piece.files for piece in status.archive.pieces),
    }


def last_successes(status: Status) -> Mapping[str, datetime | None]:
    """When each job last left something complete in the store; binlogs by host."""
    found: dict[str, datetime | None] = {
        kind: max((item.finished_at for item in status.manifests if item.type == kind), default=None)
        for kind in ("full", "incremental")
    }
    found |= {f"binlogs {host}": at for host, at in sorted(status.archive.archived.items())}
    if not status.archive.pieces:
        found["binlogs"] = None
    return found


def bar(size: int, largest: int) -> str:
    """A bar as long as the size among the largest; what is there shows at least one mark."""
    marks = 0 if size == 0 or largest == 0 else max(1, round(BAR_CHARACTERS * size / largest))
    return "#" * marks


def _chain_lines(status: Status) -> list[str]:
    chains: dict[str, list[Manifest]] = {}
    for manifest in status.manifests:
        chains.setdefault(manifest.chain_id, []).append(manifest)
    shown = sorted(chains, reverse=True)[:LISTED_CHAINS]
    largest = max((item.stored_bytes for chain in shown for item in chains[chain]), default=0)
    lines = []
    for chain in shown:
        members = chains[chain]
        total = bytes_text(sum(item.stored_bytes for item in members))
        count = "1 backup" if len(members) == 1 else f"{len(members)} backups"
        lines.append(f"  {chain}  {count}, {total}, {members[0].engine} on {members[0].host}")
        for item in members:
            where = ", on the primary" if item.on_primary else ""
            size = bytes_text(item.stored_bytes)
            when = f"{item.started_at:%a %d %b %H:%M}"
            lines.append(f"    {when} {item.type:<11} {size:>10}  {bar(item.stored_bytes, largest)}{where}")
    if len(chains) > len(shown):
        lines.append(f"  and {len(chains) - len(shown)} older chains")
    return lines


def _window_text(status: Status) -> str:
    return "nothing" if not status.manifests else "nothing: no chain is whole"


def _hole_text(hole: Hole) -> str:
    missing = f", missing {_short(hole.missing)}" if hole.missing else ""
    return f"no moment from {format_utc(hole.start)} to {format_utc(hole.end)} can be restored{missing}"


def _short(gtids: GtidSet) -> str:
    line = gtids.one_line()
    return line if len(line) <= 100 else line[:97] + "..."


def _moment(status: Status, at: datetime | None) -> str:
    return "never" if at is None else f"{format_utc(at)}  {_age(status, at)} ago"


def _age(status: Status, at: datetime) -> str:
    seconds = (status.now - at).total_seconds()
    return duration_text(seconds) if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"
