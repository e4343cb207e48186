"""Which backup chain and which binlogs lead to a target, or why none do. Pure: it sees manifests, entries and lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

from holdfast.backup.binlogs import BinlogEntry
from holdfast.backup.chain import chain_of
from holdfast.backup.manifest import Manifest
from holdfast.clock import format_utc
from holdfast.errors import ExitCode, HoldfastError, StorageError
from holdfast.gtid import GtidSet
from holdfast.recovery.lines import Line
from holdfast.recovery.target import BeforeGtid, Last, Target, ToGtid, ToTime


class PlanError(HoldfastError):
    """The target cannot be reached from what the store holds; `hole` says what is missing, when that is known."""

    exit_code: ClassVar[ExitCode] = ExitCode.STORAGE

    def __init__(self, what: str, *, meaning: str = "", remedy: str = "", hole: Hole | None = None) -> None:
        """As HoldfastError."""
        super().__init__(what, meaning=meaning, remedy=remedy)
        self.hole = hole


@dataclass(frozen=True)
class Hole:
    """Transactions that no usable file holds; they were committed between `after` and `before` (UTC)."""

    missing: GtidSet
    after: datetime
    before: datetime | None


@dataclass(frozen=True)
class Window:
    """From the end of the oldest complete backup to the last archived transaction (UTC)."""

    start: datetime
    end: datetime

    def __str__(self) -> str:
        """For messages."""
        return f"{format_utc(self.start)} to {format_utc(self.end)}"


@dataclass(frozen=True)
class Plan:
    """What a run will do: the chain, full first; then the binlogs in the order of replaying."""

    target: Target
    chain: tuple[Manifest, ...]
    binlogs: tuple[BinlogEntry, ...]
    abandoned: GtidSet
    window: Window
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Scope:
    """What counts for this target."""

    entries: tuple[BinlogEntry, ...]
    abandoned: GtidSet
    notes: tuple[str, ...]


def make_plan(
    manifests: Sequence[Manifest],
    entries: Sequence[BinlogEntry],
    lines: Sequence[Line],
    target: Target,
    problems: Iterable[str] = (),
) -> Plan:
    """The plan from the newest usable backup; `problems` are objects that did not verify, and go into the notes.

    Raises PlanError that names the hole, the restorable window, or why no backup serves.
    """
    chains, notes = _complete_chains(manifests)
    notes = [*problems, *notes]
    if not chains:
        raise PlanError(
            "the store holds no complete backup",
            meaning="\n".join(notes) or "Nothing can be restored.",
            remedy="Take one: mysql-backup-full.",
        )
    scope = _scope(entries, lines, target)
    oldest = min(_end_of(chain[-1]) for chain in chains)
    window = Window(oldest, max([entry.last_time for entry in scope.entries if entry.last_time] + [oldest]))
    _refuse_outside(target, window, scope)
    stuck: PlanError | None = None
    for chain in sorted(chains, key=lambda chain: (chain[-1].finished_at, chain[-1].id), reverse=True):
        reason = _unusable(chain[-1], target, scope)
        if reason:
            notes.append(f"{chain[-1].id} is not used: {reason}")
            continue
        try:
            binlogs = _sequence(chain[-1], target, scope)
        except PlanError as error:
            stuck = stuck or error
            notes.append(f"{chain[-1].id} is not used: {error.what}")
            continue
        return Plan(target, tuple(chain), tuple(binlogs), scope.abandoned, window, (*notes, *scope.notes))
    if stuck:
        raise stuck
    raise PlanError(
        f"no complete backup lies before {target}",
        meaning="\n".join([*notes, f"Restorable is {window}."]),
        remedy="Choose a later target.",
    )


def _complete_chains(manifests: Sequence[Manifest]) -> tuple[list[list[Manifest]], list[str]]:
    chains, notes = [], []
    for manifest in manifests:
        try:
            chains.append(chain_of(manifest, manifests))
        except StorageError as error:
            notes.append(f"{manifest.id} is not used: {error.what}")
    return chains, notes


def _scope(entries: Sequence[BinlogEntry], lines: Sequence[Line], target: Target) -> _Scope:
    """A restore that happened after a target in time had not given anything up yet; nor had its new line begun."""
    later = [line for line in lines if isinstance(target, ToTime) and line.kind == "restore" and line.at > target.at]
    begun = min((line.at for line in later), default=None)
    counted = tuple(e for e in entries if begun is None or e.first_time is None or e.first_time < begun)
    notes = tuple(
        f"the restore of {format_utc(line.at)} came after this target: its line is not followed" for line in later
    )
    return _Scope(counted, GtidSet.union_of(line.abandoned for line in lines if line not in later), notes)


def _refuse_outside(target: Target, window: Window, scope: _Scope) -> None:
    match target:
        case ToTime(at) if not window.start <= at <= window.end:
            side = "before the oldest complete backup" if at < window.start else "after the last archived transaction"
            raise PlanError(
                f"{target} is {side}",
                meaning=f"Restorable is {window}.",
                remedy="Choose a target within it"
                + (", or archive first (mysql-backup-binlogs), or use --last." if at > window.end else "."),
            )
        case ToGtid(source, number) | BeforeGtid(source, number):
            if scope.abandoned.contains(source, number):
                raise PlanError(
                    f"transaction {source}:{number} was given up by a promotion, restore or salvage",
                    meaning="It belongs to a line that no plan follows.",
                    remedy="Restore to a transaction before it, then look into its binlog with mysqlbinlog.",
                )
            if not _holding(target, scope):
                raise PlanError(
                    f"transaction {source}:{number} is in no archived binlog",
                    meaning=f"Restorable is {window}.",
                    remedy="If it is newer than that, archive it: mysql-backup-binlogs on the server that has it.",
                )


def _holding(target: ToGtid | BeforeGtid, scope: _Scope) -> list[BinlogEntry]:
    return [entry for entry in scope.entries if entry.gtids.contains(target.source, target.number)]


def _end_of(base: Manifest) -> datetime:
    """A moment by which the backup surely had ended: manifests know whole seconds."""
    return base.finished_at + timedelta(seconds=1)


def _unusable(base: Manifest, target: Target, scope: _Scope) -> str:
    """Why a backup holds, or may hold, more than the target includes; empty when it does not."""
    given_up = base.gtid_upper & scope.abandoned
    if given_up:
        return f"it holds transactions that were given up ({given_up.one_line()})"
    match target:
        case ToTime(at):
            if _end_of(base) > at:
                return f"it ended at {format_utc(base.finished_at)}, not before the target"
            late = [entry for entry in scope.entries if entry.first_time and entry.first_time >= at]
            if any(entry.gtids & base.gtid_upper for entry in late):
                return "it holds transactions of after the target: a clock was wrong"
        case ToGtid(source, number) | BeforeGtid(source, number):
            # Within one file the order of other sources is not known from its entry; so they count as later.
            last = number if isinstance(target, ToGtid) else number - 1
            upto = GtidSet({source: [(1, last)]}) if last else GtidSet()
            if not any(base.gtid_upper <= (entry.previous_gtids | upto) for entry in _holding(target, scope)):
                return "it holds transactions that come after the target"
    return ""


class _Archive:
    """The archived files of every lineage in order; `have` only grows, so what is passed stays passed."""

    def __init__(self, scope: _Scope) -> None:
        self._abandoned = scope.abandoned
        self._files: dict[str, list[BinlogEntry]] = {}
        for entry in sorted(scope.entries, key=lambda entry: (entry.lineage, _sequence_number(entry.file))):
            self._files.setdefault(entry.lineage, []).append(entry)
        self._at = dict.fromkeys(self._files, 0)

    def heads(self, have: GtidSet) -> list[BinlogEntry]:
        """Of each lineage the first file with something new: a later one needs what is in it."""
        found = []
        for lineage, files in self._files.items():
            while self._at[lineage] < len(files) and not self.new(files[self._at[lineage]], have):
                self._at[lineage] += 1
            if self._at[lineage] < len(files):
                found.append(files[self._at[lineage]])
        return found

    def new(self, entry: BinlogEntry, have: GtidSet) -> GtidSet:
        """What the file adds."""
        return entry.gtids - self._abandoned - have

    def missing(self, entry: BinlogEntry, have: GtidSet) -> GtidSet:
        """What must be there before the file.

        The first files of a cloned or restored server do not tell what it was seeded with; that a source's numbers
        follow each other does.
        """
        needed, before, held = entry.previous_gtids, dict(entry.previous_gtids.intervals()), dict(have.intervals())
        for source, ranges in entry.gtids.intervals():
            start = held[source][-1][1] + 1 if source in held else 1
            if source not in before and start < ranges[0][0]:
                needed = needed | GtidSet({source: [(start, ranges[0][0] - 1)]})
        return needed - self._abandoned - have


def _sequence(base: Manifest, target: Target, scope: _Scope) -> list[BinlogEntry]:
    """The files from the backup to the target: always one whose predecessors are there. Raises PlanError."""
    archive, have, chosen = _Archive(scope), base.gtid_contained, list[BinlogEntry]()
    lineage, covered = base.lineage, base.finished_at
    if isinstance(target, ToGtid) and have.contains(target.source, target.number):
        return []
    while True:
        heads = archive.heads(have)
        usable = [entry for entry in heads if not archive.missing(entry, have)]
        if not usable:
            if isinstance(target, Last) and not heads:
                return chosen
            raise _stuck(target, heads, archive, have, covered)
        best = max(
            usable, key=lambda entry: (entry.lineage == lineage, archive.new(entry, have).count(), entry.lineage)
        )
        if isinstance(target, ToTime) and best.first_time and best.first_time >= target.at:
            return chosen  # nothing lies between what we have and this file
        chosen.append(best)
        if _reaches(best, target):
            return chosen
        have, lineage = have | (best.gtids - scope.abandoned), best.lineage
        covered = max(covered, best.last_time or covered)


def _reaches(entry: BinlogEntry, target: Target) -> bool:
    match target:
        case ToTime(at):
            return entry.last_time is not None and entry.last_time >= at
        case ToGtid(source, number) | BeforeGtid(source, number):
            return entry.gtids.contains(source, number)
        case _:
            return False


def _stuck(
    target: Target, heads: Sequence[BinlogEntry], archive: _Archive, have: GtidSet, covered: datetime
) -> PlanError:
    """The hole before the file that could follow soonest."""
    if not heads:
        return PlanError(
            f"the archive ends at {format_utc(covered)}, before {target}",
            meaning=f"Of its line everything up to {format_utc(covered)} can be restored.",
            remedy="Archive first (mysql-backup-binlogs on every server), or choose an earlier target.",
        )
    nearest = min(
        heads, key=lambda entry: (archive.missing(entry, have).count(), entry.first_time or covered, entry.file)
    )
    hole = Hole(archive.missing(nearest, have), covered, nearest.first_time)
    until = f" and {format_utc(hole.before)}" if hole.before else " and later"
    return PlanError(
        f"a hole: {hole.missing.count()} transactions ({hole.missing.one_line()}) of between"
        f" {format_utc(hole.after)}{until} are in no archived binlog",
        meaning=f"They are needed before {nearest.lineage}/{nearest.file}, on the way to {target}.",
        remedy=f"If a server still has their binlogs, run mysql-backup-binlogs there; else choose a target until"
        f" {format_utc(hole.after)}.",
        hole=hole,
    )


def _sequence_number(file: str) -> int:
    digits = file.rpartition(".")[2]
    return int(digits) if digits.isdigit() else 0
