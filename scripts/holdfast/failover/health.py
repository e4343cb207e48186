"""What a proxy and a monitor are told of this host's server: may it be written to, may it be read from (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from holdfast.cluster import ReplicaChannel

OFFLINE_MODE = 3032
"""MySQL's refusal of a login while `offline_mode` is ON: an answer, and a sign that somebody fenced the server."""


class Depth(IntEnum):
    """How much of the server an answer needs; each includes those before it."""

    SWITCHES = 1
    REPLICATION = 2
    STATUS = 3


@dataclass(frozen=True)
class Sample:
    """A server as it answered once. With an `error` the other fields mean nothing.

    `channels` are asked for from Depth.REPLICATION on, `status` (global status variables by name) from Depth.STATUS.
    `seconds_since_contact` tells how long ago, and `lag_at_contact_seconds` how far behind, the replica was when its
    receiver was last seen connected with its lag known; None when that was never seen.
    """

    read_only: bool = True
    super_read_only: bool = True
    offline: bool = False
    channels: tuple[ReplicaChannel, ...] = ()
    receiver_connecting: bool = False
    status: Mapping[str, str] = field(default_factory=dict)
    seconds_since_contact: float | None = None
    lag_at_contact_seconds: int = 0
    error: str = ""
    error_number: int = 0


@dataclass(frozen=True)
class Answer:
    """Yes (HTTP 200) or no (503), and the reason in one line."""

    yes: bool
    reason: str


def no_answer(limit_seconds: float) -> Sample:
    """What is known when the server did not answer in time."""
    return Sample(error=f"mysqld did not answer within {limit_seconds:g} s")


def primary(sample: Sample) -> Answer:
    """Whether writes may be sent here: the server answers, is writable and not offline."""
    if refused := _refusal(sample):
        return refused
    if sample.read_only or sample.super_read_only:
        return Answer(False, "read-only")
    return Answer(True, "primary: writable")


def replica(sample: Sample, maximum_lag_seconds: int) -> Answer:
    """Whether reads may be sent here as to a replica at most `maximum_lag_seconds` behind.

    The primary says no and names itself: a proxy has it as its backup server for reads, by its own check. A replica
    that lost its source goes on for as long as it cannot be further behind than allowed, so that reads live through
    a failover; one that was stopped does not.
    """
    if refused := _refusal(sample):
        return refused
    if not sample.read_only:
        return Answer(False, "this is the primary: reads come here by the proxy's backup server")
    if not sample.channels:
        return Answer(False, "read-only and no replica: an old primary perhaps, or one that is being promoted")
    (channel, *more) = sample.channels
    if more:
        return Answer(False, f"{len(sample.channels)} replication channels: this program knows one")
    if not channel.sql_running:
        return Answer(False, f"the applier does not run{_because(channel)}")
    if not channel.io_running and not sample.receiver_connecting:
        return Answer(False, f"the receiver does not run{_because(channel)}")
    lag = lag_seconds(sample)
    if lag is None:
        return Answer(False, f"how far it is behind {channel.source_host} is unknown{_because(channel)}")
    if lag > maximum_lag_seconds:
        return Answer(False, f"{lag:.0f} s behind {channel.source_host}, {maximum_lag_seconds} s are allowed")
    state = "replica" if channel.io_running else "replica without its source"
    return Answer(True, f"{state}: at most {lag:.0f} s behind {channel.source_host}")


def lag_seconds(sample: Sample) -> float | None:
    """How far behind the replica can be at most; None when nobody knows."""
    if not sample.channels:
        return None
    channel = sample.channels[0]
    if channel.io_running and channel.lag_seconds is not None:
        return channel.lag_seconds
    if sample.seconds_since_contact is None:
        return None
    return sample.lag_at_contact_seconds + sample.seconds_since_contact


def _by_server(sample: Sample) -> bool:
    # 2000 to 2999 are the client's own errors, such as a broken connection.
    return 1000 <= sample.error_number < 2000 or sample.error_number >= 3000


