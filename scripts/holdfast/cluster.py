"""What a MySQL server is at this moment, and whether a backup should be taken from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from holdfast.config import BackupConfig
from holdfast.database import Connection
from holdfast.gtid import GtidSet


@dataclass(frozen=True)
class ReplicaChannel:
    """One replication channel; `lag_seconds` is None when MySQL does not know it, which is not 0."""

    io_running: bool
    sql_running: bool
    lag_seconds: int | None
    last_error: str
    source_host: str


@dataclass(frozen=True)
class ServerState:
    """A server as it showed itself at one moment."""

    server_uuid: str
    version: str
    series: str
    read_only: bool
    super_read_only: bool
    gtid_executed: GtidSet
    binlog_file: str
    binlog_position: int
    channels: tuple[ReplicaChannel, ...]
    connected_replicas: int
    data_directory: Path


@dataclass(frozen=True)
class Verdict:
    """Whether this host works, why, and whether it is the primary that does."""

    work: bool
    reason: str
    on_primary: bool


def observe(connection: Connection) -> ServerState:
    """Ask a server of series 8.4 or later. Raises DatabaseError.

    The account needs REPLICATION CLIENT and, to see the replicas' sessions, PROCESS.
    """
    variables = connection.rows(
        "SELECT @@server_uuid AS server_uuid, @@version AS version, @@read_only AS read_only,"
        " @@super_read_only AS super_read_only, @@datadir AS data_directory, @@gtid_executed AS gtid_executed"
    )[0]
    logs = connection.rows("SHOW BINARY LOG STATUS")
    replicas = connection.value(
        "SELECT COUNT(*) FROM performance_schema.processlist WHERE COMMAND IN ('Binlog Dump', 'Binlog Dump GTID')"
    )
    return ServerState(
        server_uuid=variables["server_uuid"],
        version=variables["version"],
        series=series_of(variables["version"]),
        read_only=bool(variables["read_only"]),
        super_read_only=bool(variables["super_read_only"]),
        gtid_executed=GtidSet.parse(variables["gtid_executed"]),
        binlog_file=logs[0]["File"] if logs else "",
        binlog_position=int(logs[0]["Position"]) if logs else 0,
        channels=tuple(channel_of(row) for row in connection.rows("SHOW REPLICA STATUS")),
        connected_replicas=int(replicas),
        data_directory=Path(variables["data_directory"]),
    )


def series_of(version: str) -> str:
    """The series of a version: 9.7 of 9.7.4-2 (pure)."""
    return ".".join(version.split(".")[:2])


def channel_of(row: Mapping[str, Any]) -> ReplicaChannel:
    """A channel from a row of SHOW REPLICA STATUS (pure)."""
    lag = row["Seconds_Behind_Source"]
    return ReplicaChannel(
        io_running=row["Replica_IO_Running"] == "Yes",
        sql_running=row["Replica_SQL_Running"] == "Yes",
        lag_seconds=None if lag is None else int(lag),
        last_error=row["Last_IO_Error"] or row["Last_SQL_Error"] or "",
        source_host=row["Source_Host"],
    )


def assess_source(
    state: ServerState,
    *,
    role: Literal["backup"] = "backup",
    last_backup_age_hours: float | None,
    config: BackupConfig,
) -> Verdict:
    """Whether a backup is taken from this server now (pure).

    A healthy replica works. A writable primary works only when no replica seems to: none is connected and the last
    backup is `primary_fallback_age_hours` old, or twice as old though one is. `last_backup_age_hours` is None when
    there is no backup. A read-only server without channels is neither: it may be an old primary, freshly booted.
    """
    if role != "backup":
        raise ValueError(f"unknown role {role!r}")
    if state.channels:
        if not state.read_only:
            return Verdict(False, "replicates and yet accepts writes, so it may hold transactions of its own", False)
        for channel in state.channels:
            illness = _illness(channel, config.replica_maximum_lag_seconds)
            if illness is not None:
                return Verdict(False, f"replica of {channel.source_host}: {illness}", False)
        return Verdict(True, f"healthy replica of {state.channels[0].source_host}", False)
    if state.read_only:
        return Verdict(False, "read-only and no replica: perhaps an old primary, freshly started", False)
    return _assess_primary(state.connected_replicas, last_backup_age_hours, config.primary_fallback_age_hours)


def _illness(channel: ReplicaChannel, maximum_lag_seconds: int) -> str | None:
    if not channel.io_running or not channel.sql_running:
        thread = "the receiver" if not channel.io_running else "the applier"
        return f"{thread} does not run{': ' + channel.last_error if channel.last_error else ''}"
    if channel.lag_seconds is None:
        return "its lag is unknown"
    if channel.lag_seconds > maximum_lag_seconds:
        return f"{channel.lag_seconds} s behind, {maximum_lag_seconds} s are allowed"
    return None


def _assess_primary(replicas: int, age_hours: float | None, fallback_hours: int) -> Verdict:
    connected = "no replica is connected" if replicas == 0 else f"{replicas} replica(s) connected"
    if age_hours is None:
        if replicas == 0:
            return Verdict(True, f"primary: {connected} and there is no backup yet", True)
        return Verdict(False, f"primary: {connected}, the first backup is theirs", True)
    # A connected replica may be taking the backup just now, or be too far behind to; a day more tells.
    due_hours = fallback_hours if replicas == 0 else 2 * fallback_hours
    age = f"the last backup is {age_hours:.0f} h old"
    if age_hours >= due_hours:
        return Verdict(True, f"primary: {connected} and {age}", True)
    return Verdict(False, f"primary: {connected}, {age}; it steps in at {due_hours} h", True)
