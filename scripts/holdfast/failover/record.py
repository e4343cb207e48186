"""The record: one file of the keeper that says who is primary and who has every acknowledged transaction (pure).

Every change is a compare-and-swap. The keeper decides by `decide_swap` alone, fsyncs, then answers; nothing here
reads a clock or a disk. Source: design section 7, "The record" and "Acknowledging";
the pattern is Patroni's `/sync` key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum


@dataclass(frozen=True, slots=True)
class Instance:
    """One running mysqld. A restart makes another one, which voids what the record says of the first.

    `process_start` is field 22 of /proc/<pid>/stat, in clock ticks since boot; with `boot_id` it is unique.
    """

    server_uuid: str
    boot_id: str
    process_start: int


@dataclass(frozen=True, slots=True)
class Record:
    """What the keeper holds.

    `version` changes with each swap and is only ever compared for equality; a rebuilt record starts at a random one, so
    that a request from before cannot match it. `term` counts primaries. `primary` is a server_uuid. `opened`: a
    promotion ended. `in_sync`: the running mysqld that has every acknowledged transaction, or None. While `opened` is
    false it is the instance that was elected, kept so that a manager that restarts can tell whether it is still
    the same; None then means that a person allowed a loss.
    """

    version: int
    term: int
    primary: str
    opened: bool
    in_sync: Instance | None


class Change(Enum):
    """What a request asks of the record, and who may ask it."""

    TO_NONE = "the primary's guard: I may acknowledge alone; or the in-sync replica's guard, before a planned stop"
    TO_REPLICA = "the primary's guard: this instance has everything that was ever acknowledged"
    PROMOTE = "a manager: this server shall be primary"
    ALLOW_LOSS = (
        "a manager, told by a person who named the loss: this server shall be primary whatever is missing on it"
    )
    OPEN = "a manager: the candidate is drained and detached, it may be opened"
    ROLL_BACK = "a manager: the promotion is given up, the old primary goes on"


@dataclass(frozen=True, slots=True)
class SwapRequest:
    """`expected_*` are those of the record that the asker read. `asker` is a server_uuid, or "manager"."""

    change: Change
    asker: str
    expected_version: int
    expected_term: int
    primary: str = ""
    instance: Instance | None = None


@dataclass(frozen=True, slots=True)
class SwapAnswer:
    """`record` is what the keeper holds now; `refusal` is empty exactly when the swap was done."""

    record: Record | None
    refusal: str

    @property
    def granted(self) -> bool:
        """Whether the record was changed as asked."""
        return not self.refusal


def decide_swap(record: Record | None, request: SwapRequest) -> SwapAnswer:
    """Answer a request; the caller writes `answer.record` durably before it answers, if granted."""
    if record is None:
        return SwapAnswer(None, "there is no record: nothing is granted until it is rebuilt or restored")
    if (request.expected_version, request.expected_term) != (record.version, record.term):
        return SwapAnswer(record, f"the record moved on to version {record.version}, term {record.term}: read it again")
    refusal = _refusal(record, request)
    if refusal:
        return SwapAnswer(record, refusal)
    return SwapAnswer(replace(_changed(record, request), version=record.version + 1), "")


def _refusal(record: Record, request: SwapRequest) -> str:
    change, instance = request.change, request.instance
    if change in (Change.OPEN, Change.ROLL_BACK) and record.opened:
        return "no promotion is under way"
    if change not in (Change.OPEN, Change.ROLL_BACK) and not record.opened:
        return f"a promotion of {record.primary} is under way"
    if change is Change.TO_NONE:
        leaving = record.in_sync is not None and record.in_sync.server_uuid == request.asker
        return "" if leaving or request.asker == record.primary else f"{request.asker} is not the primary"
    if change is Change.TO_REPLICA:
        if request.asker != record.primary:
            return f"{request.asker} is not the primary"
        return "" if instance and instance.server_uuid != record.primary else "the instance is not a replica's"
    if change in (Change.PROMOTE, Change.ALLOW_LOSS, Change.ROLL_BACK) and request.primary in ("", record.primary):
        return f"{request.primary or 'nobody'} cannot take over from {record.primary}"
    if change is Change.PROMOTE and (instance is None or record.in_sync != instance):
        return f"the candidate is not the instance in sync ({record.in_sync}): acknowledged transactions may be missing"
    if change is Change.PROMOTE and instance is not None and instance.server_uuid != request.primary:
        return "the instance is not the candidate's"
    if change is Change.OPEN and record.in_sync is not None and record.in_sync != instance:
        return "the candidate's mysqld is not the one that was elected: its relay log may have been dropped"
    return ""


def _changed(record: Record, request: SwapRequest) -> Record:
    """Return the record after a change that was not refused; the version is the caller's."""
    change, term = request.change, record.term + 1
    if change is Change.PROMOTE:
        return replace(record, term=term, primary=request.primary, opened=False, in_sync=request.instance)
    if change is Change.ALLOW_LOSS:
        return replace(record, term=term, primary=request.primary, opened=False, in_sync=None)
    if change is Change.ROLL_BACK:
        return replace(record, term=term, primary=request.primary, opened=True, in_sync=None)
    if change is Change.OPEN:
        return replace(record, opened=True, in_sync=None)
    return replace(record, in_sync=request.instance if change is Change.TO_REPLICA else None)


@dataclass(frozen=True, slots=True)
class Witness:
    """What one server and its guard say to a keeper that has no record; `replicates_from` is a server_uuid or empty."""

    server_uuid: str
    answers: bool
    writable: bool
    replicates_from: str
    highest_term: int


def decide_rebuild(witnesses: Sequence[Witness], fresh_version: int) -> Record | str:
    """Return the record that all servers agree on, or why a person has to write it.

    `fresh_version` is a random number below 2**62, so that no request sent before can match the new record.
    """
    silent = [witness.server_uuid for witness in witnesses if not witness.answers]
    if silent or not witnesses:
        return f"not every server answers: {', '.join(silent) or 'none is known'}"
    writable = [witness for witness in witnesses if witness.writable]
    if len(writable) != 1:
        return f"{len(writable)} servers are writable, one must be"
    primary = writable[0]
    strays = [w.server_uuid for w in witnesses if w is not primary and w.replicates_from != primary.server_uuid]
    if strays:
        return f"not a replica of {primary.server_uuid}: {', '.join(strays)}"
    term = max(witness.highest_term for witness in witnesses)
    if primary.highest_term < term:
        return f"a guard knows term {term}, later than the primary's {primary.highest_term}"
    return Record(version=fresh_version, term=term + 1, primary=primary.server_uuid, opened=True, in_sync=None)
