"""Which backups stay, and why. Pure: each rule names what it keeps, and nothing but a rule keeps anything."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

from holdfast.backup.binlogs import BinlogEntry
from holdfast.backup.chain import chain_of
from holdfast.backup.drills import Drill
from holdfast.backup.manifest import Manifest
from holdfast.clock import format_utc
from holdfast.config_retention import WEEKDAYS, RetentionConfig
from holdfast.errors import StorageError
from holdfast.gtid import GtidSet
from holdfast.recovery.lines import Line

# A manifest knows whole seconds: the backup has surely ended one later (recovery/plan.py says the same).
END_SLACK = timedelta(seconds=1)
# An older base may go on where a newer one does not, if that has less: taken on a server that lagged, or that was given
# up. Beyond a week before the newest that is no lag any more.
RIVALS = timedelta(days=7)

Reasons = dict[str, str]


@dataclass(frozen=True)
class View:
    """What the store holds, as far as backups are concerned; `intact` are the backups whose segments are all there."""

    manifests: Sequence[Manifest]
    intact: Collection[str]
    entries: Sequence[BinlogEntry]
    lines: Sequence[Line]
    drills: Sequence[Drill]
    policy: RetentionConfig
    zone: ZoneInfo
    now: datetime

    @property
    def horizon(self) -> datetime:
        """Every moment from here on is promised."""
        return self.now - timedelta(days=self.policy.point_in_time_days)

    @cached_property
    def by_id(self) -> Mapping[str, Manifest]:
        """The manifests."""
        return {manifest.id: manifest for manifest in self.manifests}

    @cached_property
    def chains(self) -> Mapping[str, Sequence[Manifest]]:
        """For each backup that can be restored the chain up to it; the others have a broken one."""
        found = {}
        for manifest in self.manifests:
            try:
                chain = chain_of(manifest, self.manifests if manifest.parent_id else (manifest,))
            except StorageError:
                continue
            if all(member.id in self.intact for member in chain):
                found[manifest.id] = chain
        return found

    @cached_property
    def bases(self) -> Sequence[Manifest]:
        """From which the promised moments are restored: the newest before the horizon, its rivals, and all after it."""
        found = {manifest.id: manifest for manifest in bases_before(self)}
        found |= {key: self.by_id[key] for key in self.chains if not _before(self.by_id[key], self.horizon)}
        return list(found.values())


def recent(view: View) -> Reasons:
    """What ended within the promised days."""
    days = view.policy.point_in_time_days
    return {item.id: f"of the last {days} days" for item in view.manifests if not _before(item, view.horizon)}


def base(view: View) -> Reasons:
    """What the first of the promised days are restored from."""
    text = f"what moments from {format_utc(view.horizon)} on are restored from"
    return {manifest.id: text for manifest in bases_before(view)}


def weekly(view: View) -> Reasons:
    """Of each week the first full that can be restored: the full weekday's, or what made up for it."""
    first: dict[date, Manifest] = {}
    oldest = view.now - timedelta(days=view.policy.weekly_full_days)
    for item in sorted(view.manifests, key=lambda item: (item.started_at, item.id)):
        if item.type == "full" and item.id in view.chains:
            first.setdefault(week_of(item.started_at, view.zone, view.policy.full_weekday), item)
    return {
        item.id: f"the full of the week from {week}, kept {view.policy.weekly_full_days} days"
        for week, item in first.items()
        if item.started_at >= oldest
    }


def minimum(view: View) -> Reasons:
    """The newest chains, however old."""
    fulls = [view.by_id[key] for key in view.chains if view.by_id[key].type == "full"]
    newest = sorted(fulls, key=lambda item: (item.started_at, item.id))[-view.policy.minimum_chains :]
    kept = {item.chain_id for item in newest}
    return {item.id: f"of the newest {len(kept)} chains" for item in view.manifests if item.chain_id in kept}


def drilled(view: View) -> Reasons:
    """The newest chain of which a drill restored a member."""
    verified = [view.by_id[drill.backup_id] for drill in view.drills if drill.passed and drill.backup_id in view.by_id]
    newest = max(verified, key=lambda item: (item.started_at, item.id), default=None)
    if newest is None:
        return {}
    text = "the newest chain that a drill restored"
    return {item.id: text for item in view.manifests if item.chain_id == newest.chain_id}


def broken(view: View) -> Reasons:
    """What cannot be restored as it lies there: perhaps something was hidden or not listed, so a person looks first."""
    oldest = view.now - timedelta(days=view.policy.weekly_full_days)
    text = "broken: a parent or a segment is missing; kept for a person to look at"
    return {item.id: text for item in view.manifests if item.id not in view.chains and item.started_at >= oldest}


Rule = Callable[[View], Reasons]
RULES: tuple[Rule, ...] = (recent, base, weekly, minimum, drilled, broken)


def kept_backups(view: View) -> Reasons:
    """Why each backup that stays does: by a rule, or as the parent of one that stays."""
    reasons: Reasons = {}
    for rule in RULES:
        for key, reason in rule(view).items():
            reasons.setdefault(key, reason)
    return parents(view, reasons)


def parents(view: View, reasons: Reasons) -> Reasons:
    """The same with every parent of what stays."""
    found = dict(reasons)
    for key in reasons:
        child = view.by_id[key]
        while child.parent_id and child.parent_id in view.by_id and child.parent_id not in found:
            found[child.parent_id] = f"a parent of {key}"
            child = view.by_id[child.parent_id]
    return found


def bases_before(view: View) -> list[Manifest]:
    """The newest restorable backup before the horizon, and those that may serve where it does not.

    What a restore gave up was not given up yet for a target before it, so the question is asked once for each such
    line after the horizon (recovery/plan.py).
    """
    restores = [line for line in view.lines if line.kind == "restore" and line.at > view.horizon]
    later_sets = [[], *([line for line in restores if line.at >= first.at] for first in restores)]
    found: dict[str, Manifest] = {}
    late = GtidSet.union_of(item.gtids for item in view.entries if item.first_time and item.first_time >= view.horizon)
    for later in later_sets:
        abandoned = GtidSet.union_of(line.abandoned for line in view.lines if line not in later)
        for manifest in _newest_and_rivals(view, abandoned, late):
            found[manifest.id] = manifest
    return list(found.values())


def _newest_and_rivals(view: View, abandoned: GtidSet, late: GtidSet) -> list[Manifest]:
    candidates = [
        view.by_id[key]
        for key in view.chains
        if _before(view.by_id[key], view.horizon) and not view.by_id[key].gtid_upper & abandoned
    ]
    kept: list[Manifest] = []
    dominating: list[Manifest] = []
    for item in sorted(candidates, key=lambda item: (item.finished_at, item.id), reverse=True):
        if dominating and item.finished_at < dominating[0].started_at - RIVALS:
            break
        if any(item.gtid_contained <= other.gtid_contained for other in dominating):
            continue
        kept.append(item)
        if not item.gtid_upper & late:  # else a clock was wrong, and plans after the horizon may refuse it
            dominating.append(item)
    return kept


def week_of(moment: datetime, zone: ZoneInfo, first_weekday: str) -> date:
    """The day, in that zone, on which the moment's week began. By dates, so that the odd nights do not matter."""
    day = moment.astimezone(zone).date()
    return day - timedelta(days=(day.weekday() - WEEKDAYS.index(first_weekday)) % 7)


def _before(manifest: Manifest, moment: datetime) -> bool:
    return manifest.finished_at + END_SLACK <= moment
