"""Which run of a server's life a backup or binlog belongs to (docs/decisions/lineage-by-evidence.md).

After a re-clone or a restore the server's UUID may stay while its pages and binlog names start over; what was taken
before must never be mixed with what is taken after.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from holdfast.clock import compact_utc, format_utc
from holdfast.errors import ConfigurationError
from holdfast.gtid import GtidSet

MARKER = Path("#clone") / "#view_status"  # what MySQL leaves in a data directory that was seeded by a remote CLONE


@dataclass(frozen=True)
class Evidence:
    """What the server shows of itself now. `clone_marker` is '' on a server that was never cloned into."""

    server_uuid: str
    clone_marker: str
    gtid_executed: GtidSet
    binlog_file: str


@dataclass(frozen=True)
class LineageState:
    """What was last seen of this host's server, and the name of the line that it was on."""

    lineage: str
    server_uuid: str
    clone_marker: str
    gtid_seen: GtidSet
    binlog_sequence_seen: int
    started_at: datetime
    reason: str = ""


def decide(previous: LineageState | None, evidence: Evidence, now: datetime) -> LineageState:
    """The same lineage with fresh evidence, or a new one whose `reason` says what broke the old."""
    sequence = sequence_of(evidence.binlog_file)
    broken = "" if previous is None else broken_by(previous, evidence)
    if previous is None or broken:
        return LineageState(
            lineage=f"{evidence.server_uuid}-{compact_utc(now)}",
            server_uuid=evidence.server_uuid,
            clone_marker=evidence.clone_marker,
            gtid_seen=evidence.gtid_executed,
            binlog_sequence_seen=sequence,
            started_at=now,
            reason=broken or "first seen on this host",
        )
    return LineageState(
        lineage=previous.lineage,
        server_uuid=previous.server_uuid,
        clone_marker=previous.clone_marker,
        gtid_seen=evidence.gtid_executed,
        binlog_sequence_seen=sequence,
        started_at=previous.started_at,
        reason=previous.reason,
    )


def broken_by(previous: LineageState, evidence: Evidence) -> str:
    """What shows that this is no longer the line that was seen before; empty if nothing does (pure)."""
    if previous.server_uuid != evidence.server_uuid:
        return f"the server's UUID was {previous.server_uuid}"
    if previous.clone_marker != evidence.clone_marker:
        return "the server was cloned anew"
    if not previous.gtid_seen <= evidence.gtid_executed:
        return f"the server no longer has {(previous.gtid_seen - evidence.gtid_executed).one_line()}"
    if sequence_of(evidence.binlog_file) < previous.binlog_sequence_seen:
        return f"binlogs started over: {evidence.binlog_file} after number {previous.binlog_sequence_seen}"
    return ""


def sequence_of(binlog_file: str) -> int:
    """123 for binlog.000123. Raises ValueError for a name without a number."""
    return int(binlog_file.rpartition(".")[2])


def clone_marker(data_directory: Path) -> str:
    """SHA-256 of what the last remote CLONE left in the data directory; '' if there was none."""
    try:
        return hashlib.sha256((data_directory / MARKER).read_bytes()).hexdigest()
    except FileNotFoundError:
        return ""


def update(state_directory: Path, observe: Callable[[], Evidence], now: datetime) -> LineageState:
    """Look at the server, decide, and keep the answer in the state directory.

    Two jobs may come here at once on a host's first hour; they must agree, so the observation is made under the lock.
    Raises ConfigurationError for a state file that is not readable.
    """
    path = state_directory / "lineage.json"
    with (state_directory / "lineage.lock").open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state = decide(_read(path), observe(), now)
        temporary = path.with_suffix(".new")
        with temporary.open("w", encoding="ascii") as target:
            target.write(_to_json(state))
            target.flush()
            os.fsync(target.fileno())
        temporary.replace(path)
    return state


def remembered(state_directory: Path) -> str:
    """The line of this host's server, as it was seen last; '' if it never was."""
    state = _read(state_directory / "lineage.json")
    return "" if state is None else state.lineage


def _to_json(state: LineageState) -> str:
    document = {
        "lineage": state.lineage,
        "server_uuid": state.server_uuid,
        "clone_marker": state.clone_marker,
        "gtid_seen": str(state.gtid_seen),
        "binlog_sequence_seen": state.binlog_sequence_seen,
        "started_at": format_utc(state.started_at),
        "reason": state.reason,
    }
    return json.dumps(document, indent=1) + "\n"


def _read(path: Path) -> LineageState | None:
    try:
        text = path.read_text(encoding="ascii")
    except FileNotFoundError:
        return None
    try:
        document = json.loads(text)
        return LineageState(
            lineage=document["lineage"],
            server_uuid=document["server_uuid"],
            clone_marker=document["clone_marker"],
            gtid_seen=GtidSet.parse(document["gtid_seen"]),
            binlog_sequence_seen=int(document["binlog_sequence_seen"]),
            started_at=datetime.fromisoformat(document["started_at"]),
            reason=document["reason"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{path} is not readable: {error}",
            meaning="Without it nothing tells whether the server was re-cloned since the last backup.",
            remedy=f"Remove {path}: the next backup starts a new lineage with a full.",
        ) from error
