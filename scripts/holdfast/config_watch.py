"""The section `watch` of the configuration: who watches what, and from when on something is an alarm."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from holdfast.config_reader import NOT_NEGATIVE, POSITIVE, Rules, matches


@dataclass(frozen=True)
class LimitsConfig:
    """From when on something is an alarm, in the unit of the name; percentages are whole numbers."""

    success_maximum_age_hours: int
    full_maximum_age_hours: int
    heartbeat_maximum_age_hours: int
    drill_maximum_age_days: int
    cleanup_maximum_age_hours: int
    full_minimum_percent_of_data: int
    full_minimum_percent_of_last: int
    incremental_maximum_percent: int
    clock_skew_seconds: int
    certificate_days: int
    disk_percent: int
    disk_critical_percent: int
    replica_lag_seconds: int
    binlog_expiry_hours: int
    stream_maximum_age_minutes: int


@dataclass(frozen=True)
class WatchConfig:
    """`speaker` judges the store; `database_hosts` speak, in this order, when it is silent.

    `binlog_stream`: whether one of them should carry its binlogs into the store as they are written.

    `clock_peers` are name=address:port of health responders, `expiries` name=YYYY-MM-DD of keys whose end no program
    can ask for. The price is that of a terabyte (10^12 bytes) stored for a month.
    """

    speaker: str
    database_hosts: tuple[str, ...]
    binlog_stream: bool
    services: tuple[str, ...]
    disks: tuple[str, ...]
    certificates: tuple[str, ...]
    clock_peers: tuple[str, ...]
    expiries: tuple[str, ...]
    price_per_terabyte_month: float
    currency: str
    limits: LimitsConfig

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every host that has a watcher."""
        return (self.speaker, *self.database_hosts)


def _names_a_day(entry: str) -> bool:
    name, _, day = entry.rpartition("=")
    try:
        date.fromisoformat(day)
    except ValueError:
        return False
    return bool(name) and len(day) == len("2026-12-31")


_PERCENT = (lambda value: 0 <= value <= 100, "a percentage, 0 to 100")
_PERCENTAGES = {name for name in LimitsConfig.__dataclass_fields__ if "percent" in name}

WATCH_RULES: Rules = {
    "watch.services": (lambda units: all("." in unit for unit in units), "systemd units with their ending"),
    "watch.disks": (lambda paths: all(Path(path).is_absolute() for path in paths), "absolute paths"),
    "watch.certificates": (lambda paths: all(Path(path).is_absolute() for path in paths), "absolute paths"),
    "watch.clock_peers": (
        lambda peers: all(matches(r"[A-Za-z0-9][A-Za-z0-9.-]*=[^=]+:[0-9]+")(peer) for peer in peers),
        "name=address:port each",
    ),
    "watch.expiries": (
        lambda entries: all(_names_a_day(entry) for entry in entries),
        "name=YYYY-MM-DD each",
    ),
    "watch.price_per_terabyte_month": NOT_NEGATIVE,
    **{
        f"watch.limits.{name}": _PERCENT if name in _PERCENTAGES else POSITIVE
        for name in LimitsConfig.__dataclass_fields__
    },
}
