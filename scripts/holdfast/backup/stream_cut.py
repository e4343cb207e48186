"""Which bytes of a binlog the next piece has: whole transactions only, and no more at once than fits the spool."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from holdfast import binlog_format as layout
from holdfast.binlog import BinlogTruncatedError, add_gtid, opened, utc_of_microseconds
from holdfast.gtid import GtidSet, Interval

CHUNK_BYTES = 1 << 20
# Where the format description keeps the flag that the server clears when it closes the file: after magic and header.
FLAG_OFFSET = len(layout.MAGIC) + layout.FLAGS_OFFSET


@dataclass(frozen=True)
class Stretch:
    """Bytes `start` to `end` of a file and what is in them; `previous_gtids` as the file itself tells them."""

    start: int
    end: int
    previous_gtids: GtidSet
    gtids: GtidSet
    first_time: datetime | None
    last_time: datetime | None
    server_version: str


def next_stretch(path: Path, start: int, visible: int, maximum_bytes: int, *, closed: bool) -> Stretch | None:
    """What follows `start` among the first `visible` bytes; None when nothing whole does. Raises BinlogError.

    At most `maximum_bytes`, unless one transaction alone is larger. The first stretch begins with the file's head; the
    last of a closed file ends with its rotation. What a killed server left half written is not taken.
    """
    if start >= visible:
        return None
    collected: dict[str, list[Interval]] = {}
    times: list[int] = []
    with opened(path, visible) as log:
        end = max(start, log.events_offset)
        all_read = False
        with suppress(BinlogTruncatedError):
            for transaction in log.transactions(start=end):
                if times and transaction.end_offset - start > maximum_bytes:
                    break
                add_gtid(collected, transaction)
                times.append(transaction.commit_time)
                end = transaction.end_offset
            else:
                all_read = True
        if all_read and closed:
            end = log.size
        if end == start:
            return None
        return Stretch(
            start=start,
            end=end,
            previous_gtids=log.previous_gtids,
            gtids=GtidSet(collected),
            first_time=utc_of_microseconds(min(times)) if times else None,
            last_time=utc_of_microseconds(max(times)) if times else None,
            server_version=log.server_version,
        )


def copy_stretch(source: Path, start: int, end: int, target: Path | None) -> str:
    """Copy these bytes as they will be once the file is closed; their SHA-256. Without `target` only that."""
    digest = hashlib.sha256()
    with source.open("rb") as file, (target or Path("/dev/null")).open("wb") as out:
        file.seek(start)
        offset = start
        while offset < end and (chunk := bytearray(file.read(min(CHUNK_BYTES, end - offset)))):
            if offset <= FLAG_OFFSET < offset + len(chunk):
                chunk[FLAG_OFFSET - offset] &= ~layout.IN_USE_FLAG & 0xFF
            digest.update(chunk)
            out.write(chunk)
            offset += len(chunk)
    return digest.hexdigest()
