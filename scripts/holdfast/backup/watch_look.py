"""What a watcher looks at on its own host. Thin: watch_host and watch_mysql decide whether something is wrong."""

from __future__ import annotations

import email.utils
import http.client
import logging
import os
import socket
import ssl
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from holdfast.backup.alarm_engine import Memory
from holdfast.backup.binlogs import archived_files
from holdfast.backup.lineage import sequence_of
from holdfast.backup.watch_host import Disk, Expiry, HostView, expiry_of
from holdfast.backup.watch_mysql import LocalBinlog, MysqlView
from holdfast.cluster import observe
from holdfast.config import Config
from holdfast.database import Connection, connect
from holdfast.errors import ToolError
from holdfast.failover.mysqld import process_start
from holdfast.gtid import GtidSet
from holdfast.process import run

ANSWER_SECONDS = 5.0
SQL_SECONDS = 30  # a mysqld that is frozen answers nothing, and no watcher waits for it for ever
PROC = Path("/proc")
GUARD, KEEPER = "mysql-guard.service", "mysql-keeper.service"

log = logging.getLogger(__name__)


def look_at_host(config: Config, memory: Memory, now: datetime) -> HostView:
    """Disks, RAID, clock, certificates and programs of this host."""
    watch = config.watch
    services = states_of(watch.services)
    return HostView(
        now=now,
        host=config.host,
        disks=disks_of(watch.disks, memory),
        mdstat=_text(PROC / "mdstat"),
        expiries=[*map(certificate, watch.certificates), *map(expiry_of, watch.expiries)],
        synchronised=synchronised(),
        offsets=offsets_of(watch.clock_peers),
        services=services,
        told_elsewhere=told_elsewhere(config, services),
    )


def disks_of(paths: Sequence[str], memory: Memory) -> list[Disk]:
    """The file systems under these paths, each once, by the first that names it; what is missing has none."""
    found: dict[int, Disk] = {}
    for path in paths:
        try:
            device, room = Path(path).stat().st_dev, os.statvfs(path)
        except OSError:
            continue
        used = (room.f_blocks - room.f_bfree) * room.f_frsize
        # As df has it: what is kept for root counts as neither used nor free.
        found.setdefault(device, Disk(path, used + room.f_bavail * room.f_frsize, used, memory.used.get(path, ())))
    return list(found.values())


def certificate(path: str) -> Expiry:
    """When the certificate in a file ends."""
    argv = ["openssl", "x509", "-noout", "-enddate", "-in", path]
    try:
        output = run(argv, name="openssl", timeout_seconds=ANSWER_SECONDS).stdout.decode()
        seconds = ssl.cert_time_to_seconds(output.strip().partition("=")[2])
    except (ToolError, ValueError) as error:
        return Expiry(path, None, "; ".join(str(error).splitlines())[:300])
    return Expiry(path, datetime.fromtimestamp(seconds, UTC))


def synchronised() -> bool | None:
    """Whether a time server holds this host's clock; None where nobody can say."""
    argv = ["timedatectl", "show", "--property=NTPSynchronized", "--value"]
    try:
        answer = run(argv, name="timedatectl", timeout_seconds=ANSWER_SECONDS).stdout.strip()
    except ToolError as error:
        log.warning("%s", error.what)
        return None
    return {b"yes": True, b"no": False}.get(answer)


def offsets_of(peers: Sequence[str]) -> dict[str, float]:
    """By how many seconds other hosts' clocks are ahead, to a second or so; who does not answer is left out."""
    found = {}
    for peer in peers:
        name, _, where = peer.partition("=")
        address, _, port = where.rpartition(":")
        began = datetime.now(UTC)
        connection = http.client.HTTPConnection(address, int(port), timeout=ANSWER_SECONDS)
        try:
            connection.request("GET", "/primary")
            date = email.utils.parsedate_to_datetime(connection.getresponse().headers["Date"])
        except (OSError, http.client.HTTPException, ValueError, TypeError) as error:
            log.info("clock of %s: %s", name, error)
            continue
        finally:
            connection.close()
        middle = began + (datetime.now(UTC) - began) / 2
        # A date has whole seconds: half a one is lost on average.
        found[name] = (date.astimezone(UTC) - middle).total_seconds() + 0.5
    return found


