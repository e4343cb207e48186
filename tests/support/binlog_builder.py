"""Small binary logs for tests, built from the documented format."""

from __future__ import annotations

import struct
import uuid
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime

from holdfast.gtid import GtidSet

MAGIC = b"\xfebin"


def event(kind: int, body: bytes, *, checksum: bool = True, flags: int = 0) -> bytes:
    size = 19 + len(body) + (4 if checksum else 0)
    raw = struct.pack("<IBIIIH", 1_795_000_000, kind, 7, size, 0, flags) + body
    return raw + (struct.pack("<I", zlib.crc32(raw)) if checksum else b"")


def description(*, checksum: bool = True, flags: int = 0) -> bytes:
    body = struct.pack("<H50sIB", 4, b"9.7.4-test", 0, 19) + bytes(41) + bytes([1 if checksum else 0])
    raw = struct.pack("<IBIIIH", 1_795_000_000, 15, 7, 19 + len(body) + 4, 0, flags) + body
    unflagged = raw[:17] + struct.pack("<H", flags & ~1) + raw[19:]
    return raw + struct.pack("<I", zlib.crc32(unflagged) if checksum else 0)


def previous(gtids: GtidSet, *, checksum: bool = True) -> bytes:
    """In the format without tags."""
    sources = list(gtids.intervals())
    body = struct.pack("<Q", len(sources))
    for source, ranges in sources:
        body += uuid.UUID(source).bytes + struct.pack("<Q", len(ranges))
        body += b"".join(struct.pack("<qq", start, end + 1) for start, end in ranges)
    return event(35, body, checksum=checksum)


def query(text: str, database: str = "", *, checksum: bool = True) -> bytes:
    name = database.encode()
    body = struct.pack("<IIBHH", 1, 0, len(name), 0, 3) + b"abc" + name + b"\0" + text.encode()
    return event(2, body, checksum=checksum)


def rows_query(text: str) -> bytes:
    """The statement as a person sent it, before the rows that it changed."""
    return event(29, bytes([min(len(text), 255)]) + text.encode())


def rows(kind: int, database: str, table: str, size: int = 20, number: int = 7) -> bytes:
    """A table map, and one event (30 write, 31 update, 32 delete) of that many bytes of rows."""
    at = struct.pack("<Q", number)[:6]
    names = b"".join(bytes([len(name)]) + name.encode() + b"\0" for name in (database, table))
    return event(19, at + bytes(2) + names + b"\x01\x03\x00\x00") + event(kind, at + bytes(4) + bytes(size))


def microseconds(moment: datetime) -> int:
    return int(moment.astimezone(UTC).timestamp()) * 1_000_000 + moment.microsecond


def transaction(
    source: str,
    number: int,
    at: datetime,
    statements: Sequence[tuple[str, str]] = (("", "BEGIN"),),
    *,
    changes: Sequence[bytes] = (),
    original: datetime | None = None,
    checksum: bool = True,
    with_length: bool = True,
) -> bytes:
    rest = b"".join(query(text, database, checksum=checksum) for database, text in statements)
    rest += b"".join(changes)
    rest += event(16, bytes(8), checksum=checksum)
    immediate = microseconds(at)
    times = immediate.to_bytes(7, "little")
    if original is not None:
        times = (immediate | 1 << 55).to_bytes(7, "little") + microseconds(original).to_bytes(7, "little")
    head = b"\x01" + uuid.UUID(source).bytes + struct.pack("<q", number) + b"\x02" + bytes(16)
    if not with_length:
        return event(33, head, checksum=checksum) + rest
    total = 19 + len(head) + len(times) + 3 + 4 + (4 if checksum else 0) + len(rest)
    body = head + times + b"\xfc" + struct.pack("<H", total) + struct.pack("<I", 90704)
    return event(33, body, checksum=checksum) + rest


def binary_log(before: GtidSet, transactions: Sequence[bytes], *, closed: bool = True, checksum: bool = True) -> bytes:
    parts = [MAGIC, description(checksum=checksum, flags=0 if closed else 1), previous(before, checksum=checksum)]
    end = [event(4, struct.pack("<Q", 4) + b"binlog.000002", checksum=checksum)] if closed else []
    return b"".join([*parts, *transactions, *end])
