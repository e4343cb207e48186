"""Every alarm of mysql-backup-watch by name; its runbook is docs/runbooks/<name>.md."""

from __future__ import annotations

from collections.abc import Mapping

ALARMS: Mapping[str, str] = {
    # judged from the store, by the app host or by who speaks for it
    "backup_overdue": "a job has left nothing complete in the store for too long",
    "stream_stale": "the replica's binlog no longer goes to the store as it is written",
    "binlog_hole": "moments that cannot be restored, as an archived binlog is missing",
    "backup_damaged": "an object in the store does not count, or a chain is broken",
    "full_too_small": "a full backup is smaller than a full of this server can be",
    "incremental_too_large": "an incremental is nearly as large as its full",
    "drill_failed": "the last restore drill failed",
    "drill_overdue": "no restore drill has passed for too long",
    "cleanup_overdue": "the cleanup has not run",
    "host_silent": "a host's watcher says nothing any more",
    "store_unreachable": "the watcher cannot read the store",
    # about itself
    "watch_failed": "a part of the watcher broke off",
    # judged by each host of itself
    "clock_skew": "this host's clock differs",
    "certificate_expiring": "a certificate or key expires soon",
    "disk_filling": "a disk is nearly full",
    "raid_degraded": "a RAID has lost a disk",
    "program_not_running": "a program that should run does not",
    "mysql_unreachable": "MySQL on this host does not answer",
    "mysqld_restarted": "mysqld was started anew",
    "replication_stopped": "a replication thread does not run",
    "replica_lag": "the replica is far behind",
    "semi_sync_off": "the primary acknowledges without its replica",
    "errant_transactions": "a server has transactions that the primary does not have",
    "binlog_about_to_expire": "MySQL will remove a binlog that is not archived",
}

# What is judged from the store: by one host at a time.
FROM_THE_STORE = frozenset(
    {
        "backup_overdue",
        "stream_stale",
        "binlog_hole",
        "backup_damaged",
        "full_too_small",
        "incremental_too_large",
        "drill_failed",
        "drill_overdue",
        "cleanup_overdue",
        "host_silent",
    }
)
FROM_THE_HOST = frozenset(
    {"clock_skew", "certificate_expiring", "disk_filling", "raid_degraded", "program_not_running"}
)
FROM_MYSQL = frozenset(
    {
        "mysql_unreachable",
        "mysqld_restarted",
        "replication_stopped",
        "replica_lag",
        "semi_sync_off",
        "errant_transactions",
        "binlog_about_to_expire",
    }
)

# What a guard says within seconds; while one runs on this host the watcher does not say it again.
GUARDS_OWN = frozenset({"mysql_unreachable", "replication_stopped", "semi_sync_off", "errant_transactions"})


def runbook_of(alarm: str) -> str:
    """The file of an alarm's runbook (pure)."""
    return f"{alarm}.md"
