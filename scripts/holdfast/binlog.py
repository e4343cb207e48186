"""A reader of MySQL binary logs: no server, no mysqlbinlog, bodies skipped unless asked for.

The format itself is in binlog_format.py. Times of transactions are microseconds since 1970 in UTC.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from holdfast import binlog_format as layout
from holdfast.binlog_format import BinlogError as BinlogError
from holdfast.binlog_format import BinlogTruncatedError as BinlogTruncatedError
from holdfast.binlog_format import Query as Query
from holdfast.gtid import GtidSet, Interval

Buffer = bytes | mmap.mmap
Source = bytes | mmap.mmap | BinaryIO


@dataclass(frozen=True, slots=True)
class Event:
    """One event; ``timestamp`` in seconds, ``size`` with header and checksum."""

    type: int
    timestamp: int
    server_id: int
    offset: int
    size: int
    _log: BinaryLog

    def body(self) -> bytes:
        """The bytes between header and checksum."""
        return self._log.body(self.offset, self.size)


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction; it occupies [start_offset, end_offset) of its file, GTID event included.

    ``commit_time``: microseconds, on the server where it was first committed; ``queries``: only when asked for.
    """

    source: str
    number: int
    commit_time: int
    start_offset: int
    end_offset: int
    queries: tuple[Query, ...] = ()

    @property
    def gtid(self) -> str:
        """``uuid:number`` or ``uuid:tag:number``."""
        return f"{self.source}:{self.number}"

    @property
    def commit_time_utc(self) -> datetime:
        """The commit time as an aware datetime."""
        return utc_of_microseconds(self.commit_time)


@dataclass(frozen=True)
class BinlogSummary:
    """What an archive records of a file. ``complete``: closed by the server (rotated or stopped) and not cut."""

    previous_gtids: GtidSet
    gtids_in_file: GtidSet
    first_time: datetime | None
    last_time: datetime | None
    transactions: int
    complete: bool
    server_version: str


@dataclass(frozen=True)
class Filtered:
    """What ``filter_transactions`` kept; ``bytes_written`` is the size of the new file."""

    gtids: GtidSet
    transactions: int
    bytes_written: int


