"""The bytes of MySQL's binary log, format version 4: constants and the bodies of the few events that matter here.

A file is 4 bytes of magic, then events: a 19-byte header (timestamp, type, server id, size, position, flags), a body,
and a CRC32 when the format description says so. Numbers are little-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from holdfast.errors import ToolError
from holdfast.gtid import GtidSet, Interval

MAGIC = b"\xfebin"
ENCRYPTED_MAGIC = b"\xfdbin"
HEADER = struct.Struct("<IBIIIH")
HEADER_SIZE = 19
QUERY, STOP, ROTATE, FORMAT_DESCRIPTION, XID, TABLE_MAP = 2, 3, 4, 15, 16, 19
GTID, ANONYMOUS_GTID, PREVIOUS_GTIDS, TRANSACTION_PAYLOAD, GTID_TAGGED = 33, 34, 35, 40, 42
STARTS_OF_TRANSACTION = frozenset((GTID, GTID_TAGGED))
BETWEEN_TRANSACTIONS = frozenset((GTID, GTID_TAGGED, ANONYMOUS_GTID, ROTATE, STOP))
IN_USE_FLAG = 0x0001
FLAGS_OFFSET = 17
_ORIGINAL_TIME_FOLLOWS = 1 << 55


class BinlogError(ToolError):
    """The file is not a binary log that can be used: damaged, encrypted, or without GTIDs."""


class BinlogTruncatedError(BinlogError):
    """The file ends within an event or a transaction, as that of a running or killed server does."""


@dataclass(frozen=True, slots=True)
class Query:
    """A statement as logged: ``database`` was the current one, ``text`` has undecodable bytes replaced."""

    database: str
    text: str


def plain_gtid(body: bytes) -> tuple[str, int, int, int]:
    """(source, number, commit time, length of the transaction) of a GTID event; 0 where its server did not log one."""
    number = int.from_bytes(body[17:25], "little", signed=True)
    at, commit_time, length = 42, 0, 0
    if len(body) >= at + 7:
        commit_time = int.from_bytes(body[at : at + 7], "little")
        at += 7
        if commit_time & _ORIGINAL_TIME_FOLLOWS:
            commit_time = int.from_bytes(body[at : at + 7], "little")
            at += 7
        if len(body) > at:
            first = body[at]
            width = {0xFC: 2, 0xFD: 3, 0xFE: 8}.get(first, 0)
            length = int.from_bytes(body[at + 1 : at + 1 + width], "little") if width else first
    return uuid_text(body[1:17]), number, commit_time, length


def tagged_gtid(body: bytes) -> tuple[str, int, int, int]:
    """The same of a tagged GTID event: fields by id, in MySQL's serialization format."""
    reader = _Serialized(body)
    for _ in range(3):  # format version, message size, last field that must be understood
        reader.unsigned()
    uuid, tag, number, immediate, original, length = "", "", 0, 0, 0, 0
    while not reader.done():
        field = reader.unsigned()
        if field == 1:
            uuid = uuid_text(bytes(reader.unsigned() for _ in range(16)))
        elif field == 2:
            number = reader.signed()
        elif field == 3:
            tag = reader.text()
        elif field == 6:
            immediate = reader.unsigned()
        elif field == 7:
            original = reader.unsigned()
        elif field == 8:
            length = reader.unsigned()
        else:  # flags, logical clock, versions, commit ticket: one number each
            reader.unsigned()
    return (f"{uuid}:{tag}" if tag else uuid), number, original or immediate, length


class _Serialized:
    """Numbers of variable length: as many trailing one bits in the first byte as there are bytes after it."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data, self.at = data, at

    def done(self) -> bool:
        return self.at >= len(self.data)

    def unsigned(self) -> int:
        if self.done():
            raise BinlogError("a tagged GTID is cut within its fields")
        first = self.data[self.at]
        extra = (~first & (first + 1)).bit_length() - 1
        raw = int.from_bytes(self.data[self.at : self.at + extra + 1], "little")
        self.at += extra + 1
        return raw >> min(extra + 1, 8)

    def signed(self) -> int:
        raw = self.unsigned()
        return ~(raw >> 1) if raw & 1 else raw >> 1

    def text(self) -> str:
        size = self.unsigned()
        self.at += size
        return self.data[self.at - size : self.at].decode("ascii")


def uuid_text(raw: bytes) -> str:
    """16 bytes as MySQL prints a UUID."""
    digits = raw.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def decode_gtid_set(body: bytes) -> GtidSet:
    """The set of a PREVIOUS_GTIDS event. Raises BinlogError when it is damaged."""
    try:
        return _gtid_set(body)
    except (struct.error, IndexError, ValueError) as error:
        raise BinlogError(f"the set of earlier GTIDs is unreadable: {error}") from error


def _gtid_set(body: bytes) -> GtidSet:
    """With tags (format 1, since 8.3) or without."""
    (head,) = struct.unpack_from("<Q", body)
    tagged = head >> 56 == 1
    count = (head >> 8) & 0xFFFFFFFFFFFF if tagged else head
    collected: dict[str, list[Interval]] = {}
    at = 8
    for _ in range(count):
        source = uuid_text(body[at : at + 16])
        at += 16
        if tagged:
            reader = _Serialized(body, at)
            tag = reader.text()
            source, at = (f"{source}:{tag}" if tag else source), reader.at
        (ranges,) = struct.unpack_from("<Q", body, at)
        at += 8
        # stored with the end outside the range
        collected[source] = [(start, end - 1) for start, end in struct.iter_unpack("<qq", body[at : at + 16 * ranges])]
        at += 16 * ranges
    return GtidSet(collected)


def decode_query(body: bytes) -> Query:
    """Current database and text of a QUERY event."""
    database_size = body[8]
    (status_size,) = struct.unpack_from("<H", body, 11)
    at = 13 + status_size
    database = body[at : at + database_size].decode("utf-8", "replace")
    return Query(database, body[at + database_size + 1 :].decode("utf-8", "replace"))
