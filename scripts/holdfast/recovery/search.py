"""Search archived binlogs for the transaction that destroyed something; any of those found can be a target."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from holdfast.backup.binlogs import BinlogEntry
from holdfast.backup.store import Store
from holdfast.binlog import BinaryLog, BinlogTruncatedError, Transaction, opened, utc_of_microseconds
from holdfast.binlog_rows import contents
from holdfast.gtid import GtidSet
from holdfast.recovery.estimate import human_bytes, moment
from holdfast.recovery.fetch import fetch_binlog
from holdfast.recovery.find_search import Search
from holdfast.recovery.target import microseconds_of

# More would be no list for a person; those that changed most are the ones that somebody looks for.
LISTED = 40

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """A transaction that may be the one; `at` in UTC, `row_bytes` is the size of the rows that it changed."""

    at: datetime
    gtid: str
    database: str
    statement: str
    lineage: str
    file: str
    row_bytes: int = 0


def find_in_file(path: Path, entry: BinlogEntry, search: Search, first: int, last: int) -> list[Candidate]:
    """The candidates of one binlog, committed from `first` to `last` (microseconds)."""
    found = []
    with opened(path) as binlog:
        for transaction in _whole(binlog):
            if not first <= transaction.commit_time <= last:
                continue
            at = utc_of_microseconds(transaction.commit_time)
            found += [
                Candidate(
                    at, transaction.gtid, match.database, match.statement, entry.lineage, entry.file, match.row_bytes
                )
                for match in search.matches(transaction, contents(binlog, transaction))
            ]
    return found


def _whole(binlog: BinaryLog) -> Iterator[Transaction]:
    with suppress(BinlogTruncatedError):  # a killed server's file
        yield from binlog.transactions()


def find(
    entries: Sequence[BinlogEntry],
    search: Search,
    between: tuple[datetime, datetime],
    *,
    store: Store,
    spool: Path,
    parallel: int,
    abandoned: GtidSet,
) -> list[Candidate]:
    """All candidates of the time between, newest first, each GTID once; given-up transactions are passed over."""
    first, last = (microseconds_of(moment) for moment in between)
    files = [e for e in entries if _overlaps(e, between) and search.may_hold(e)]
    files.sort(key=lambda entry: (entry.last_time or between[0], entry.file), reverse=True)
    found: dict[str, Candidate] = {}
    seen = abandoned
    with tempfile.TemporaryDirectory(prefix="find-", dir=spool) as folder:
        for number, batch in enumerate(_batches(files, parallel)):
            # Another server's copy of transactions that were searched already.
            todo = [entry for entry in batch if not entry.gtids <= seen]
            paths = [Path(folder) / f"{entry.lineage}-{entry.file}" for entry in todo]
            with ThreadPoolExecutor(parallel, "fetch") as pool:
                list(pool.map(lambda pair: fetch_binlog(pair[0], store, pair[1]), zip(todo, paths, strict=True)))
            for entry, path in zip(todo, paths, strict=True):
                for candidate in find_in_file(path, entry, search, first, last):
                    source, _, one = candidate.gtid.rpartition(":")
                    if not seen.contains(source, int(one)):
                        found.setdefault(candidate.gtid, candidate)
                path.unlink()
                seen = seen | entry.gtids
            log.info("searched %d of %d binlogs", min((number + 1) * parallel, len(files)), len(files))
    return sorted(found.values(), key=lambda candidate: candidate.at, reverse=True)


def listing(candidates: Sequence[Candidate], zone: str) -> str:
    """The candidates as `mysql-restore find` prints them, newest first; of many those that changed most (pure)."""
    largest = sorted(candidates, key=lambda one: one.row_bytes, reverse=True)[:LISTED]
    shown = [one for one in candidates if one in largest]
    lines = [
        f"{moment(one.at, zone)}  {one.gtid}"
        + (f"  ({human_bytes(one.row_bytes)} of rows)" if one.row_bytes else "")
        + f"\n    [{one.database}] {' '.join(one.statement.split())}"
        for one in shown
    ]
    if len(candidates) > len(shown):
        lines.append(f"{len(candidates) - len(shown)} more, which changed less: narrow it by --between, or use --json")
    return "\n".join(lines)


def _overlaps(entry: BinlogEntry, between: tuple[datetime, datetime]) -> bool:
    if entry.first_time is None or entry.last_time is None:
        return False
    return entry.first_time <= between[1] and between[0] <= entry.last_time


def _batches(files: Sequence[BinlogEntry], size: int) -> Iterator[Sequence[BinlogEntry]]:
    for start in range(0, len(files), size):
        yield files[start : start + size]