def utc_of_microseconds(microseconds: int) -> datetime:
    """Exact conversion (floats would round)."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)


class BinaryLog:
    """The parsed beginning of a file and access to its events."""

    def __init__(self, buffer: Buffer, name: str) -> None:
        """Read magic, format description and previous GTIDs. Raises BinlogError."""
        self.buffer, self.name, self.size = buffer, name, len(buffer)
        magic = bytes(buffer[:4])
        if magic == layout.ENCRYPTED_MAGIC:
            raise BinlogError(
                f"{name} is an encrypted binary log",
                meaning="Its transactions can be read only by the server that wrote it.",
                remedy="Set binlog_encryption=OFF: Holdfast encrypts offsite by rclone's crypt remote.",
            )
        if magic != layout.MAGIC:
            raise BinlogError(f"{name} is not a binary log: it begins with {magic.hex() or 'nothing'}")
        self.checksum_size = 0
        first = next(iter(self._events(4)), None)
        if first is None or first.type != layout.FORMAT_DESCRIPTION:
            raise BinlogError(f"{name} has no format description event: it is damaged or older than MySQL 5.0")
        description = self.body(first.offset, first.size)
        version, server = struct.unpack_from("<H50s", description)
        if version != 4 or description[56] != layout.HEADER_SIZE:
            raise BinlogError(f"{name} has binary log format {version}, only 4 is known")
        self.server_version = server.split(b"\0", 1)[0].decode("ascii", "replace")
        # The format description always ends in the algorithm (0 none, 1 CRC32) and room for a checksum of its own.
        algorithm = description[-5]
        if algorithm not in (0, 1):
            raise BinlogError(f"{name} has the unknown checksum algorithm {algorithm}")
        self.checksum_size = 4 * algorithm
        self.previous_gtids = GtidSet()
        self.events_offset = first.offset + first.size
        for event in self._events(self.events_offset):
            if event.type == layout.PREVIOUS_GTIDS:
                self.previous_gtids = layout.decode_gtid_set(event.body())
                self.events_offset = event.offset + event.size
            break

    def _events(self, offset: int) -> Iterator[Event]:
        while offset < self.size:
            timestamp, kind, server_id, size = self.header(offset)
            yield Event(kind, timestamp, server_id, offset, size, self)
            offset += size

    def header(self, offset: int) -> tuple[int, int, int, int]:
        """(timestamp, type, server id, size). Raises when the event is damaged or reaches beyond the file."""
        if offset + layout.HEADER_SIZE > self.size:
            raise BinlogTruncatedError(f"{self.name} is cut within an event header at offset {offset}")
        timestamp, kind, server_id, size, _, _ = layout.HEADER.unpack_from(self.buffer, offset)
        if size < layout.HEADER_SIZE:
            raise BinlogError(f"{self.name} is damaged: an event of {size} bytes at offset {offset}")
        if offset + size > self.size:
            raise BinlogTruncatedError(f"{self.name} is cut within an event of {size} bytes at offset {offset}")
        return timestamp, kind, server_id, size

    def body(self, offset: int, size: int) -> bytes:
        """The bytes between header and checksum of the event there."""
        return bytes(self.buffer[offset + layout.HEADER_SIZE : offset + size - self.checksum_size])

    def verify(self, event: Event) -> None:
        """Raise BinlogError unless the event's CRC32 is right (or the log has none)."""
        if not self.checksum_size:
            return
        raw = bytearray(self.buffer[event.offset : event.offset + event.size - 4])
        if event.type == layout.FORMAT_DESCRIPTION:  # the server computes it without the flag that tells an open file
            raw[layout.FLAGS_OFFSET] &= ~layout.IN_USE_FLAG & 0xFF
        (stored,) = struct.unpack_from("<I", self.buffer, event.offset + event.size - 4)
        if zlib.crc32(raw) != stored:
            raise BinlogError(f"{self.name} is damaged: wrong checksum of the event at offset {event.offset}")

    def events(self, *, verify: bool = False) -> Iterator[Event]:
        """Every event from the format description on."""
        for event in self._events(4):
            if verify:
                self.verify(event)
            yield event

    def transactions(self, *, queries: bool = False, start: int = 0) -> Iterator[Transaction]:
        """Every whole transaction in file order; raises BinlogTruncatedError after the last whole one of a cut file.

        `start` is where one of them ended: only those that follow it.
        """
        offset = max(start, self.events_offset)
        while offset < self.size:
            _, kind, _, size = self.header(offset)
            if kind == layout.ANONYMOUS_GTID:
                raise BinlogError(
                    f"{self.name} holds a transaction without GTID at offset {offset}",
                    meaning="Nobody can tell whether a server has it, so it cannot be replayed safely.",
                    remedy="Run every server with gtid_mode=ON and take a full backup.",
                )
            if kind not in layout.STARTS_OF_TRANSACTION:
                offset += size
                continue
            body = self.body(offset, size)
            try:
                source, number, commit_time, length = (
                    layout.tagged_gtid if kind == layout.GTID_TAGGED else layout.plain_gtid
                )(body)
            except (IndexError, struct.error, UnicodeDecodeError) as error:
                raise BinlogError(f"{self.name} is damaged: unreadable GTID at offset {offset}") from error
            end = offset + length if length else self._end_of_transaction(offset + size)
            if end > self.size:
                raise BinlogTruncatedError(f"{self.name} is cut within transaction {source}:{number}")
            found = tuple(self._queries(offset + size, end)) if queries else ()
            yield Transaction(source, number, commit_time, offset, end, found)
            offset = end

    def _end_of_transaction(self, offset: int) -> int:
        """For origins before 8.0.2, which do not log the transaction's length."""
        while offset < self.size:
            _, kind, _, size = self.header(offset)
            if kind in layout.BETWEEN_TRANSACTIONS:
                return offset
            offset += size
        return offset

    def _queries(self, offset: int, end: int) -> Iterator[Query]:
        while offset < end:
            _, kind, _, size = self.header(offset)
            if kind == layout.QUERY:
                yield layout.decode_query(self.body(offset, size))
            offset += size

    def closed_after(self, offset: int) -> bool:
        """Whether the last event from there on, where transactions end, is the server's rotation or stop."""
        kind = 0
        while offset < self.size:
            _, kind, _, size = self.header(offset)
            offset += size
        return kind in (layout.ROTATE, layout.STOP)


