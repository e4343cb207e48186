"""What each of a guard's steps does to its server, in the session in which it is decided. The order is the point.

Every statement is bounded; OverdueError says that one is still on its way, and DatabaseError that one was refused.
What has been done by then is safe wherever it stops (the simulation stops it anywhere).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pymysql.optionfile import Parser

from holdfast.config_failover import DatabaseHostConfig
from holdfast.errors import ConfigurationError
from holdfast.failover.guard_session import Session

SOURCE_ON = "SET GLOBAL rpl_semi_sync_source_enabled = ON"
SOURCE_OFF = "SET GLOBAL rpl_semi_sync_source_enabled = OFF"
OFFLINE = "SET GLOBAL offline_mode = ON"
ONLINE = "SET GLOBAL offline_mode = OFF"
READ_ONLY = "SET GLOBAL super_read_only = ON"
NOT_SUPER_READ_ONLY = "SET GLOBAL super_read_only = OFF"
NOT_READ_ONLY = "SET GLOBAL read_only = OFF"
# only the replica that is in sync acknowledges; its receiver must start with this
REPLICA_ON = "SET GLOBAL rpl_semi_sync_replica_enabled = ON"
CONNECT_RETRY_SECONDS = 2
# 8.4 gives up after 10 attempts by default, and 0 does not mean "never" before 9.7.2
RETRY_COUNT = 1_000_000_000
# tells a source without writes from a dead one, within timing.heartbeat_window_seconds
HEARTBEAT_SECONDS = 2
CHANGE_SOURCE = (
    "CHANGE REPLICATION SOURCE TO SOURCE_HOST=%s, SOURCE_PORT=%s, SOURCE_USER=%s, SOURCE_PASSWORD=%s,"
    " SOURCE_AUTO_POSITION=1, SOURCE_SSL=1, SOURCE_SSL_CA=%s, SOURCE_SSL_VERIFY_SERVER_CERT=1,"
    f" SOURCE_HEARTBEAT_PERIOD={HEARTBEAT_SECONDS}, SOURCE_CONNECT_RETRY={CONNECT_RETRY_SECONDS},"
    f" SOURCE_RETRY_COUNT={RETRY_COUNT}"
)


@dataclass(frozen=True, slots=True)
class Account:
    """A MySQL account; never logged."""

    user: str
    password: str = field(repr=False)


def account_in(file: Path) -> Account:
    """The account in an option file. Raises ConfigurationError."""
    parser = Parser()
    try:
        with file.open(encoding="utf-8") as lines:
            parser.read_file(lines)
        return Account(parser.get("client", "user"), parser.get("client", "password"))
    except Exception as error:  # the parser's own errors have no common ancestor that is public
        raise ConfigurationError(
            f"{file}: cannot be read: {type(error).__name__}",
            meaning="It holds the account by which this server would replicate.",
            remedy="Run playbooks/failover.yml again.",
        ) from None


def go_offline(session: Session) -> None:
    """Cut off from everybody: clients are told nothing any more."""
    session.act(OFFLINE)
    session.kill_others(spare_streams=False)


def finish_fence(session: Session) -> None:
    """Not the primary (any more): nobody is left to be told, then what waits may end, then nothing begins."""
    go_offline(session)
    session.act(SOURCE_OFF)
    session.act(READ_ONLY)


def lift_offline(session: Session, *, has_channel: bool) -> None:
    """A read-only server may be talked to again."""
    session.kill_others()
    if not has_channel:
        session.act(SOURCE_ON)
    session.act(ONLINE)


def open_server(session: Session, *, swapped_alone: bool) -> None:
    """The record's primary takes writes."""
    session.kill_others()
    if not swapped_alone:
        session.act(SOURCE_ON)
    session.act(ONLINE)
    session.act(NOT_SUPER_READ_ONLY)
    session.act(NOT_READ_ONLY)


def acknowledge_alone(session: Session) -> None:
    """Commits go on without a replica."""
    session.act(SOURCE_OFF)


def arm(session: Session) -> None:
    """Commits wait for the replica's ACK from now on."""
    session.act(SOURCE_ON)


def attach(session: Session, source: DatabaseHostConfig, account: Account, ca_file: Path) -> None:
    """Replicate from the record's primary. There is no channel and hence no relay log to lose."""
    session.kill_others()
    session.act(SOURCE_OFF)
    session.act(REPLICA_ON)
    session.act(CHANGE_SOURCE, (source.address, source.mysql_port, account.user, account.password, str(ca_file)))
    session.act("START REPLICA")


def start_replica(session: Session, *, replica_enabled: bool) -> None:
    """Replicate on; a receiver that runs without acknowledging begins anew."""
    session.kill_others()
    session.act(SOURCE_OFF)
    if not replica_enabled:
        session.act(REPLICA_ON)
        session.act("STOP REPLICA IO_THREAD")
    session.act("START REPLICA")


def stop_replica(session: Session) -> None:
    """The second comparison found errant transactions."""
    session.act("STOP REPLICA")
