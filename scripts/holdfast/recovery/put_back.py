"""Tables of a restored instance are put back on the primary, under load: copied, compared, exchanged."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from holdfast.backup.fingerprint import quoted
from holdfast.database import Connection, DatabaseError, connect
from holdfast.errors import ToolError, UsageError
from holdfast.process import Pipeline, Stage
from holdfast.recovery.instance import Instance
from holdfast.recovery.put_back_plan import SCRATCH, Exchange, Present, Restored, Trigger, exchange, orphan_queries
from holdfast.recovery.put_back_plan import rows_since as queries_since
from holdfast.recovery.table_definition import Definition, ForeignKey, parse, renamed

COPY_TIMEOUT_SECONDS = 7 * 86400.0
LOCK_TIMED_OUT = 1205
NO_SUCH_TABLE = 1146
# New statements on a table wait behind a RENAME that waits for old ones: give up soon, and try again.
LOCK_WAIT_SECONDS = 3
LOCK_ATTEMPTS = 20

log = logging.getLogger(__name__)


def copy(instance: Instance, database: str, tables: Sequence[str], host: str, account_file: Path) -> dict[str, Any]:
    """Copy tables of a running restored instance into SCRATCH of the primary, by that account; return the handover.

    Raises UsageError for a table that the instance does not hold, ToolError when the copy is not equal.
    """
    with instance.connect() as side, connect(account_file, host=host, read_timeout_seconds=None) as primary:
        primary.execute(f"CREATE DATABASE IF NOT EXISTS {SCRATCH}")
        primary.execute("SET SESSION foreign_key_checks = 0")
        restored = []
        for table in tables:
            log.info("copy %s.%s", database, table)
            restored.append(_copy_table(instance, side, primary, database, table, host, account_file))
        collation = side.value(
            "SELECT DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s", (database,)
        )
    return {"database": database, "collation": str(collation), "tables": [asdict(one) for one in restored]}


def _copy_table(
    instance: Instance,
    side: Connection,
    primary: Connection,
    database: str,
    table: str,
    host: str,
    account_file: Path,
) -> Restored:
    try:
        create = str(side.rows(f"SHOW CREATE TABLE {quoted(database)}.{quoted(table)}")[0]["Create Table"])
    except (DatabaseError, KeyError):
        raise UsageError(
            f"the restored instance has no table {database}.{table}",
            remedy="Was it dropped before that moment already? Choose an earlier one, or see to the name.",
        ) from None
    definition = parse(create, database, table)
    primary.execute(f"DROP TABLE IF EXISTS {SCRATCH}.{quoted(table)}")
    primary.execute(renamed(definition.create, SCRATCH, table))
    dump = (
        "mysqldump", f"--defaults-file={instance.account_file}", "--no-create-info", "--skip-triggers", "--hex-blob",
        "--single-transaction", "--set-gtid-purged=OFF", "--no-tablespaces", "--skip-add-locks", "--skip-disable-keys",
        "--default-character-set=utf8mb4", database, table,
    )  # fmt: skip
    load = (
        "mysql", f"--defaults-file={account_file}", f"--host={host}", "--binary-mode",
        "--default-character-set=utf8mb4", SCRATCH,
    )  # fmt: skip
    with Pipeline((Stage("mysqldump", dump), Stage("mysql", load)), keep_stdout=False) as pipeline:
        pipeline.finish(timeout_seconds=COPY_TIMEOUT_SECONDS)
    there, here = (content(connection, of, table) for connection, of in ((side, database), (primary, SCRATCH)))
    if there != here:
        raise ToolError(
            f"the copy of {database}.{table} is not equal to the restored table: {here} rows and checksum, not {there}",
            meaning=f"Nothing was exchanged; the copy is {SCRATCH}.{table} on the primary.",
            remedy="Run it again.",
        )
    return Restored(table, definition, *there, _triggers(side, database, table))


def content(connection: Connection, database: str, table: str) -> tuple[int, int]:
    """Rows and checksum of a table."""
    name = f"{quoted(database)}.{quoted(table)}"
    rows = int(connection.value(f"SELECT COUNT(*) FROM {name}"))  # noqa: S608
    return rows, int(connection.rows(f"CHECKSUM TABLE {name}")[0]["Checksum"])


def _triggers(connection: Connection, database: str, table: str) -> tuple[Trigger, ...]:
    found = []
    for name in _trigger_names(connection, database, table):
        row = connection.rows(f"SHOW CREATE TRIGGER {quoted(database)}.{quoted(name)}")[0]
        found.append(
            Trigger(
                name,
                str(row["sql_mode"]),
                str(row["character_set_client"]),
                str(row["collation_connection"]),
                str(row["SQL Original Statement"]),
            )
        )
    return tuple(found)


def _trigger_names(connection: Connection, database: str, table: str) -> tuple[str, ...]:
    rows = connection.rows(
        "SELECT TRIGGER_NAME AS name FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = %s AND"
        " EVENT_OBJECT_TABLE = %s ORDER BY ACTION_ORDER",
        (database, table),
    )
    return tuple(str(row["name"]) for row in rows)


def read_handover(document: dict[str, Any]) -> tuple[str, str, list[Restored]]:
    """Database, its collation and the tables of what copy() returned (pure)."""
    tables = []
    for one in document["tables"]:
        told = one["definition"]
        keys = tuple(
            ForeignKey(**{**key, "columns": tuple(key["columns"]), "parent_columns": tuple(key["parent_columns"])})
            for key in told["foreign_keys"]
        )
        definition = Definition(told["create"], keys, told["checks"])
        triggers = tuple(Trigger(**trigger) for trigger in one["triggers"])
        tables.append(Restored(one["table"], definition, one["rows"], one["checksum"], triggers))
    return document["database"], document["collation"], tables


def put_in_place(
    connection: Connection, handover: dict[str, Any], stamp: str, *, accept_orphans: bool
) -> dict[str, Any]:
    """Exchange the tables on the primary and return the report; what replicas do follows by replication.

    Raises ToolError when a copy is gone or not what it was, rows would refer to nothing, or the tables stay locked;
    until the RENAME everything is taken back then.
    """
    database, collation, restored = read_handover(handover)
    _session(connection)
    connection.execute(f"CREATE DATABASE IF NOT EXISTS {quoted(database)} COLLATE {collation}")
    for one in restored:
        if content(connection, SCRATCH, one.table) != (one.rows, one.checksum):
            raise ToolError(f"{SCRATCH}.{one.table} is not what was copied", remedy="Copy it again.")
    children = _children(connection, database, [one.table for one in restored])
    before = _count(connection, orphan_queries(database, restored, children, moved=False))
    if any(before.values()) and not accept_orphans:
        raise ToolError(
            "rows would refer to nothing: "
            + ", ".join(f"{count} of {what}" for what, count in before.items() if count),
            meaning="The other table has moved on since the moment of the restore. Nothing was exchanged.",
            remedy="Put that table back too, or accept it (recover_accept_orphans).",
        )
    plan = exchange(database, restored, _present(connection, database, restored), children, stamp)
    _rename(connection, plan)
    for statement in plan.after:
        log.info("%s", statement)
        connection.execute(statement)
    for one in restored:
        _make_triggers(connection, database, one.triggers)
    _session(connection)
    after = _count(connection, orphan_queries(database, restored, children, moved=True))
    connection.execute(f"DROP DATABASE {SCRATCH}")
    return {
        "database": database,
        "tables": [_report(connection, database, one, plan.asides.get(one.table)) for one in restored],
        "orphans": {what: count for what, count in after.items() if count},
        "foreign_keys": len(after),
    }


def _session(connection: Connection) -> None:
    for name, value in (("foreign_key_checks", 0), ("information_schema_stats_expiry", 0), ("sql_mode", "''")):
        connection.execute(f"SET SESSION {name} = {value}")
    connection.execute(f"SET SESSION lock_wait_timeout = {LOCK_WAIT_SECONDS}")


def _rename(connection: Connection, plan: Exchange) -> None:
    """Loosen what holds the tables, and exchange them; all or nothing."""
    undo: list[str] = []
    try:
        for statement, back in plan.before:
            _when_unlocked(connection, statement)
            undo.append(back)
        _when_unlocked(connection, plan.rename)
    except BaseException:
        for statement in filter(None, reversed(undo)):
            log.warning("taken back: %s", statement)
            _when_unlocked(connection, statement)
        raise


def _when_unlocked(connection: Connection, statement: str) -> None:
    log.info("%s", statement)
    for attempt in range(1, LOCK_ATTEMPTS + 1):
        try:
            connection.execute(statement)
            return
        except DatabaseError as error:
            if error.number != LOCK_TIMED_OUT or attempt == LOCK_ATTEMPTS:
                raise
            log.info("a transaction of somebody holds the table: tried again (%d of %d)", attempt, LOCK_ATTEMPTS)


def _present(connection: Connection, database: str, restored: Sequence[Restored]) -> dict[str, Present]:
    found = {}
    for one in restored:
        rows = connection.rows(
            "SELECT TABLE_TYPE AS kind, AUTO_INCREMENT AS next FROM information_schema.TABLES"
            " WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s",
            (database, one.table),
        )
        if not rows:
            continue
        if rows[0]["kind"] != "BASE TABLE":
            raise ToolError(f"{database}.{one.table} is a view now", remedy="Rename or drop it, then run it again.")
        create = connection.rows(f"SHOW CREATE TABLE {quoted(database)}.{quoted(one.table)}")[0]["Create Table"]
        found[one.table] = Present(
            parse(str(create), database, one.table),
            _trigger_names(connection, database, one.table),
            None if rows[0]["next"] is None else int(rows[0]["next"]),
        )
    return found


def _children(connection: Connection, database: str, tables: Sequence[str]) -> list[ForeignKey]:
    """The foreign keys of any table to one of these, as they are now."""
    marks = ", ".join(["%s"] * len(tables))
    # the marks are for the names, which go beside the statement
    query = (
        "SELECT DISTINCT TABLE_SCHEMA AS db, TABLE_NAME AS name FROM information_schema.KEY_COLUMN_USAGE"  # noqa: S608
        f" WHERE REFERENCED_TABLE_SCHEMA = %s AND REFERENCED_TABLE_NAME IN ({marks})"
    )
    rows = connection.rows(query, (database, *tables))
    found: list[ForeignKey] = []
    for row in rows:
        name = f"{quoted(str(row['db']))}.{quoted(str(row['name']))}"
        create = str(connection.rows(f"SHOW CREATE TABLE {name}")[0]["Create Table"])
        keys = parse(create, str(row["db"]), str(row["name"])).foreign_keys
        found += [key for key in keys if key.parent_database == database and key.parent in tables]
    return found


def _count(connection: Connection, queries: dict[str, str]) -> dict[str, int]:
    counts = {}
    for what, query in queries.items():
        try:
            counts[what] = int(connection.value(query))
        except DatabaseError as error:
            if error.number != NO_SUCH_TABLE:
                raise
            raise ToolError(
                f"a foreign key leads to a table that is not there: {what}", remedy="Put that table back too."
            ) from None
    return counts


def _make_triggers(connection: Connection, database: str, triggers: Sequence[Trigger]) -> None:
    for trigger in triggers:
        log.info("trigger %s", trigger.name)
        connection.execute(f"USE {quoted(database)}")
        connection.execute("SET SESSION sql_mode = %s", (trigger.sql_mode,))
        connection.execute(f"SET NAMES {trigger.charset} COLLATE {trigger.collation}")
        connection.execute(trigger.create)
        connection.execute("SET NAMES utf8mb4")


def _report(connection: Connection, database: str, restored: Restored, aside: str | None) -> dict[str, Any]:
    """What became of a table. The rows aside are not written any more; those of the table in place are."""
    told: dict[str, Any] = {"table": restored.table, "rows": restored.rows, "aside": aside}
    if aside is None:
        return told
    told["rows_aside"] = int(connection.value(f"SELECT COUNT(*) FROM {quoted(database)}.{quoted(aside)}"))  # noqa: S608
    columns = [_columns(connection, database, table) for table in (aside, restored.table)]
    key = [name for name, primary in columns[0].items() if primary and columns[1].get(name)]
    queries = queries_since(database, restored.table, aside, key, [name for name in columns[0] if name in columns[1]])
    if queries:
        told["rows_since"], told["rows_changed"] = (int(connection.value(query)) for query in queries)
    return told


def _columns(connection: Connection, database: str, table: str) -> dict[str, bool]:
    rows = connection.rows(
        "SELECT COLUMN_NAME AS name, COLUMN_KEY = 'PRI' AS in_key FROM information_schema.COLUMNS"
        " WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION",
        (database, table),
    )
    return {str(row["name"]): bool(row["in_key"]) for row in rows}
