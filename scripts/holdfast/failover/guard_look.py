"""What a guard sees of its own server and of its peer: questions, and what answers mean (pure but for `look`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from holdfast.failover.protocol import Peer, Server
from holdfast.failover.record import Instance
from holdfast.failover.timers import Marker, Progress
from holdfast.failover.wire import GuardReport
from holdfast.gtid import GtidSet

# Two statements a look, on a server without a channel; none of them waits for a lock that a stuck commit can hold.
STATE = (
    "SELECT @@GLOBAL.server_uuid AS server_uuid, @@GLOBAL.version AS version, @@GLOBAL.read_only AS read_only,"
    " @@GLOBAL.super_read_only AS super_read_only, @@GLOBAL.offline_mode AS offline_mode,"
    " @@GLOBAL.rpl_semi_sync_source_enabled AS source_enabled,"
    " @@GLOBAL.rpl_semi_sync_replica_enabled AS replica_enabled, @@GLOBAL.gtid_executed AS gtid_executed,"
    " (SELECT GROUP_CONCAT(VARIABLE_NAME, '=', VARIABLE_VALUE) FROM performance_schema.global_status WHERE"
    " VARIABLE_NAME IN ('Rpl_semi_sync_source_wait_sessions', 'Rpl_semi_sync_source_yes_tx',"
    " 'Rpl_semi_sync_source_clients')) AS semi_sync"
)
CHANNELS = "SHOW REPLICA STATUS"
BUSY_WORKERS = (
    "SELECT COUNT(*) FROM performance_schema.replication_applier_status_by_worker WHERE APPLYING_TRANSACTION <> ''"
)
ALL_READ = "Replica has read all relay log; waiting for more updates"
# a notice of a guard whose server is about to be stopped on purpose
LEAVING = "leaving: its server is about to be stopped"


class Asks(Protocol):
    """A session that can be asked."""

    def rows(self, sql: str, args: Sequence[object] = ()) -> list[dict[str, Any]]:
        """All rows, by column name."""

    def value(self, sql: str, args: Sequence[object] = ()) -> Any:
        """The first column of the first row."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a server.

    `server.read_only` is super_read_only: what keeps everybody from writing; `read_only` keeps the application from it.
    `replicas` counts the connected ones that acknowledge. Of its channel, empty without one: `source_host`,
    `io_connected`, `received_position`, `channel_error`.
    """

    server: Server
    read_only: bool
    replica_enabled: bool
    version: str
    gtid_executed: str
    acknowledged: int
    replicas: int
    source_host: str
    io_connected: bool
    received_position: str
    channel_error: str


def look(session: Asks, instance: Instance, uuids: Mapping[str, str]) -> Look:
    """Ask the server. `uuids`: the servers of the pair by address. Raises DatabaseError."""
    state = session.rows(STATE)[0]
    channels = session.rows(CHANNELS)
    busy = 0
    if channels and channels[0]["Replica_SQL_Running_State"] == ALL_READ:
        busy = int(session.value(BUSY_WORKERS))
    return look_of(state, channels, busy, instance, uuids)


def look_of(
    state: Mapping[str, Any],
    channels: Sequence[Mapping[str, Any]],
    busy_workers: int,
    instance: Instance,
    uuids: Mapping[str, str],
) -> Look:
    """What the answers mean (pure)."""
    semi_sync = _numbers(state["semi_sync"])
    channel = _channel(channels)
    server = Server(
        instance=instance,
        read_only=bool(state["super_read_only"]),
        offline=bool(state["offline_mode"]),
        source_enabled=bool(state["source_enabled"]),
        waiting=semi_sync.get("rpl_semi_sync_source_wait_sessions", 0),
        source_of_channel=source_of(channel, uuids) if channel else "",
        receiving=bool(channel) and channel["Replica_IO_Running"] != "No",
        applying=bool(channel) and channel["Replica_SQL_Running"] == "Yes",
        applier_idle=not channel or (channel["Replica_SQL_Running_State"] == ALL_READ and busy_workers == 0),
    )
    return Look(
        server=server,
        read_only=bool(state["read_only"]),
        replica_enabled=bool(state["replica_enabled"]),
        version=str(state["version"]),
        gtid_executed="".join(str(state["gtid_executed"]).split()),
        acknowledged=semi_sync.get("rpl_semi_sync_source_yes_tx", 0),
        replicas=semi_sync.get("rpl_semi_sync_source_clients", 0),
        source_host=str(channel["Source_Host"]) if channel else "",
        io_connected=bool(channel) and channel["Replica_IO_Running"] == "Yes",
        received_position=f"{channel['Source_Log_File']}:{channel['Read_Source_Log_Pos']}" if channel else "",
        channel_error=str(channel["Last_IO_Error"] or channel["Last_SQL_Error"] or "") if channel else "",
    )


def _numbers(text: str | None) -> dict[str, int]:
    pairs = (pair.partition("=") for pair in (text or "").split(","))
    return {name.lower(): int(value) for name, _, value in pairs if value.isdecimal()}


def _channel(channels: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The default channel; else any, for a primary must have none."""
    unnamed = [row for row in channels if not row["Channel_Name"]]
    return (unnamed or [*channels, {}])[0]


def source_of(channel: Mapping[str, Any], uuids: Mapping[str, str]) -> str:
    """The server_uuid of a channel's source; words that match no server when it has not been heard yet (pure).

    By its address, as the channel itself knows the uuid only once it was connected, and an older one until then.
    """
    address = str(channel["Source_Host"])
    return uuids.get(address) or str(channel["Source_UUID"] or "") or f"the server at {address}"


def progress_of(seen: Look, report: GuardReport | None) -> Progress:
    """What must move while commits wait for the replica (pure)."""
    return Progress(seen.acknowledged, report.received_position if report else "")


def peer_of(report: GuardReport, me: str, seen: Look, marker: Marker) -> Peer | None:
    """The peer as its guard reports it, None while its SQL is silent (pure). ValueError for a GTID set that is none."""
    server = report.server
    if server is None:
        return None
    theirs = gtids(report.gtid_executed)
    proven = marker.executed is not None and marker.instance == server.instance
    return Peer(
        instance=server.instance,
        writable=server.writable,
        replicates_from_me=streams_from(report, me),
        has_mine=proven and gtids(marker.executed or "") <= theirs,
        lacks_nothing_extra=gtids(seen.gtid_executed) <= theirs,
    )


def streams_from(report: GuardReport, me: str) -> bool:
    """Whether the peer replicates from this server, and is not about to stop (pure)."""
    server = report.server
    return bool(server and server.source_of_channel == me and report.io_connected and LEAVING not in report.notices)


def extra(mine: str, theirs: str) -> GtidSet:
    """The errant transactions: what this server has executed and the other has not (pure). ValueError."""
    return gtids(mine) - gtids(theirs)


@lru_cache(maxsize=16)
def gtids(text: str) -> GtidSet:
    """A set, read once as long as it does not change. ValueError."""
    return GtidSet.parse(text)
