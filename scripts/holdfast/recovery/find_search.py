"""What a person looks for in the archived binlogs, and whether a transaction is it. Pure."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass

from holdfast.backup.binlogs import BinlogEntry
from holdfast.binlog import Transaction
from holdfast.binlog_rows import Change, Contents
from holdfast.errors import UsageError
from holdfast.recovery.find import Wanted, fits, losses, parse_wanted
from holdfast.recovery.target import gtid_of

_DELETE = re.compile(r"\s*delete\s+from\s+(\S.*)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Match:
    """What is told of a transaction that fits: current database, statement, and the bytes of the rows it changed."""

    database: str
    statement: str
    row_bytes: int = 0


class Search(ABC):
    """Something to look for."""

    def may_hold(self, entry: BinlogEntry) -> bool:
        """Whether a file can have it, by what its entry says; any can, where nothing else is known."""
        del entry
        return True

    @abstractmethod
    def matches(self, transaction: Transaction, found: Contents) -> list[Match]:
        """What of a transaction fits."""


@dataclass(frozen=True)
class Destroyed(Search):
    """A statement that drops or truncates a table, or drops its database."""

    wanted: Wanted

    def matches(self, transaction: Transaction, found: Contents) -> list[Match]:
        """Each such statement."""
        del transaction
        return [
            Match(query.database, query.text)
            for query in found.queries
            if any(fits(loss, self.wanted) for loss in losses(query))
        ]


@dataclass(frozen=True)
class DeletedFrom(Search):
    """Rows that were deleted from a table, by whatever statement; the names as in Wanted."""

    database: str | None
    table: str

    def matches(self, transaction: Transaction, found: Contents) -> list[Match]:
        """The transaction, once for each table that fits."""
        del transaction
        return [
            Match(change.database, told(found, change), change.row_bytes)
            for change in found.changes
            if change.kind == "delete"
            and change.table.casefold() == self.table.casefold()
            and (self.database is None or change.database.casefold() == self.database.casefold())
        ]


@dataclass(frozen=True)
class OfGtid(Search):
    """One transaction."""

    source: str
    number: int

    def may_hold(self, entry: BinlogEntry) -> bool:
        """The files that have it."""
        return entry.gtids.contains(self.source, self.number)

    def matches(self, transaction: Transaction, found: Contents) -> list[Match]:
        """What it did."""
        return whole(found) if (transaction.source, transaction.number) == (self.source, self.number) else []


@dataclass(frozen=True)
class Anything(Search):
    """Every transaction: for a short time between two moments."""

    def matches(self, transaction: Transaction, found: Contents) -> list[Match]:
        """What it did."""
        del transaction
        return whole(found)


def whole(found: Contents) -> list[Match]:
    """All of a transaction in one line: its statements, or else the rows that it changed."""
    queries = [query for query in found.queries if query.text.upper() not in ("BEGIN", "COMMIT")]
    texts = [query.text for query in queries] + list(found.statements)
    texts = texts or [f"{change.kind} of rows of {change.database}.{change.table}" for change in found.changes]
    database = queries[0].database if queries else found.changes[0].database if found.changes else ""
    return [Match(database, "; ".join(dict.fromkeys(texts)), sum(change.row_bytes for change in found.changes))]


def told(found: Contents, change: Change) -> str:
    """The statements that may have made a change; without them the change itself."""
    own = [text for text in found.statements if change.table.casefold() in text.casefold()]
    texts = own or list(found.statements) or [f"{change.kind} of rows of {change.database}.{change.table}"]
    return "; ".join(dict.fromkeys(texts))


def parse_search(text: str) -> Search:
    """From what find.parse_wanted takes, and `delete from shop.orders`. Raises UsageError."""
    deleted = _DELETE.fullmatch(text)
    if deleted is None:
        return Destroyed(parse_wanted(text))
    wanted = parse_wanted(deleted.group(1))
    if wanted.verb is not None:
        raise UsageError(f"{text!r} does not name one table", remedy="Write 'delete from shop.orders'.")
    return DeletedFrom(wanted.database, wanted.name)


def of_gtid(text: str) -> OfGtid:
    """From `uuid:n`. Raises UsageError."""
    return OfGtid(*gtid_of(text))
