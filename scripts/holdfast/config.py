"""The one configuration file, /etc/holdfast/config.yml, as frozen dataclasses."""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import time
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import yaml

from holdfast.errors import ConfigurationError

DEFAULT_PATH = Path("/etc/holdfast/config.yml")
SCHEMA_VERSION = 1
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

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
    """The whole file."""

    schema_version: int
    cluster: str
    host: str
    time_zone: str
    state_directory: Path
    mysql: MysqlConfig
    backup: BackupConfig
    recovery: RecoveryConfig
    store: StoreConfig
    notifications: NotificationsConfig


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
    config = _section(Config, document, "")
    for path, (holds, wanted) in RULES.items():
        value: Any = config
        for part in path.split("."):
            value = getattr(value, part)
        if not holds(value):
            raise ConfigurationError(f"{path}: is {value!r}, must be {wanted}")
    return config


def _section(kind: type[T], document: object, path: str) -> T:
    if not isinstance(document, Mapping):
        raise ConfigurationError(f"{path or 'the file'}: must be a mapping")
    types = typing.get_type_hints(kind)
    known = {field.name: field for field in fields(typing.cast(Any, kind))}
    for key in document:
        if key not in known:
            raise ConfigurationError(f"{_join(path, str(key))}: unknown key")
    values: dict[str, object] = {}
    for name, field in known.items():
        if name in document:
            values[name] = _value(types[name], document[name], _join(path, name))
        elif field.default is MISSING:
            raise ConfigurationError(f"{_join(path, name)}: missing")
    return kind(**values)


def _value(kind: Any, value: object, path: str) -> object:
    if isinstance(kind, UnionType):
        if value is None:
            return None
        (kind,) = (member for member in typing.get_args(kind) if member is not NoneType)
    if is_dataclass(kind):
        return _section(typing.cast(type, kind), value, path)
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ConfigurationError(f"{path}: must be a list of strings")
        return tuple(value)
    if kind is Path:
        if not isinstance(value, str) or not value.startswith("/"):
            raise ConfigurationError(f"{path}: must be an absolute path")
        return Path(value)
    # YAML's `yes` and 9.7 are traps: a bool is an int to Python, an unquoted 9.7 is a float.
    if type(value) is not kind:
        noun = {str: "a string (quote it)", int: "a whole number", bool: "true or false"}[kind]
        raise ConfigurationError(f"{path}: must be {noun}, not {value!r}")
    return value


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _matches(pattern: str) -> Callable[[Any], bool]:
    return lambda value: re.fullmatch(pattern, value) is not None


def _at_least(minimum: int) -> Callable[[Any], bool]:
    return lambda value: value >= minimum


def _is_zone(value: str) -> bool:
    try:
        ZoneInfo(value)
    except (ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError
        return False
    except KeyError:
        return False
    return True


def _is_time(value: str) -> bool:
    try:
        return time.fromisoformat(value).tzinfo is None and len(value) == 5
    except ValueError:
        return False


_NAME = (_matches(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"), "lower-case letters, digits and inner hyphens")
_POSITIVE = (_at_least(1), "at least 1")
_NOT_NEGATIVE = (_at_least(0), "0 or more")

RULES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "cluster": _NAME,
    "host": (_matches(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?"), "a host name"),
    "time_zone": (_is_zone, "a time zone such as Europe/Berlin"),
    "mysql.series": (_matches(r"[0-9]+\.[0-9]+"), 'a series such as "8.4"'),
    "backup.engine": (lambda value: value in ("clone", "xtrabackup"), "clone or xtrabackup"),
    "backup.segment_bytes": (_at_least(65536), "at least 65536"),
    "backup.upload_parallel": _POSITIVE,
    "backup.lz4_level": (lambda value: 1 <= value <= 12, "1 to 12"),
    "backup.rate_limit_bytes_per_second": _NOT_NEGATIVE,
    "backup.chain_maximum_age_days": _POSITIVE,
    "backup.replica_maximum_lag_seconds": _NOT_NEGATIVE,
    "backup.primary_fallback_age_hours": _POSITIVE,
    "backup.fingerprint_table_maximum_bytes": _NOT_NEGATIVE,
    "backup.full_weekday": (lambda value: value in WEEKDAYS, "a weekday in English, lower case"),
    "backup.time_of_day": (_is_time, 'a time of day such as "02:00"'),
    "backup.xtrabackup_parallel": _POSITIVE,
    "recovery.fetch_parallel": _POSITIVE,
    "recovery.replay_workers": _POSITIVE,
    "store.remote": (_matches(r"[^-:/][^:]*:.*"), "an rclone remote:path"),
    "store.attempts": _POSITIVE,
    "store.retry_wait_seconds": _NOT_NEGATIVE,
    "store.timeout_seconds": _POSITIVE,
    "notifications.timeout_seconds": _POSITIVE,
}
