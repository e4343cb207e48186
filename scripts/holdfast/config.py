"""The one configuration file, /etc/holdfast/config.yml, as frozen dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import yaml

from holdfast.config_failover import FAILOVER_RULES, FailoverConfig
from holdfast.config_reader import (
    NAME,
    NOT_NEGATIVE,
    POSITIVE,
    Rules,
    at_least,
    is_time,
    is_zone,
    matches,
    one_of,
    section,
)
from holdfast.config_retention import RETENTION_RULES, WEEKDAYS, RetentionConfig
from holdfast.config_watch import WATCH_RULES, WatchConfig
from holdfast.errors import ConfigurationError

DEFAULT_PATH = Path("/etc/holdfast/config.yml")
SCHEMA_VERSION = 1
T = TypeVar("T")


@dataclass(frozen=True)
class MysqlConfig:
    """This host's server: where it listens, where its files and our account lie."""

    series: str
    socket: Path
    data_directory: Path
    mysqld: Path
    backup_account_file: Path


@dataclass(frozen=True)
class BackupConfig:
    """How backups are taken; sizes in bytes, ages and lags in the unit of the name."""

    engine: str
    staging_directory: Path
    spool_directory: Path
    signatures_directory: Path
    segment_bytes: int
    upload_parallel: int
    lz4_level: int
    rate_limit_bytes_per_second: int
    chain_maximum_age_days: int
    replica_maximum_lag_seconds: int
    primary_fallback_age_hours: int
    fingerprint_table_maximum_bytes: int
    full_weekday: str
    time_of_day: str
    xtrabackup_parallel: int
    stream_interval_seconds: int


@dataclass(frozen=True)
class RecoveryConfig:
    """Where a restore works and how much it does at once."""

    directory: Path
    fetch_parallel: int
    replay_workers: int


@dataclass(frozen=True)
class StoreConfig:
    """The offsite store: `remote` is rclone's remote:path under which <cluster>/ lies."""

    rclone_config_file: Path
    remote: str
    encrypted: bool
    attempts: int
    retry_wait_seconds: int
    timeout_seconds: int


@dataclass(frozen=True)
class TelegramConfig:
    """A chat to write to; the token lies in a file of its own."""

    token_file: Path
    chat_id: str
    api_url: str


@dataclass(frozen=True)
class NotificationsConfig:
    """Who is told; `command` gets the message on its standard input."""

    telegram: TelegramConfig | None
    command: tuple[str, ...]
    timeout_seconds: int
    runbooks: str


@dataclass(frozen=True)
class Config:
    """The whole file. A section is null where the host has no part in it; the property then raises and names it."""

    schema_version: int
    cluster: str
    host: str
    time_zone: str
    state_directory: Path
    mysql_or_none: MysqlConfig | None = field(metadata={"key": "mysql"})
    backup_or_none: BackupConfig | None = field(metadata={"key": "backup"})
    recovery_or_none: RecoveryConfig | None = field(metadata={"key": "recovery"})
    store_or_none: StoreConfig | None = field(metadata={"key": "store"})
    retention_or_none: RetentionConfig | None = field(metadata={"key": "retention"})
    failover_or_none: FailoverConfig | None = field(metadata={"key": "failover"})
    watch_or_none: WatchConfig | None = field(metadata={"key": "watch"})
    notifications: NotificationsConfig

    @property
    def mysql(self) -> MysqlConfig:
        """This host's server. Raises ConfigurationError where there is none."""
        return _needed(self.mysql_or_none, "mysql", "a database host")

    @property
    def backup(self) -> BackupConfig:
        """How backups are taken. Raises ConfigurationError on a host that takes none."""
        return _needed(self.backup_or_none, "backup", "a database host")

    @property
    def recovery(self) -> RecoveryConfig:
        """How restores work. Raises ConfigurationError on a host that does none."""
        return _needed(self.recovery_or_none, "recovery", "a database host")

    @property
    def store(self) -> StoreConfig:
        """The offsite store. Raises ConfigurationError on a host that has no way to it."""
        return _needed(self.store_or_none, "store", "a database host or failover_manager_host")

    @property
    def retention(self) -> RetentionConfig:
        """What is kept offsite. Raises ConfigurationError on every host but the one that cleans up."""
        return _needed(self.retention_or_none, "retention", "failover_manager_host")

    @property
    def failover(self) -> FailoverConfig:
        """Keeper, guards and manager. Raises ConfigurationError where the site runs without guards."""
        return _needed(self.failover_or_none, "failover", "a host of a site with mysql_guard_enabled: true")

    @property
    def watch(self) -> WatchConfig:
        """Who watches what. Raises ConfigurationError on a host that nobody told to watch."""
        return _needed(self.watch_or_none, "watch", "a database host, or the host of the failover manager")


