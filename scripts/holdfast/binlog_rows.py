"""What a transaction did, as its binary log tells: statements as logged, and which tables' rows it changed.

With `binlog_rows_query_log_events=ON` (the role sets it) the statement that a person or program sent stands before the
rows that it changed. Rows are not decoded, only counted in bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from holdfast import binlog_format as layout
from holdfast.binlog import BinaryLog, Transaction
from holdfast.binlog_format import BinlogError, Query

ROWS_QUERY = 29
KINDS = {30: "insert", 31: "update", 32: "delete", 39: "update"}


@dataclass(frozen=True)
class Change:
    """Rows of one table that a transaction changed: kind is insert, update or delete; size of their events in bytes."""

    kind: str
    database: str
    table: str
    row_bytes: int


@dataclass(frozen=True)
class Contents:
    """Statements that are logged as such (DDL and BEGIN), those that changed rows, and what they changed."""

    queries: tuple[Query, ...]
    statements: tuple[str, ...]
    changes: tuple[Change, ...]


def contents(log: BinaryLog, transaction: Transaction) -> Contents:
    """Read a transaction of that log. Raises BinlogError when its events are not whole."""
    queries: list[Query] = []
    statements: list[str] = []
    names: dict[bytes, tuple[str, str]] = {}
    sizes: dict[tuple[str, str, str], int] = {}
    offset = transaction.start_offset
    try:
        while offset < transaction.end_offset:
            _, kind, _, size = log.header(offset)
            if kind == layout.QUERY:
                queries.append(layout.decode_query(log.body(offset, size)))
            elif kind == ROWS_QUERY:
                # the first byte is a length that is cut at 255; the text goes to the event's end
                statements.append(log.body(offset, size)[1:].decode("utf-8", "replace"))
            elif kind == layout.TABLE_MAP:
                number, database, table = _table_map(log.body(offset, size))
                names[number] = (database, table)
            elif kind in KINDS:
                number = bytes(log.buffer[offset + layout.HEADER_SIZE : offset + layout.HEADER_SIZE + 6])
                key = (KINDS[kind], *names.get(number, ("", "")))
                sizes[key] = sizes.get(key, 0) + size
            offset += size
    except (struct.error, IndexError) as error:
        raise BinlogError(f"{log.name} is damaged: unreadable event in {transaction.gtid}") from error
    changes = tuple(Change(*key, row_bytes) for key, row_bytes in sizes.items())
    return Contents(tuple(queries), tuple(statements), changes)


def _table_map(body: bytes) -> tuple[bytes, str, str]:
    """Number, database and table: 6 bytes, 2 of flags, then two names with length before and a zero behind."""
    size = body[8]
    database = body[9 : 9 + size].decode("utf-8", "replace")
    at = 9 + size + 1
    table = body[at + 1 : at + 1 + body[at]].decode("utf-8", "replace")
    return body[:6], database, table
