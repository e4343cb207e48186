"""One SQL session of fence or manager on a server's administrative port, where full connection slots are no matter."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from holdfast.database import Connection, DatabaseError, connect
from holdfast.failover.parties import Hearing
from holdfast.failover.protocol import Server
from holdfast.failover.record import Instance
from holdfast.gtid import GtidSet, parse_gtid

KILL_SECONDS = 5.0  # protocol.STATEMENT_SECONDS: what does not end in it can act later, so its server must be killed
POLL_SECONDS = 0.05
ALL_APPLIED = "has read all relay log"
NO_SUCH_THREAD = 1094

_LOOK = """
SELECT @@server_uuid AS server_uuid, @@super_read_only AS read_only, @@offline_mode AS offline,
 @@rpl_semi_sync_source_enabled AS source_enabled,
 (SELECT VARIABLE_VALUE FROM performance_schema.global_status
   WHERE VARIABLE_NAME = 'Rpl_semi_sync_source_wait_sessions') AS waiting,
 (SELECT COUNT(*) FROM performance_schema.processlist
   WHERE STATE LIKE 'Waiting for semi-sync ACK%') AS waiting_threads
"""
_OTHERS = """
SELECT ID AS id, USER AS user, STATE AS state FROM performance_schema.processlist
 WHERE ID <> CONNECTION_ID() AND USER NOT IN ('system user', 'event_scheduler')
"""
_HEARING = """
SELECT SERVICE_STATE AS state, TIMESTAMPDIFF(MICROSECOND, GREATEST(LAST_HEARTBEAT_TIMESTAMP,
 LAST_QUEUED_TRANSACTION_END_QUEUE_TIMESTAMP), NOW(6)) / 1e6 AS age,
 GREATEST(LAST_HEARTBEAT_TIMESTAMP, LAST_QUEUED_TRANSACTION_END_QUEUE_TIMESTAMP) > '1970-01-02' AS ever
 FROM performance_schema.replication_connection_status WHERE CHANNEL_NAME = ''
"""
_QUEUE = """
SELECT LAST_QUEUED_TRANSACTION AS last_queued, QUEUEING_TRANSACTION AS queueing
 FROM performance_schema.replication_connection_status WHERE CHANNEL_NAME = ''
"""
_BUSY_WORKERS = """
SELECT COUNT(*) FROM performance_schema.threads WHERE NAME = 'thread/sql/replica_worker'
 AND COALESCE(PROCESSLIST_STATE, '') NOT LIKE 'Waiting for an event from Coordinator%'
