"""Errant transactions, before their server is built anew: saved offsite as binary log and as SQL, and counted by table.

A server that was killed in the middle of a commit has transactions that no client was told of and that the new primary
lacks. They are evidence, and sometimes somebody's order: `rebuild_replica` wipes them only after this.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from holdfast.backup.store import Store
from holdfast.binlog import Transaction, filter_transactions
from holdfast.binlog import opened as opened_binlog
from holdfast.clock import compact_utc
from holdfast.errors import ToolError
from holdfast.gtid import GtidSet
from holdfast.process import run

FOLDER = "salvage"
_CHANGE = re.compile(r"^### (INSERT INTO|UPDATE|DELETE FROM) `([^`]*)`\.`([^`]*)`", re.MULTILINE)
DECODE_SECONDS = 600.0


@dataclass(frozen=True)
class Saved:
    """What was saved: the folder in the store, the transactions, rows by table, and what was not found any more."""

    folder: str
    gtids: GtidSet
    rows: dict[str, int]
    missing: GtidSet

    def text(self) -> str:
        """One paragraph for people."""
        rows = ", ".join(f"{table} {count} rows" for table, count in sorted(self.rows.items())) or "no rows"
        lines = [f"{self.gtids.count()} transactions ({rows}) are saved as {self.folder}/"]
        if self.missing:
            lines.append(f"Not in the binary logs any more: {self.missing.one_line()}")
        return "\n".join(lines)


def rows_by_table(decoded: str) -> dict[str, int]:
    """Changed rows by table in what `mysqlbinlog -vv` prints (pure)."""
    return dict(Counter(f"{database}.{table}" for _, database, table in _CHANGE.findall(decoded)))


def files_with(directory: Path, names: Iterable[str], wanted: GtidSet) -> list[tuple[Path, GtidSet]]:
    """The binary logs that have some of the transactions, newest first, until all are found. Raises BinlogError."""
    found: list[tuple[Path, GtidSet]] = []
    left = wanted
    for name in reversed(list(names)):
        path = directory / name
        with opened_binlog(path) as log:
            before = log.previous_gtids
        # everything of this file came after `before`; what is in there must be in an older one
        here = left - before
        if here:
            found.append((path, here))
            left = left & before
        if not left:
            break
    return found


def _among(gtids: GtidSet) -> Callable[[Transaction], bool]:
    return lambda one: gtids.contains(one.source, one.number)


def save(store: Store, directory: Path, names: Iterable[str], wanted: GtidSet, host: str, now: datetime) -> Saved:
    """Save the transactions. `names` are the server's binary logs in `directory`, oldest first.

    Raises ToolError (a file cannot be read, mysqlbinlog failed) and StorageError.
    """
    folder = f"{FOLDER}/{compact_utc(now)}-{host}"
    saved, rows = GtidSet(), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="holdfast-salvage-") as work:
        for path, here in files_with(directory, names, wanted):
            raw = Path(work) / path.name
            kept = filter_transactions(path, raw, _among(here))
            if not kept.transactions:
                raw.unlink()
                continue
            done = run(["mysqlbinlog", "-vv", str(raw)], name="mysqlbinlog", timeout_seconds=DECODE_SECONDS)
            text = Path(work) / f"{path.name}.sql"
            text.write_bytes(done.stdout)
            rows.update(rows_by_table(done.stdout.decode(errors="replace")))
            store.put(raw, f"{folder}/{raw.name}")
            store.put(text, f"{folder}/{text.name}")
            saved |= kept.gtids
    if not saved:
        raise ToolError(
            f"none of {wanted.one_line()} is in the binary logs in {directory}",
            meaning="Nothing was saved: these transactions cannot be looked at any more.",
        )
    return Saved(folder, saved, dict(rows), wanted - saved)
