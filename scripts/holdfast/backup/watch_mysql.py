"""What is wrong with this host's MySQL: replication, its own restarts, binlogs that nobody archives. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from holdfast.backup.alarm_engine import Finding
from holdfast.clock import format_utc
from holdfast.cluster import ServerState
from holdfast.config_watch import LimitsConfig
from holdfast.gtid import GtidSet

RESTART_IS_NEWS_FOR = timedelta(hours=24)


@dataclass(frozen=True)
class LocalBinlog:
    """A closed binlog on this host, when MySQL will remove it, and whether the store has it."""

    file: str
    expires: datetime
    archived: bool


@dataclass(frozen=True)
class MysqlView:
    """The server as it shows itself at `now`; `error` is why it could not be asked.

    `started` names the running mysqld; `semi_sync` is the source's status. `peers` is what the other servers had at
    their last heartbeat.
    """

    now: datetime
    born: datetime
    host: str
    error: str = ""
    started: str = ""
    started_at: datetime | None = None
    state: ServerState | None = None
    semi_sync: bool = False
    binlogs: Sequence[LocalBinlog] = ()
    peers: Mapping[str, GtidSet] = field(default_factory=dict)


def mysql_findings(view: MysqlView, limits: LimitsConfig) -> list[Finding]:
    """Everything that is wrong, in the order of the rules."""
    return [finding for rule in RULES for finding in rule(view, limits)]


def unreachable(view: MysqlView, limits: LimitsConfig) -> Iterator[Finding]:
    """The server does not answer."""
    del limits
    if view.error:
        yield Finding(
            "mysql_unreachable",
            f"MySQL on {view.host} does not answer: {view.error[:300]}",
            "If it is the primary the application is down; if it is the replica there is no second copy.",
            "See `systemctl status mysql` and /var/log/mysql/error.log.",
        )


def restarted(view: MysqlView, limits: LimitsConfig) -> Iterator[Finding]:
    """A mysqld that began while this host was watched. Without a memory each start of the last day is news."""
    del limits
    at = view.started_at
    if at is None or at <= view.born or view.now - at > RESTART_IS_NEWS_FOR:
        return
    yield Finding(
        "mysqld_restarted",
        f"mysqld on {view.host} was started at {format_utc(at)}",
        "Sessions were cut. It boots read-only, and what was in its buffers has to be read again.",
        "If nobody did it on purpose look at the end of /var/log/mysql/error.log and at `journalctl -u mysql`.",
        subject=view.started,
        event=True,
    )


def replication(view: MysqlView, limits: LimitsConfig) -> Iterator[Finding]:
    """Threads that do not run, and a replica far behind."""
    for channel in view.state.channels if view.state else ():
        stopped = [
            name
            for name, runs in (("the receiver", channel.io_running), ("the applier", channel.sql_running))
            if not runs
        ]
        if stopped:
            verb = "does not" if len(stopped) == 1 else "do not"
            error = f": {channel.last_error[:300]}" if channel.last_error else ""
            yield Finding(
                "replication_stopped",
                f"{' and '.join(stopped)} of replica {view.host} (source {channel.source_host}) {verb} run{error}",
                "The primary has no second copy, and this server cannot take its place.",
                "See SHOW REPLICA STATUS; if its data is damaged it has to be seeded anew.",
            )
        elif channel.lag_seconds is not None and channel.lag_seconds > limits.replica_lag_seconds:
            yield Finding(
                "replica_lag",
                f"replica {view.host} is {channel.lag_seconds} s behind {channel.source_host}"
                f" ({limits.replica_lag_seconds} s are allowed)",
                "Reads from it are old, a failover would take that much longer, and it takes no backup.",
                "See what its applier does; a bulk change on the primary passes by itself.",
            )


def acknowledges_alone(view: MysqlView, limits: LimitsConfig) -> Iterator[Finding]:
    """A primary that no longer waits for its replica."""
    del limits
    if view.state is not None and not view.state.read_only and not view.state.channels and not view.semi_sync:
        count = view.state.connected_replicas
        replicas = f"{count} replica{'' if count == 1 else 's'} connected"
        yield Finding(
            "semi_sync_off",
            f"primary {view.host} acknowledges without its replica ({replicas})",
            "If this host is lost now, what it alone has is lost.",
            "Bring the replica back; semi-sync comes on by itself once it has caught up.",
        )


def errant(view: MysqlView, limits: LimitsConfig) -> Iterator[Finding]:
    """Transactions that another server had at its last heartbeat, and this primary does not have now."""
    del limits
    if view.state is None or view.state.read_only or view.state.channels:
        return
    for host, had in view.peers.items():
        if extra := had - view.state.gtid_executed:
            yield Finding(
                "errant_transactions",
                f"{host} has {extra.count()} transactions that primary {view.host} does not have: "
                f"{extra.one_line()[:300]}",
                "The two differ for ever: a later failover would bring them up.",
                "Save and look at them, then seed that server anew.",
                subject=host,
            )


def about_to_expire(view: MysqlView, limits: LimitsConfig) -> Iterator[Finding]:
    """Binlogs that MySQL will remove and that the store does not have."""
    margin = timedelta(hours=limits.binlog_expiry_hours)
    late = [each for each in view.binlogs if not each.archived and each.expires - view.now <= margin]
    if late:
        first = min(late, key=lambda each: each.expires)
        yield Finding(
            "binlog_about_to_expire",
            f"{len(late)} binlogs of {view.host} are not archived and will be removed, {first.file} first, "
            f"after {format_utc(first.expires)}",
            "Then the moments in them can never be restored.",
            "Run mysql-backup-binlogs on this host and read what it says; SET GLOBAL binlog_expire_logs_seconds higher "
            "gives you time.",
        )


RULES = (unreachable, restarted, replication, acknowledges_alone, errant, about_to_expire)
