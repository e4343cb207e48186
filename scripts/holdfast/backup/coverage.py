"""Which moments can be restored, and where the holes are. Pure, over manifests and entries of the binlog archive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from holdfast.backup.chain import chain_of
from holdfast.backup.manifest import Manifest
from holdfast.errors import StorageError
from holdfast.gtid import GtidSet


class Archived(Protocol):
    """What is asked of an entry of the binlog archive, or of several in a row."""

    @property
    def previous_gtids(self) -> GtidSet:
        """What came before it."""

    @property
    def gtids(self) -> GtidSet:
        """What is in it."""

    @property
    def last_time(self) -> datetime | None:
        """When its last transaction was committed."""

    @property
    def archived_at(self) -> datetime:
        """When it reached the store."""


@dataclass(frozen=True)
class Window:
    """Every moment from `start` to `end` can be restored; `reached` is what a server has at its end."""

    start: datetime
    end: datetime
    backup_id: str
    reached: GtidSet


@dataclass(frozen=True)
class Hole:
    """No moment between these two can be restored, because no archived binlog has `missing`."""

    start: datetime
    end: datetime
    missing: GtidSet


@dataclass(frozen=True)
class Coverage:
    """Windows without overlap, oldest first, the holes between and after them, and backups whose chain is broken."""

    windows: tuple[Window, ...]
    holes: tuple[Hole, ...]
    broken: tuple[str, ...]


def coverage(manifests: Sequence[Manifest], entries: Iterable[Archived]) -> Coverage:
    """What the store can give back: from the end of each whole backup on, as far as binlogs follow without a gap.

    What no binlog run had the time to archive yet is not called a hole.
    """
    archive = sorted(entries, key=lambda entry: entry.last_time or entry.archived_at)
    windows: list[Window] = []
    broken: list[str] = []
    contained: dict[str, GtidSet] = {}
    for manifest in sorted(manifests, key=lambda item: item.finished_at):
        try:
            chain_of(manifest, manifests)
        except StorageError as error:
            broken.append(error.what)
            continue
        contained[manifest.id] = manifest.gtid_contained
        if windows and manifest.gtid_contained <= windows[-1].reached:
            # It holds nothing beyond what was reached: there is no moment between it and the window before, and
            # binlogs lead no further from less than they did from more.
            before = windows[-1]
            windows[-1] = replace(before, end=max(before.end, manifest.finished_at))
            continue
        window = _follow(manifest, archive)
        if windows and window.start <= windows[-1].end:
            before = windows[-1]
            end = max(before.end, window.end)
            windows[-1] = replace(before, end=end, reached=before.reached | window.reached)
        else:
            windows.append(window)
    return Coverage(tuple(windows), tuple(_holes(windows, contained, archive)), tuple(broken))


def _follow(manifest: Manifest, archive: Sequence[Archived]) -> Window:
    have = manifest.gtid_contained
    end = manifest.finished_at
    waiting = [entry for entry in archive if entry.gtids]
    while True:
        left: list[Archived] = []
        # Of several servers' files each pass takes those that continue what is there; in order, so one pass often does.
        for entry in waiting:
            if entry.previous_gtids <= have:
                have |= entry.gtids
                end = max(end, entry.last_time or end)
            else:
                left.append(entry)
        if len(left) == len(waiting):
            return Window(manifest.finished_at, end, manifest.id, have)
        waiting = left


def _holes(windows: Sequence[Window], contained: dict[str, GtidSet], archive: Sequence[Archived]) -> Iterator[Hole]:
    archived_until = max((entry.archived_at for entry in archive), default=None)
    for window, following in zip(windows, windows[1:], strict=False):
        if archived_until is not None and following.start <= archived_until:
            later = [entry for entry in archive if entry.last_time and window.end < entry.last_time <= following.start]
            upto = contained[following.backup_id]
            missing = upto - window.reached - GtidSet.union_of(entry.gtids for entry in later)
            yield Hole(window.end, following.start, missing)
    if windows:
        last = windows[-1]
        # Archived, and newer than the last moment that can be reached: something before them is missing.
        newer = [entry for entry in archive if entry.last_time and entry.last_time > last.end]
        beyond = [entry for entry in newer if not entry.gtids <= last.reached]
        if beyond:
            missing = GtidSet.union_of(entry.previous_gtids for entry in beyond) - last.reached
            missing -= GtidSet.union_of(entry.gtids for entry in beyond)
            yield Hole(last.end, max(entry.last_time or last.end for entry in beyond), missing)
