"""The section `failover` of the configuration: keeper, guards, manager, and who is who in the pair."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from holdfast.config_reader import PORT, Rules, matches, one_of


@dataclass(frozen=True)
class TlsConfig:
    """This host's certificate of the pair's authority; programs are authorised by its common name, the host's."""

    ca_file: Path
    certificate_file: Path
    key_file: Path


@dataclass(frozen=True)
class KeeperConfig:
    """Where the keeper listens, and its one file."""

    host: str
    address: str
    port: int
    record_file: Path


@dataclass(frozen=True)
class DatabaseHostConfig:
    """One server of the pair; `relay_*` are ports on it that lead to its peer's guard and administrative MySQL port."""

    name: str
    address: str
    mysql_port: int
    admin_port: int
    guard_port: int
    relay_admin_port: int
    relay_guard_port: int
    health_port: int


@dataclass(frozen=True)
class RobotConfig:
    """Hetzner Robot, which can reset a host; `servers` are `host=number` pairs."""

    api_url: str
    account_file: Path
    servers: tuple[str, ...]


@dataclass(frozen=True)
class TimingConfig:
    """How long each program waits, in seconds; the names are those of failover/protocol.py's constants."""

    tick_seconds: float
    no_progress_seconds: float
    isolation_seconds: float
    statement_seconds: float
    sql_silent_seconds: float
    marker_seconds: float
    grey_failure_seconds: float
    silence_seconds: float
    heartbeat_window_seconds: float
    fence_step_seconds: float
    drain_seconds: float


@dataclass(frozen=True)
class FailoverConfig:
    """Everything that keeper, guard, fence and manager have to know of the site."""

    manager: str
    fence_policy: str
    tls: TlsConfig
    keeper: KeeperConfig
    database_hosts: tuple[DatabaseHostConfig, ...]
    app_addresses: tuple[str, ...]
    guard_account_file: Path
    fence_account_file: Path
    replication_account_file: Path
    robot: RobotConfig | None
    timing: TimingConfig


_SECONDS = (lambda value: 0 < value <= 3600, "more than 0 and at most 3600")

FAILOVER_RULES: Rules = {
    "failover.manager": one_of("mysql_failover", "replication_manager"),
    "failover.fence_policy": one_of("proceed", "hold"),
    "failover.keeper.port": PORT,
    "failover.database_hosts": (
        lambda hosts: len(hosts) >= 2 and len({host.name for host in hosts}) == len(hosts),
        "two hosts or more, each once",
    ),
    "failover.robot.servers": (
        lambda pairs: all(matches(r"[A-Za-z0-9][A-Za-z0-9.-]*=[0-9]+")(pair) for pair in pairs),
        "host=number pairs",
    ),
    **{
        f"failover.database_hosts.{name}": PORT
        for name in ("mysql_port", "admin_port", "guard_port", "relay_admin_port", "relay_guard_port", "health_port")
    },
    **{f"failover.timing.{name}": _SECONDS for name in TimingConfig.__dataclass_fields__},
}