def _refusal(sample: Sample) -> Answer | None:
    if sample.offline or sample.error_number == OFFLINE_MODE:
        return Answer(False, "offline_mode is ON: the server was fenced")
    return Answer(False, sample.error) if sample.error else None


def _because(channel: ReplicaChannel) -> str:
    return f": {channel.last_error}" if channel.last_error else ""


PREFIX = "holdfast_mysql_"
GAUGES: Mapping[str, tuple[str, str]] = {
    "Uptime": ("uptime_seconds", "Age of this mysqld."),
    "Threads_connected": ("threads_connected", "Sessions that are open."),
    "Threads_running": ("threads_running", "Sessions that are at work."),
    "Max_used_connections": ("max_used_connections", "Most sessions that were ever open at once."),
    "Rpl_semi_sync_source_clients": ("semi_sync_source_clients", "Replicas that acknowledge."),
    "Rpl_semi_sync_source_wait_sessions": ("semi_sync_source_wait_sessions", "Commits that wait for the replica."),
}
COUNTERS: Mapping[str, tuple[str, str]] = {
    "Questions": ("questions", "Statements of clients."),
    "Rpl_semi_sync_source_yes_tx": ("semi_sync_source_acknowledged", "Commits that the replica acknowledged."),
    "Rpl_semi_sync_source_no_tx": ("semi_sync_source_unacknowledged", "Commits that no replica acknowledged."),
}
SWITCHES: Mapping[str, tuple[str, str]] = {
    "Rpl_semi_sync_source_status": ("semi_sync_source_status", "1 while commits wait for the replica."),
    "Rpl_semi_sync_replica_status": ("semi_sync_replica_status", "1 while this replica acknowledges."),
}


def metrics(sample: Sample, in_sync: bool | None) -> str:
    """The server in Prometheus' text format; `in_sync`: the record names a replica that has everything, None unknown.

    Written here in a few lines: it must not be a missing package that blinds the monitoring of a database.
    """
    return "".join(
        f"# HELP {PREFIX}{name} {meaning}\n# TYPE {PREFIX}{name} {kind}\n{PREFIX}{name} {float(value)}\n"
        for name, kind, meaning, value in _values(sample, in_sync)
    )


def _values(sample: Sample, in_sync: bool | None) -> Iterator[tuple[str, str, str, float]]:
    offline = sample.offline or sample.error_number == OFFLINE_MODE
    yield "up", "gauge", "1 if mysqld answered, be it with a refusal.", not sample.error or _by_server(sample)
    yield "offline", "gauge", "1 while offline_mode is ON.", offline
    yield "primary", "gauge", "1 if it takes writes, as /primary says.", primary(sample).yes
    if in_sync is not None:
        yield "in_sync", "gauge", "1 while the record names a replica that has every transaction.", in_sync
    if sample.error:
        return
    yield "read_only", "gauge", "1 while read_only is ON.", sample.read_only
    yield "super_read_only", "gauge", "1 while super_read_only is ON.", sample.super_read_only
    yield "replication_channels", "gauge", "Replication channels.", len(sample.channels)
    if sample.channels:
        channel = sample.channels[0]
        yield "replica_receiver_running", "gauge", "1 while the receiver is connected.", channel.io_running
        yield "replica_applier_running", "gauge", "1 while the applier runs.", channel.sql_running
        if (lag := lag_seconds(sample)) is not None:
            yield "replica_lag_seconds", "gauge", "How far behind the replica can be at most.", lag
    for kind, table in (("gauge", GAUGES), ("counter", COUNTERS)):
        for variable, (name, meaning) in table.items():
            if variable in sample.status:
                yield name + "_total" * (kind == "counter"), kind, meaning, float(sample.status[variable])
    for variable, (name, meaning) in SWITCHES.items():
        if variable in sample.status:
            yield name, "gauge", meaning, sample.status[variable] == "ON"
