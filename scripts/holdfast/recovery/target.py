"""What a person may ask to go back to, and which transactions that means (docs/decisions/target-semantics.md)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from holdfast.binlog import Transaction
from holdfast.errors import UsageError
from holdfast.gtid import GtidSet, parse_gtid

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class ToTime:
    """Everything before the first transaction, in binlog order, that was committed at this time or later."""

    at: datetime

    def __str__(self) -> str:
        """For messages."""
        return f"time {self.at.astimezone(UTC).isoformat(sep=' ').replace('+00:00', ' UTC')}"


@dataclass(frozen=True)
class ToGtid:
    """Everything up to and including this transaction."""

    source: str
    number: int

    def __str__(self) -> str:
        """For messages."""
        return f"transaction {self.source}:{self.number} included"


@dataclass(frozen=True)
class BeforeGtid:
    """Everything before this transaction."""

    source: str
    number: int

    def __str__(self) -> str:
        """For messages."""
        return f"just before transaction {self.source}:{self.number}"


@dataclass(frozen=True)
class Last:
    """Everything that was archived."""

    def __str__(self) -> str:
        """For messages."""
        return "the last archived transaction"


NEWEST = "newest"


@dataclass(frozen=True)
class ToBackup:
    """What one backup holds, and nothing after it: of older weeks only their fulls are left.

    `newest` in place of an id is the newest whole one: the way out where no binlog can be used.
    """

    backup_id: str

    def __str__(self) -> str:
        """For messages."""
        return f"backup {self.backup_id}"


@dataclass(frozen=True)
class ToSet:
    """Exactly these transactions, whatever their order: the state that a fingerprint was taken of."""

    gtids: GtidSet

    def __str__(self) -> str:
        """For messages."""
        return f"transactions {self.gtids.one_line()}"


Target = ToTime | ToGtid | BeforeGtid | Last | ToBackup | ToSet


def gtid_of(text: str) -> tuple[str, int]:
    """(source, number) of `uuid:n` or `uuid:tag:n` that a person typed. Raises UsageError."""
    try:
        return parse_gtid(text)
    except ValueError as error:
        raise UsageError(str(error), remedy="Take it from `mysql-restore find` or from mysqlbinlog.") from None


def gtid_target(text: str, *, included: bool) -> ToGtid | BeforeGtid:
    """A target from `uuid:n` or `uuid:tag:n`. Raises UsageError."""
    source, number = gtid_of(text)
    return ToGtid(source, number) if included else BeforeGtid(source, number)


def short_name(target: Target) -> str:
    """A part of a directory's name."""
    match target:
        case ToTime(at):
            return "time-" + at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        case ToGtid(source, number):
            return f"gtid-{source[:8]}-{number}"
        case BeforeGtid(source, number):
            return f"before-{source[:8]}-{number}"
        case ToBackup(backup_id):
            return f"backup-{backup_id}"
        case _:
            return "last"


def microseconds_of(moment: datetime) -> int:
    """Microseconds since 1970, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


class Cutter:
    """Decides about transactions in binlog order, file after file; once it has stopped it refuses all that follow."""

    def __init__(self, target: Target) -> None:
        """Nothing was seen yet."""
        self.stopped_at: Transaction | None = None
        self.ended = False
        self._target = target
        self._deadline = microseconds_of(target.at) if isinstance(target, ToTime) else 0

    def wants(self, transaction: Transaction) -> bool:
        """Whether the target includes it, given that all earlier ones were shown first."""
        if self.ended:
            return False
        match self._target:
            case ToSet(gtids):
                return gtids.contains(transaction.source, transaction.number)
            case ToTime():
                stops = transaction.commit_time >= self._deadline
            case BeforeGtid(source, number):
                stops = (transaction.source, transaction.number) == (source, number)
            case ToGtid(source, number):
                self.ended = (transaction.source, transaction.number) == (source, number)
                stops = False
            case _:
                stops = False
        if stops:
            self.ended, self.stopped_at = True, transaction
        return not stops
