"""The guard's session with its own server: the fencing token (docs/decisions/sessions-are-the-fencing-token.md).

On the administrative address, not the socket: only there a login works however many clients there are (the one extra
connection of the normal port may be taken by a person or the fence), and it has a thread of its own to accept with.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from holdfast import database
from holdfast.config_failover import DatabaseHostConfig, FailoverConfig
from holdfast.database import Connection, DatabaseError
from holdfast.failover.mysqld import Mysqld, pid_in, running

SYSTEM_USERS = ("system user", "event_scheduler")
# How a commit looks that waits for its ACK, and those behind it in the binary log. KILL takes their client away at once
# and leaves them there until the wait ends (seen). performance_schema does not say of a session that it was killed.
IN_COMMIT = ("Waiting for semi-sync ACK", "waiting for handler commit")
ADMINISTRATIVE = ("SET", "CHANGE", "RESET", "STOP", "START")
POLL_SECONDS = 0.05
NO_SUCH_THREAD = 1094

SESSIONS = (
    "SELECT ID AS id, USER AS user, COMMAND AS command, COALESCE(STATE, '') AS state,"
    " COALESCE(LEFT(INFO, 20), '') AS info"
    " FROM performance_schema.processlist WHERE ID <> CONNECTION_ID()"
)


class OverdueError(DatabaseError):
    """A statement did not come back in time, and may still take effect: only the end of mysqld prevents it."""


class Session:
    """A session with the server and the process that it belongs to; close it, and what is left of it is void."""

    def __init__(self, connection: Connection, mysqld: Mysqld, account: str, limit_seconds: float) -> None:
        self._connection = connection
        self._limit_seconds = limit_seconds
        self.mysqld = mysqld
        self.account = account

    def rows(self, sql: str, args: Sequence[object] = ()) -> list[dict[str, Any]]:
        """All rows of a query. Raises DatabaseError, also when it takes too long."""
        return self._connection.rows(sql, args)

    def value(self, sql: str, args: Sequence[object] = ()) -> Any:
        """The first column of the first row. Raises DatabaseError, also when it takes too long."""
        return self._connection.value(sql, args)

    def act(self, sql: str, args: Sequence[object] = ()) -> None:
        """Change something. Raises OverdueError when it takes too long, else DatabaseError."""
        began = time.monotonic()
        try:
            self._connection.execute(sql, args)
        except DatabaseError as error:
            if time.monotonic() - began < 0.9 * self._limit_seconds:
                raise
            raise OverdueError(error.what, number=error.number) from None

    def kill_others(self, *, account: str = "", spare_streams: bool = True) -> None:
        """End every other session, whatever its rights, and wait until it is gone; `account`: only this one's.

        A killed commit that waits for its ACK stays until the wait ends, but has no client to tell: that is enough.
        `spare_streams`: not those that send the binary log to a replica. Raises OverdueError when one does not end.
        """
        deadline = time.monotonic() + self._limit_seconds
        targets = {
            int(row["id"])
            for row in self.rows(SESSIONS)
            if row["user"] not in SYSTEM_USERS
            and row["command"] != "Daemon"
            and not (spare_streams and str(row["command"]).startswith("Binlog Dump"))
            and account in ("", row["user"])
        }
        for target in sorted(targets):
            try:
                self.act(f"KILL {target}")
            except DatabaseError as error:
                if error.number != NO_SUCH_THREAD:
                    raise
        while targets:
            left = [row for row in self.rows(SESSIONS) if int(row["id"]) in targets and not lingers(row)]
            if not left:
                return
            if time.monotonic() > deadline:
                shown = ", ".join(f"{row['id']} ({row['user']}: {row['command']}, {row['state']})" for row in left)
                raise OverdueError(f"killed sessions do not end: {shown}")
            time.sleep(POLL_SECONDS)

    def close(self) -> None:
        """Close it; never raises."""
        self._connection.close()


def lingers(row: dict[str, Any]) -> bool:
    """Whether a session that was sent KILL may stay: a commit without a client, which only waits to end (pure)."""
    words = str(row["info"]).split()
    return str(row["state"]).startswith(IN_COMMIT) and (not words or words[0].upper() not in ADMINISTRATIVE)


def dial(failover: FailoverConfig, host: DatabaseHostConfig, read_timeout_seconds: float | None) -> Connection:
    """Log in to the own server's administrative address as the guard. Raises DatabaseError, ConfigurationError."""
    return database.connect(
        failover.guard_account_file,
        host=host.address,
        port=host.admin_port,
        ssl_ca=failover.tls.ca_file,
        connect_timeout_seconds=math.ceil(failover.timing.statement_seconds),
        read_timeout_seconds=None if read_timeout_seconds is None else math.ceil(read_timeout_seconds),
    )


def open_session(failover: FailoverConfig, host: DatabaseHostConfig) -> Session:
    """Log in, and find the process that answers.

    The caller ends with `kill_others(account=session.account)` what an earlier guard has left in the server.
    Raises DatabaseError, ToolError (the process cannot be found), ConfigurationError.
    """
    connection = dial(failover, host, failover.timing.statement_seconds)
    try:
        who = connection.rows(
            "SELECT @@GLOBAL.server_uuid AS server_uuid, @@GLOBAL.pid_file AS pid_file, @@GLOBAL.datadir AS datadir,"
            " SUBSTRING_INDEX(USER(), '@', 1) AS account"
        )[0]
        mysqld = running(who["server_uuid"], pid_in(Path(who["datadir"]) / who["pid_file"]))
        try:
            # it answers after its file was read: nobody else can write that file while it holds the data directory
            connection.value("SELECT 1")
        except BaseException:
            mysqld.close()
            raise
    except BaseException:
        connection.close()
        raise
    return Session(connection, mysqld, who["account"], failover.timing.statement_seconds)