def _open(source: Source) -> BinaryLog:
    if isinstance(source, bytes | mmap.mmap):
        return BinaryLog(source, "binary log")
    return BinaryLog(source.read(), str(getattr(source, "name", "binary log")))


@contextmanager
def opened(path: Path, size: int | None = None) -> Iterator[BinaryLog]:
    """The file, mapped into memory and not read. Raises BinlogError when it is no usable binary log.

    Of a file that is still written only the first `size` bytes are looked at.
    """
    with path.open("rb") as file:
        there = os.fstat(file.fileno()).st_size
        size = there if size is None else min(size, there)
        if size < 4:
            raise BinlogError(f"{path} is not a binary log: it has {size} bytes")
        with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as buffer:
            yield BinaryLog(buffer, str(path))


def iterate_events(source: Source, *, verify: bool = False) -> Iterator[Event]:
    """Every event of a stream or buffer; ``verify`` checks each CRC32."""
    return _open(source).events(verify=verify)


def transactions(source: Source, *, queries: bool = True) -> Iterator[Transaction]:
    """Every transaction of a stream or buffer, with its statements."""
    return _open(source).transactions(queries=queries)


def add_gtid(collected: dict[str, list[Interval]], transaction: Transaction) -> None:
    """Add one GTID; in a file numbers nearly always follow each other."""
    ranges = collected.setdefault(transaction.source, [])
    if ranges and ranges[-1][1] + 1 == transaction.number:
        ranges[-1] = (ranges[-1][0], transaction.number)
    else:
        ranges.append((transaction.number, transaction.number))


def summarise(path: Path) -> BinlogSummary:
    """What the archive records of this file; of a cut file its whole transactions. Raises BinlogError."""
    collected: dict[str, list[Interval]] = {}
    count, first, last = 0, 1 << 62, 0
    with opened(path) as log:
        end = log.events_offset
        try:
            for transaction in log.transactions():
                count += 1
                add_gtid(collected, transaction)
                first, last = min(first, transaction.commit_time), max(last, transaction.commit_time)
                end = transaction.end_offset
            complete = log.closed_after(end)
        except BinlogTruncatedError:
            complete = False
        times = [utc_of_microseconds(moment) if count else None for moment in (first, last)]
        gtids = GtidSet(collected)
        return BinlogSummary(log.previous_gtids, gtids, times[0], times[1], count, complete, log.server_version)


def filter_transactions(source: Path, target: Path, keep: Callable[[Transaction], bool]) -> Filtered:
    """Write ``target`` with the same head and only the transactions that ``keep`` wants, byte for byte.

    The rotation at the end is left out: it names a file that need not follow. Raises BinlogError.
    """
    collected: dict[str, list[Interval]] = {}
    count = 0
    with opened(source) as log, target.open("wb") as out:
        start, end = 0, log.events_offset  # the stretch that is copied next; the head is its beginning
        with suppress(BinlogTruncatedError):  # a killed server's file: what follows was never committed
            for transaction in log.transactions():
                if not keep(transaction):
                    continue
                count += 1
                add_gtid(collected, transaction)
                if transaction.start_offset != end:
                    out.write(log.buffer[start:end])
                    start = transaction.start_offset
                end = transaction.end_offset
        out.write(log.buffer[start:end])
        return Filtered(GtidSet(collected), count, out.tell())
