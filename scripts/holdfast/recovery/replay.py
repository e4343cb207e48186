"""Binlogs become relay logs with exactly the wanted transactions, and MySQL's parallel applier replays them.

Why not `UNTIL` or `mysqlbinlog | mysql`: docs/decisions/replay-by-filtered-relay-logs.md.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from holdfast.binlog import Transaction, filter_transactions, opened
from holdfast.database import Connection
from holdfast.errors import StorageError, ToolError
from holdfast.gtid import GtidSet
from holdfast.recovery.instance import Instance, own_like
from holdfast.recovery.target import BeforeGtid, Cutter, Target, ToGtid, ToSet
from holdfast.service import Service

POLL_SECONDS = 0.5
PROGRESS_SECONDS = 10.0
# The applier says that it has read everything, yet transactions are missing: this long before it is an error.
SETTLE_SECONDS = 30.0
READ_ALL = "Replica has read all relay log"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cut:
    """Relay logs in order, what a server has after them, how many transactions they hold, and where they end."""

    files: tuple[Path, ...]
    expected: GtidSet
    transactions: int
    stopped_at: Transaction | None


def cut_relay_logs(binlogs: Sequence[Path], relay: Path, have: GtidSet, abandoned: GtidSet, target: Target) -> Cut:
    """Write relay.000001 and on into `relay` and remove each binlog that was read.

    Left out: what the server has, what was given up, and all from the target on. Raises StorageError when a file needs
    transactions that are neither there nor replayed, or the target is in none of them; BinlogError for a damaged file.
    """
    cutter, server, total = Cutter(target), have, 0
    files: list[Path] = []
    for binlog in binlogs:
        if cutter.ended:
            binlog.unlink()
            continue
        with opened(binlog) as head:
            missing = head.previous_gtids - abandoned - have
        if missing:
            raise StorageError(
                f"{binlog.name} needs transactions that are in none of the files before it: {missing.one_line()}",
                meaning="Its entry in the store says otherwise; replaying it would leave a hole.",
                remedy="Plan again; if it happens again, choose an earlier target.",
            )

        def keep(transaction: Transaction, have: GtidSet = have) -> bool:
            if abandoned.contains(transaction.source, transaction.number):
                return False
            wanted = cutter.wants(transaction)
            there = have.contains(transaction.source, transaction.number)
            if not wanted and server.contains(transaction.source, transaction.number):
                raise StorageError(
                    f"the backup holds {transaction.gtid}, which is not before the target",
                    meaning="The clocks of the hosts differed, or the backup's manifest is wrong.",
                    remedy="Choose a later target.",
                )
            return wanted and not there

        path = relay / f"relay.{len(files) + 1:06d}"
        kept = filter_transactions(binlog, path, keep)
        binlog.unlink()
        if not kept.transactions:
            path.unlink()
            continue
        files.append(path)
        have, total = have | kept.gtids, total + kept.transactions
    if isinstance(target, ToSet) and not target.gtids <= have:
        raise StorageError(
            f"transactions are in none of the files: {(target.gtids - have).one_line()}",
            meaning="Without them the restored data cannot be compared with what was backed up.",
        )
    if isinstance(target, BeforeGtid) and cutter.stopped_at is None:
        raise StorageError(f"the end of the replay, {target}, is in none of the files")
    if isinstance(target, ToGtid) and not have.contains(target.source, target.number):
        raise StorageError(f"the end of the replay, {target}, is in none of the files")
    return Cut(tuple(files), have, total, cutter.stopped_at)


def replay(instance: Instance, service: Service, connection: Connection, cut: Cut) -> None:
    """Apply the relay logs and detach. Raises ToolError when the applier fails or the result is not as expected."""
    if cut.files:
        index = instance.relay / "relay.index"
        index.write_text("".join(f"{path}\n" for path in cut.files))
        for path in (index, *cut.files):
            own_like(path, instance.directory)
        connection.execute(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST='none', SOURCE_AUTO_POSITION=0,"
            " RELAY_LOG_FILE=%s, RELAY_LOG_POS=4",
            (cut.files[0].name,),
        )
        connection.execute("START REPLICA SQL_THREAD")
        _wait_until_applied(service, connection, cut)
        connection.execute("STOP REPLICA")
        connection.execute("RESET REPLICA ALL")
    executed = executed_on(connection)
    if executed != cut.expected:
        raise ToolError(
            "the restored server does not have exactly the wanted transactions",
            meaning=f"Missing: {(cut.expected - executed).one_line() or 'none'}. "
            f"Too many: {(executed - cut.expected).one_line() or 'none'}.",
            remedy="Do not use it. Run it again; keep the directory's mysqld.log for a bug report.",
        )


def executed_on(connection: Connection) -> GtidSet:
    """The server's executed set."""
    return GtidSet.parse(str(connection.value("SELECT @@GLOBAL.gtid_executed")))


def _wait_until_applied(service: Service, connection: Connection, cut: Cut) -> None:
    pause, began = Event(), time.monotonic()
    reported, read_all_since = began, None
    start = executed_on(connection)
    while True:
        service.check()
        status = connection.rows("SHOW REPLICA STATUS")[0]
        executed = executed_on(connection)
        if status["Replica_SQL_Running"] != "Yes":
            raise _applier_error(connection, status)
        read_all = str(status["Replica_SQL_Running_State"]).startswith(READ_ALL)
        now = time.monotonic()
        if read_all and cut.expected <= executed:
            log.info("replayed %d transactions in %.0f s", cut.transactions, now - began)
            return
        read_all_since = (read_all_since or now) if read_all else None
        if read_all_since is not None and now - read_all_since > SETTLE_SECONDS:
            raise ToolError(
                "the applier has read all relay logs, yet transactions are missing",
                meaning=(cut.expected - executed).one_line(),
                remedy="Run it again; keep the directory's mysqld.log for a bug report.",
            )
        if now - reported >= PROGRESS_SECONDS:
            reported, done = now, (executed - start).count()
            log.info("replay: %d of %d transactions (%d %%)", done, cut.transactions, 100 * done // cut.transactions)
        pause.wait(POLL_SECONDS)


def _applier_error(connection: Connection, status: dict[str, Any]) -> ToolError:
    """What the coordinator and its workers say."""
    workers = connection.rows(
        "SELECT last_error_number AS number, last_error_message AS message, applying_transaction AS gtid"
        " FROM performance_schema.replication_applier_status_by_worker WHERE last_error_number <> 0"
    )
    said = [f"{row['gtid']}: error {row['number']}: {row['message']}" for row in workers]
    return ToolError(
        f"the replay stopped: {status['Last_SQL_Error'] or 'the applier ended without an error'}",
        meaning="\n".join(said),
        remedy="The backup and the binlogs do not fit, or an error of MySQL: try an older target, or another backup.",
    )