"""
_EVENTS = """
SELECT EVENT_SCHEMA AS place, EVENT_NAME AS name, STATUS AS status, DEFINER AS definer FROM information_schema.EVENTS
"""


class AdminSession:
    """A session of the account `holdfast_fence`; statements that do not return within `statement_seconds` end it."""

    def __init__(self, connection: Connection) -> None:
        self._sql = connection

    def look(self, instance: Instance | None = None) -> Server:
        """Return how the server shows itself. Raises DatabaseError."""
        row = self._sql.rows(_LOOK)[0]
        channel = self._channel()
        return Server(
            instance=instance or Instance(row["server_uuid"], "", 0),
            read_only=bool(row["read_only"]),
            offline=bool(row["offline"]),
            source_enabled=bool(row["source_enabled"]),
            waiting=max(int(row["waiting"] or 0), int(row["waiting_threads"])),
            source_of_channel="" if channel is None else channel["Source_UUID"] or channel["Source_Host"],
            receiving=channel is not None and channel["Replica_IO_Running"] != "No",
            applying=channel is not None and channel["Replica_SQL_Running"] == "Yes",
            applier_idle=channel is None or self._applier_idle(channel),
        )

    def executed(self) -> GtidSet:
        """Return what the server has committed."""
        return GtidSet.parse(self._sql.value("SELECT @@gtid_executed"))

    def received(self) -> GtidSet:
        """Return what the server has, committed or in its relay log; the transaction on its way does not count."""
        channel = self._channel()
        if channel is None:
            return self.executed()
        got = GtidSet.parse(channel["Retrieved_Gtid_Set"])
        queueing = self._sql.rows(_QUEUE)[0]["queueing"]
        if queueing and queueing != "ANONYMOUS":
            got = got - GtidSet.single(*parse_gtid(queueing))
        return got | self.executed()

    def hearing(self) -> Hearing:
        """Return how the server hears its source, by its own clock's differences."""
        rows = self._sql.rows(_HEARING)
        if not rows:
            return Hearing(connected=False, age_seconds=None)
        return Hearing(rows[0]["state"] == "ON", float(rows[0]["age"]) if rows[0]["ever"] else None)

    def go_offline(self) -> None:
        """Cut every client without CONNECTION_ADMIN, and let none in."""
        self._sql.execute("SET GLOBAL offline_mode = ON")

    def kill_others(self) -> int:
        """End every session that is there now; the number of those killed.

        A client's connection is closed at once, whatever its session still does. A session of ours (an older guard,
        fence or manager) must be gone, or its statement could come through later: DatabaseError if one stays for 5 s.
        """
        killed = {row["id"] for row in self._sql.rows(_OTHERS) if self._kill(int(row["id"]))}
        deadline = time.monotonic() + KILL_SECONDS
        while acting := [row for row in self._sql.rows(_OTHERS) if row["id"] in killed and _may_still_act(row)]:
            if time.monotonic() > deadline:
                session, user, state = acting[0]["id"], acting[0]["user"], acting[0]["state"] or "no state"
                raise DatabaseError(
                    f"session {session} of {user} does not end: {state}",
                    meaning="It was killed, but its statement may still take effect.",
                )
            time.sleep(POLL_SECONDS)
        return len(killed)

    def set_source(self, enabled: bool) -> None:
        """Let commits wait for a replica's ACK, or not."""
        self._sql.execute(f"SET GLOBAL rpl_semi_sync_source_enabled = {'ON' if enabled else 'OFF'}")

    def set_read_only(self, timeout_seconds: float) -> None:
        """Refuse writes; waits for commits under way, for whole seconds and at least one."""
        self._sql.execute("SET SESSION lock_wait_timeout = %s", (max(1, math.ceil(timeout_seconds)),))
        self._sql.execute("SET GLOBAL super_read_only = ON")

    def stop_receiving(self) -> None:
        """Stop what fetches from the source; what was received stays."""
        self._sql.execute("STOP REPLICA IO_THREAD")

    def start_applying(self) -> None:
        """Apply what was received; a server that has just booted does not by itself (skip_replica_start)."""
        self._sql.execute("START REPLICA SQL_THREAD")

    def applier_error(self) -> str:
        """Return why the applier stopped, empty when it gave no reason."""
        channel = self._channel()
        return "" if channel is None else str(channel["Last_SQL_Error"] or "")

    def detach(self) -> None:
        """Forget the source and the relay log. Raises DatabaseError if a whole transaction in it is not applied."""
        self._sql.execute("STOP REPLICA")
        channel = self._channel()
        if channel is not None and self._remainder(channel):
            raise DatabaseError(f"not applied: {self._remainder(channel)}", meaning="Its relay log is kept.")
        self._sql.execute("RESET REPLICA ALL")

    def events(self) -> dict[str, str]:
        """Return every scheduled event, quoted, with its status: ENABLED, DISABLED or REPLICA_SIDE_DISABLED."""
        return {_event(row): row["status"] for row in self._sql.rows(_EVENTS)}

    def enable_event(self, event: str) -> None:
        """Enable an event that `events` named. Without DEFINER it would become ours."""
        for row in self._sql.rows(_EVENTS):
            if _event(row) == event:
                user, _, host = str(row["definer"]).rpartition("@")
                self._sql.execute(f"ALTER DEFINER = {_quoted(user)}@{_quoted(host)} EVENT {event} ENABLE")

    def close(self) -> None:
        """End the session; never raises."""
        self._sql.close()

    def _channel(self) -> dict[str, Any] | None:
        rows = self._sql.rows("SHOW REPLICA STATUS")
        return rows[0] if rows else None

    def _applier_idle(self, channel: dict[str, Any]) -> bool:
        if ALL_APPLIED not in (channel["Replica_SQL_Running_State"] or ""):
            return False
        return not self._remainder(channel) and not self._sql.value(_BUSY_WORKERS)

    def _remainder(self, channel: dict[str, Any]) -> GtidSet:
        """Return what was received as a whole and is not applied.

        What was retrieved includes a transaction of which only a part came (seen): one, and not the last queued.
        """
        rest = GtidSet.parse(channel["Retrieved_Gtid_Set"]) - GtidSet.parse(channel["Executed_Gtid_Set"])
        queued = self._sql.rows(_QUEUE)
        last = queued[0]["last_queued"] if queued else ""
        if rest.count() == 1 and last != str(rest):
            return GtidSet()
        return rest

    def _kill(self, session: int) -> bool:
        try:
            self._sql.execute(f"KILL CONNECTION {session}")
        except DatabaseError as error:
            if error.number != NO_SUCH_THREAD:
                raise
            return False
        return True


def log_in(
    account_file: Path, ca_file: Path, address: str, port: int, *, connect_seconds: float, statement_seconds: float
) -> AdminSession:
    """Open a session. Raises DatabaseError; `answers` tells whether that was an answer.

    The certificate must be of the pair's authority; its names are not compared, for a relay has another address.
    """
    limit = max(1, math.ceil(connect_seconds))
    connection = connect(
        account_file,
        host=address,
        port=port,
        ssl_ca=ca_file,
        ssl_check_hostname=False,
        connect_timeout_seconds=limit,
        read_timeout_seconds=limit,
    )
    connection.limit_reads(statement_seconds)
    return AdminSession(connection)


def answers(error: DatabaseError) -> bool:
    """Whether an error came from a server that lives, such as 1040 (too many connections) or 1045 (access denied).

    2000 to 2999 are the client's own: nobody listens, no answer in time (pure).
    """
    return error.number >= 1000 and not 2000 <= error.number < 3000


def _may_still_act(row: dict[str, Any]) -> bool:
    ours = row["user"] == "root" or str(row["user"]).startswith("holdfast_")
    return ours and not str(row["state"] or "").startswith("Waiting for semi-sync ACK")


def _event(row: dict[str, Any]) -> str:
    return f"{_quoted(row['place'])}.{_quoted(row['name'])}"


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