def states_of(units: Sequence[str]) -> dict[str, str]:
    """What systemd says of each unit: active, inactive, failed, ...; unknown if it says nothing."""
    if not units:
        return {}
    argv = ["systemctl", "is-active", "--", *units]
    # Its exit status says whether all are active; the lines say it of each.
    try:
        lines = run(argv, name="systemctl", timeout_seconds=ANSWER_SECONDS, check=False).stdout.decode().split()
    except ToolError as error:
        log.warning("%s", error.what)
        lines = []
    # A systemd that does not answer is told of as each of its units: nobody knows whether they run.
    return dict(zip(units, lines, strict=True)) if len(lines) == len(units) else dict.fromkeys(units, "unknown")


def told_elsewhere(config: Config, services: Mapping[str, str]) -> frozenset[str]:
    """The units of which somebody tells at once: of a silent guard the keeper or a peer, of the keeper a guard."""
    failover = config.failover_or_none
    if failover is None:
        return frozenset()
    guards = [host for host in failover.database_hosts if host.name != config.host]
    a_guard_listens = any(listens(host.address, host.guard_port) for host in guards)
    keeper_listens = listens(failover.keeper.address, failover.keeper.port)
    told = {GUARD: a_guard_listens or keeper_listens, KEEPER: a_guard_listens}
    return frozenset(unit for unit, is_told in told.items() if is_told and services.get(unit, "active") != "active")


def listens(address: str, port: int) -> bool:
    """Whether somebody takes a connection."""
    try:
        with socket.create_connection((address, port), timeout=ANSWER_SECONDS):
            return True
    except OSError:
        return False


def look_at_mysql(config: Config, memory: Memory, peers: Mapping[str, GtidSet], now: datetime) -> MysqlView:
    """This host's server; one that does not answer gives a view with `error`. Raises ConfigurationError."""
    nothing = MysqlView(now, memory.born, config.host)
    account, place = config.mysql.backup_account_file, config.mysql.socket
    try:
        with connect(account, socket=place, read_timeout_seconds=SQL_SECONDS) as connection:
            state = observe(connection)
            status = connection.rows(
                "SHOW GLOBAL STATUS WHERE Variable_name IN ('Uptime', 'Rpl_semi_sync_source_status')"
            )
            values = {str(row["Variable_name"]).lower(): str(row["Value"]) for row in status}
            return MysqlView(
                now=now,
                born=memory.born,
                host=config.host,
                started=instance_of(Path(str(connection.value("SELECT @@pid_file")))),
                started_at=now - timedelta(seconds=int(values["uptime"])),
                state=state,
                semi_sync=values.get("rpl_semi_sync_source_status", "").upper() in ("ON", "1"),
                binlogs=local_binlogs(connection, config.state_directory),
                peers=peers,
            )
    except ToolError as error:
        return MysqlView(now, nothing.born, nothing.host, error=error.what)


def instance_of(pid_file: Path, proc: Path = PROC) -> str:
    """A name for the process that runs as mysqld, which no other ever has; the pid file's name if it cannot be told."""
    try:
        pid = int(pid_file.read_text(encoding="ascii"))
        start = process_start(_text(proc / str(pid) / "stat"))
    except (OSError, ValueError, ToolError) as error:
        log.info("%s: %s", pid_file, error)
        return pid_file.name
    return f"{_text(proc / 'sys/kernel/random/boot_id').strip()[:8]}-{start}"


def local_binlogs(connection: Connection, state_directory: Path) -> list[LocalBinlog]:
    """The closed binlogs, when MySQL removes each, and whether the hourly job has archived it."""
    seconds = int(connection.value("SELECT @@GLOBAL.binlog_expire_logs_seconds"))
    if seconds == 0:
        return []
    directory = Path(str(connection.value("SELECT @@log_bin_basename"))).parent
    names = sorted((str(row["Log_name"]) for row in connection.rows("SHOW BINARY LOGS")), key=sequence_of)
    archived = archived_files(state_directory)
    found = []
    for name in names[:-1]:
        try:
            written = datetime.fromtimestamp((directory / name).stat().st_mtime, UTC)
        except OSError:  # removed meanwhile
            continue
        found.append(LocalBinlog(name, written + timedelta(seconds=seconds), name in archived))
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
