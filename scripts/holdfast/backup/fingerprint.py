"""What the tables are, so that a restore can be compared with the server it came from."""

from __future__ import annotations

import hashlib
import logging
import re

from holdfast.backup.manifest import Fingerprint, TableFingerprint
from holdfast.database import Connection
from holdfast.errors import ToolError
from holdfast.gtid import GtidSet

log = logging.getLogger(__name__)

ATTEMPTS = 500  # to open a snapshot in a moment in which nothing commits; each takes about a millisecond
EXECUTED = "SELECT JSON_UNQUOTE(JSON_EXTRACT(local, '$.gtid_executed')) FROM performance_schema.log_status"
TABLES = """
SELECT table_schema AS db, table_name AS name, COALESCE(data_length, 0) AS bytes FROM information_schema.tables
WHERE table_type = 'BASE TABLE'
AND table_schema NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema') ORDER BY 1, 2
"""
# Differ between a server and its restored copy without any data differing.
_VOLATILE = re.compile(r" AUTO_INCREMENT=\d+")


def definition_digest(create_table: str) -> str:
    """SHA-256 of a SHOW CREATE TABLE, without its next AUTO_INCREMENT value (pure)."""
    return hashlib.sha256(_VOLATILE.sub("", create_table).encode()).hexdigest()


def quoted(identifier: str) -> str:
    """An identifier for use in SQL."""
    return "`" + identifier.replace("`", "``") + "`"


def take(connection: Connection, table_maximum_bytes: int) -> Fingerprint:
    """Definition of every user table, and rows and checksum of those up to that size, all in one snapshot.

    Needs BACKUP_ADMIN and SELECT. Raises ToolError when the server never paused between two commits, or refuses.
    """
    gtid = _open_snapshot(connection)
    try:
        rows = connection.rows(TABLES)
        tables: dict[str, TableFingerprint] = {}
        for row in rows:
            try:
                tables[f"{row['db']}.{row['name']}"] = of_table(
                    connection, str(row["db"]), str(row["name"]), count=int(row["bytes"]) <= table_maximum_bytes
                )
            except ToolError as error:
                # Dropped or altered after the snapshot was opened: there is nothing to compare it with.
                log.info("no fingerprint of %s.%s: %s", row["db"], row["name"], error.what)
        return Fingerprint(gtid=gtid, tables=tables)
    finally:
        connection.execute("ROLLBACK")


def _open_snapshot(connection: Connection) -> GtidSet:
    # log_status waits for commits under way and stops new ones while it is read: the same answer before and after
    # opening the snapshot means that the snapshot holds exactly that set.
    connection.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    for _ in range(ATTEMPTS):
        before = connection.value(EXECUTED)
        connection.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        if connection.value(EXECUTED) == before:
            return GtidSet.parse(str(before))
        connection.execute("ROLLBACK")
    raise ToolError(
        f"no snapshot with a known GTID set in {ATTEMPTS} attempts",
        meaning="The server commits without a pause; the backup is good but cannot be compared by content.",
    )


def of_table(connection: Connection, schema: str, name: str, *, count: bool) -> TableFingerprint:
    """One table's definition and, with `count`, its rows and checksum."""
    table = f"{quoted(schema)}.{quoted(name)}"
    create = str(connection.rows(f"SHOW CREATE TABLE {table}")[0]["Create Table"])
    if not count:
        return TableFingerprint(definition_digest(create), None, None)
    rows = int(connection.value(f"SELECT COUNT(*) FROM {table}"))  # noqa: S608
    checksum = connection.rows(f"CHECKSUM TABLE {table}")[0]["Checksum"]
    return TableFingerprint(definition_digest(create), rows, None if checksum is None else int(checksum))
