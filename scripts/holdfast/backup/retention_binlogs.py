"""Which archived binlogs stay, and why. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from holdfast.backup.binlogs import BinlogEntry
from holdfast.backup.retention_backups import View
from holdfast.clock import format_utc
from holdfast.gtid import GtidSet

# A base may lack what was committed shortly before it began, as its server lagged; far less than this
# (backup.replica_maximum_lag_seconds), clocks that differ included.
LAG = timedelta(days=1)


@dataclass(frozen=True)
class Needs:
    """What the bases ask of the archive: all that is not in every one of them."""

    view: View

    @cached_property
    def floor(self) -> GtidSet:
        """What each base has, and what was given up: no restore of a promised moment replays it."""
        common: GtidSet | None = None
        for manifest in self.view.bases:
            common = manifest.gtid_contained if common is None else common & manifest.gtid_contained
        # What a restore within the promised days gave up is still part of the days before it.
        given_up = GtidSet.union_of(
            line.abandoned for line in self.view.lines if line.kind != "restore" or line.at <= self.view.horizon
        )
        return (common or GtidSet()) | given_up

    @cached_property
    def begins(self) -> datetime | None:
        """From when on a transaction may be missing in a base; None when there is no base at all."""
        starts = [manifest.started_at for manifest in self.view.bases]
        return min(starts) - LAG if starts else None

    @cached_property
    def asked_for(self) -> GtidSet:
        """What files that stay say came before them, and no base has: without it they could not be replayed."""
        kept = [entry for entry in self.view.entries if young(self, entry) or after_bases(self, entry)]
        return GtidSet.union_of(entry.previous_gtids for entry in kept) - self.floor

    @cached_property
    def oldest(self) -> datetime:
        """Younger files stay by their date."""
        return self.view.now - timedelta(days=self.view.policy.binlog_days)


def young(needs: Needs, entry: BinlogEntry) -> str:
    """Of the days for which binlogs are kept, by either of its times: a server's clock may have been wrong."""
    last = max(entry.last_time or entry.archived_at, entry.archived_at)
    return f"of the last {needs.view.policy.binlog_days} days" if last >= needs.oldest else ""


def after_bases(needs: Needs, entry: BinlogEntry) -> str:
    """What the bases go on with: it holds what one of them lacks, and is as young as the oldest of them."""
    last = entry.last_time or entry.archived_at
    if (needs.begins is not None and last < needs.begins) or entry.gtids <= needs.floor:
        return ""
    oldest = min(needs.view.bases, key=lambda item: item.finished_at, default=None)
    return f"goes on after {oldest.id}" if oldest else "there is no backup that has it"


def asked_for(needs: Needs, entry: BinlogEntry) -> str:
    """What a file that stays needs before it."""
    return "in no backup, and files after it need it" if entry.gtids & needs.asked_for else ""


BinlogRule = Callable[[Needs, BinlogEntry], str]
RULES: tuple[BinlogRule, ...] = (young, after_bases, asked_for)


def kept_binlogs(view: View) -> Mapping[str, str]:
    """Why each file that stays does, by the name of its entry."""
    needs = Needs(view)
    reasons = ((entry, next(filter(None, (rule(needs, entry) for rule in RULES)), "")) for entry in view.entries)
    return {entry.entry_name: reason for entry, reason in reasons if reason}


def archive_begins(view: View) -> datetime | None:
    """Before this moment no file of the archive is needed by its date; None when nothing may be said."""
    needs = Needs(view)
    return None if needs.begins is None else min(needs.oldest, needs.begins)


def why_not_kept(view: View) -> str:
    """The reason for all others (pure)."""
    return f"older than {view.policy.binlog_days} days, and what moments since {format_utc(view.horizon)} need is kept"