def load(path: Path = DEFAULT_PATH) -> Config:
    """Read and check the file; ConfigurationError names the path of what is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{path}: cannot be read: {error}",
            remedy="The role holdfast_programs writes it; run playbooks/backups.yml.",
        ) from None
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: is not YAML: {error}") from None
    try:
        return parse(document)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"{path}: {error.what}",
            meaning=error.meaning,
            remedy=error.remedy or "Correct the variable in the inventory and run the playbook again.",
        ) from None


def parse(document: object) -> Config:
    """The checked configuration in a parsed YAML document (pure)."""
    version = document.get("schema_version") if isinstance(document, Mapping) else None
    if isinstance(version, int) and version != SCHEMA_VERSION:
        # Said before unknown keys are: another version's keys are not mistakes.
        raise ConfigurationError(
            f"schema_version: is {version}, these programs read {SCHEMA_VERSION}",
            meaning="The programs and the configuration on this host are of different releases.",
        )
    return section(Config, document, RULES)


def _needed(found: T | None, name: str, where: str) -> T:
    if found is None:
        raise ConfigurationError(
            f"{name}: is null, but this program needs it",
            meaning="The host has no part in it.",
            remedy=f"Run the program on {where}, or run the playbook that should have written the section.",
        )
    return found


RULES: Rules = {
    "cluster": NAME,
    "host": (matches(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?"), "a host name"),
    "time_zone": (is_zone, "a time zone such as Europe/Berlin"),
    "mysql.series": (matches(r"[0-9]+\.[0-9]+"), 'a series such as "8.4"'),
    "backup.engine": one_of("clone", "xtrabackup"),
    "backup.segment_bytes": (at_least(65536), "at least 65536"),
    "backup.upload_parallel": POSITIVE,
    "backup.lz4_level": (lambda value: 1 <= value <= 12, "1 to 12"),
    "backup.rate_limit_bytes_per_second": NOT_NEGATIVE,
    "backup.chain_maximum_age_days": POSITIVE,
    "backup.replica_maximum_lag_seconds": NOT_NEGATIVE,
    "backup.primary_fallback_age_hours": POSITIVE,
    "backup.fingerprint_table_maximum_bytes": NOT_NEGATIVE,
    "backup.full_weekday": (lambda value: value in WEEKDAYS, "a weekday in English, lower case"),
    "backup.time_of_day": (is_time, 'a time of day such as "02:00"'),
    "backup.xtrabackup_parallel": POSITIVE,
    "backup.stream_interval_seconds": POSITIVE,
    "recovery.fetch_parallel": POSITIVE,
    "recovery.replay_workers": POSITIVE,
    "store.remote": (matches(r"[^-:/][^:]*:.*"), "an rclone remote:path"),
    "store.attempts": POSITIVE,
    "store.retry_wait_seconds": NOT_NEGATIVE,
    "store.timeout_seconds": POSITIVE,
    "notifications.timeout_seconds": POSITIVE,
    **RETENTION_RULES,
    **FAILOVER_RULES,
    **WATCH_RULES,
}
