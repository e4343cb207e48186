"""Random months of a pair: backups, role swaps, losses, re-clones, restores, holes; and what could be restored then.

Everything here is told in plain sets and lists. What can be restored is asked of these alone, in the most stupid way
that is right, so that it shares no thought with the planner that it judges.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

from holdfast.backup.binlogs import BinlogEntry
from holdfast.backup.drills import Drill
from holdfast.backup.manifest import Manifest, backup_id
from holdfast.backup.retention import Held
from holdfast.backup.segments import Segment
from holdfast.backup.store import StoredObject
from holdfast.backup.stream_piece import OpenFile, StreamPiece, folder_of, open_files
from holdfast.clock import compact_utc
from holdfast.gtid import GtidSet
from holdfast.recovery.lines import Line
from support.backups import entry, full

BERLIN = ZoneInfo("Europe/Berlin")
STEP = timedelta(hours=4)
Transaction = tuple[str, int]


@dataclass
class Server:
    """One server: what it has, its line of binlogs, and the file that it is writing."""

    name: str
    uuid: str
    lineage: str = ""
    have: set[Transaction] = field(default_factory=set)
    before: set[Transaction] = field(default_factory=set)
    open_file: list[tuple[datetime, Transaction]] = field(default_factory=list)
    number: int = 1
    lag: int = 0
    waiting: list[tuple[datetime, Transaction]] = field(default_factory=list)


@dataclass
class History:
    """What happened, and what is in the store. `line`: what was committed and counts, as it was from a moment on."""

    now: datetime
    manifests: list[Manifest] = field(default_factory=list)
    entries: list[BinlogEntry] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    drills: list[Drill] = field(default_factory=list)
    pieces: list[StreamPiece] = field(default_factory=list)
    lost_segments: set[str] = field(default_factory=set)
    stray: set[Transaction] = field(default_factory=set)
    truths: list[tuple[datetime, list[tuple[datetime, Transaction]]]] = field(default_factory=list)

    @property
    def held(self) -> Held:
        """The store, listed and read."""
        return Held(self.objects(), self.manifests, self.entries, self.lines, self.drills, self.open_files)

    @property
    def open_files(self) -> list[OpenFile]:
        """What was streamed of files that the archive never got."""
        archived = {(item.lineage, item.file) for item in self.entries}
        live = [piece for piece in self.pieces if (piece.lineage, piece.file) not in archived]
        return open_files(live, {piece.object_name for piece in live})[0]

    def objects(self) -> list[StoredObject]:
        """One listing."""
        found = []
        for manifest in self.manifests:
            found.append(StoredObject(f"backups/{manifest.id}/manifest.json", 10, manifest.finished_at))
            for segment in manifest.segments:
                if segment.name not in self.lost_segments:
                    found.append(StoredObject(segment.name, segment.size, manifest.finished_at))
        for item in self.entries:
            found.append(StoredObject(item.entry_name, 10, item.archived_at))
            found.append(StoredObject(item.object_name, item.stored_size, item.archived_at))
        for piece in self.pieces:
            found.append(StoredObject(piece.record_name, 10, piece.taken_at))
            found.append(StoredObject(piece.object_name, piece.stored_size, piece.taken_at))
        return sorted(found, key=lambda item: item.name)

    def without(self, names: Iterable[str]) -> History:
        """The same after these backups (by id), binlogs (by name without ending) and streamed files are gone."""
        gone = set(names)
        return replace(
            self,
            manifests=[item for item in self.manifests if item.id not in gone],
            entries=[item for item in self.entries if item.entry_name.removesuffix(".json") not in gone],
            pieces=[item for item in self.pieces if folder_of(item.lineage, item.file) not in gone],
        )

    def truth(self, at: datetime) -> set[Transaction]:
        """What the line that leads to `at` has at that moment: a restore's new line begins when it happened."""
        lines = [line for begun, line in self.truths if begun <= at]
        return {transaction for when, transaction in lines[-1] if when <= at} if lines else set()

    def restorable(self, moments: Iterable[datetime]) -> set[datetime]:
        """The moments at which some whole chain, and the files that are there, make up the truth."""
        files = [*self.entries, *self.open_files]
        archived = {transaction for item in files for transaction in members(item.gtids)}
        contents = [
            (item.finished_at + timedelta(seconds=1), members(item.gtid_contained) - self.stray)
            for item in self.manifests
            if self.whole(item)
        ]
        found = set()
        for at in moments:
            truth = self.truth(at)
            if any(end <= at and has <= truth and truth - has <= archived for end, has in contents):
                found.add(at)
        return found

    def whole(self, manifest: Manifest | None) -> bool:
        """Whether it and all below it are there with their segments."""
        while manifest is not None:
            if any(segment.name in self.lost_segments for segment in manifest.segments):
                return False
            if manifest.parent_id is None:
                return True
            parent_id = manifest.parent_id
            manifest = next((item for item in self.manifests if item.id == parent_id), None)
        return False


def members(gtids: GtidSet) -> set[Transaction]:
    """The single transactions."""
    return {(uuid, n) for uuid, ranges in gtids.intervals() for first, last in ranges for n in range(first, last + 1)}


def gtid_set(transactions: Iterable[Transaction]) -> GtidSet:
    """The other way round."""
    ranges: dict[str, list[tuple[int, int]]] = {}
    for uuid, number in transactions:
        ranges.setdefault(uuid, []).append((number, number))
    return GtidSet(ranges)


class Story:
    """Tells a history, four hours at a time."""

    def __init__(self, random: Random, begins: datetime, *, trouble: float) -> None:
        self.random, self.trouble = random, trouble
        self.history = History(begins)
        self._uuids = 0
        self._next: dict[str, int] = {}
        self.servers = [Server("db1", self._uuid()), Server("db2", self._uuid())]
        self.primary = 0
        self._silent_until = begins
        self.backups = self.drills = True
        self.history.truths.append((begins, []))
        for server in self.servers:
            server.lineage = f"{server.uuid}-{compact_utc(begins)}"

    def go_on(self, days: float) -> None:
        """Let that many days pass."""
        until = self.history.now + timedelta(days=days)
        while self.history.now < until:
            self.history.now += STEP
            self._trouble()
            self._commit()
            if self.history.now.hour in (2, 14):
                self._archive()
            local = self.history.now.astimezone(BERLIN)
            if 2 <= local.hour < 6 and self.backups:
                self._backup(local.weekday() == 6)
            if local.weekday() == 2 and local.hour < 4 and self.history.manifests:
                passed = self.drills and self.random.random() < 0.9
                self.history.drills.append(Drill(self.history.now, self.history.manifests[-1].id, passed=passed))

    def _chance(self, probability: float) -> bool:
        return self.random.random() < probability * self.trouble

    def _uuid(self) -> str:
        self._uuids += 1
        return f"{self._uuids:08x}-0000-4000-8000-000000000000"

    def _commit(self) -> None:
        history, primary = self.history, self.servers[self.primary]
        replica = self.servers[1 - self.primary]
        for minutes in sorted(self.random.sample(range(1, 240), self.random.randint(0, 2))):
            at = history.now - STEP + timedelta(minutes=minutes)
            number = self._next[primary.uuid] = self._next.get(primary.uuid, 0) + 1
            transaction = (primary.uuid, number)
            history.truths[-1][1].append((at, transaction))
            primary.have.add(transaction)
            primary.open_file.append((at, transaction))
            replica.waiting.append((at, transaction))
        replica.lag = 1 if self._chance(0.1) else 0
        while len(replica.waiting) > replica.lag:
            at, transaction = replica.waiting.pop(0)
            replica.have.add(transaction)
            replica.open_file.append((at, transaction))

    def _archive(self) -> None:
        for server in self.servers:
            lost = self._chance(0.03) or self.history.now < self._silent_until
            self._close(server, lost=lost)

    def _close(self, server: Server, *, lost: bool) -> None:
        new = {transaction for _, transaction in server.open_file}
        times = [at for at, _ in server.open_file]
        made = entry(
            server.number,
            "",
            "",
            hours=None,
            lineage=server.lineage,
            server_uuid=server.uuid,
            host=server.name,
            previous_gtids=gtid_set(server.before),
            gtids=gtid_set(new),
            first_time=min(times, default=None),
            last_time=max(times, default=None),
            archived_at=self.history.now,
        )
        if not lost:
            self.history.entries.append(made)
        if new and server is not self.servers[self.primary] and self.random.random() < 0.8:
            self._stream(server, made)
        server.number += 1
        server.before |= new
        server.open_file = []

    def _stream(self, server: Server, made: BinlogEntry) -> None:
        """What the stream had of that file: a transaction a piece, perhaps not the last ones."""
        done = server.open_file[: self.random.randint(1, len(server.open_file))]
        for number, (at, transaction) in enumerate(done, 1):
            piece = StreamPiece(
                lineage=made.lineage,
                server_uuid=made.server_uuid,
                host=made.host,
                file=made.file,
                number=number,
                start=number - 1,
                end=number,
                stored_size=10,
                sha256="",
                content_sha256="",
                previous_gtids=made.previous_gtids,
                gtids=gtid_set([transaction]),
                first_time=at,
                last_time=at,
                server_version=made.server_version,
                taken_at=at,
            )
            self.history.pieces.append(piece)

    def _backup(self, sunday: bool) -> None:
        if self._chance(0.15):
            return
        server = self.servers[self.primary if self._chance(0.1) else 1 - self.primary]
        now = self.history.now
        parent = max(
            (item for item in self.history.manifests if item.lineage == server.lineage),
            key=lambda item: item.started_at,
            default=None,
        )
        chain = None
        if parent is not None:
            chain = next((item for item in self.history.manifests if item.id == parent.chain_id), None)
        incremental = (
            not sunday and parent is not None and chain is not None and now - chain.started_at <= timedelta(days=7)
        )
        identifier = backup_id(now, "incremental" if incremental else "full", server.name)
        content = gtid_set(server.have)
        segment = Segment(f"backups/{identifier}/segment-000001.lz4", 300, "a" * 64)
        self.history.manifests.append(
            full(
                identifier,
                type="incremental" if incremental else "full",
                host=server.name,
                server_uuid=server.uuid,
                lineage=server.lineage,
                parent_id=parent.id if incremental and parent else None,
                chain_id=parent.chain_id if incremental and parent else identifier,
                gtid_contained=content,
                gtid_upper=content,
                started_at=now,
                finished_at=now + timedelta(minutes=self.random.randint(1, 90)),
                segments=(segment,),
                fingerprint=None,
            )
        )
        if self._chance(0.02):
            self.history.lost_segments.add(segment.name)

    def _trouble(self) -> None:
        if self._chance(0.02):
            self.primary = 1 - self.primary
            self._catch_up()
        if self._chance(0.004):
            self._failover_with_loss()
        if self._chance(0.006):
            self._errant()
        if self._chance(0.003):
            self._restore()
        if self._chance(0.006):
            self._clone(1 - self.primary)
        if self._chance(0.004):
            self._silent_until = self.history.now + timedelta(days=self.random.choice([1, 3, 12]))

    def _catch_up(self) -> None:
        for server in self.servers:
            for at, transaction in server.waiting:
                server.have.add(transaction)
                server.open_file.append((at, transaction))
            server.waiting = []

    def _failover_with_loss(self) -> None:
        """The primary dies with transactions that nobody else has; they may have been archived, and are given up."""
        old, new = self.servers[self.primary], self.servers[1 - self.primary]
        lost = old.have - new.have - self.history.stray
        if self.random.random() < 0.5:
            self._close(old, lost=False)
        new.waiting = []
        self.primary = 1 - self.primary
        at = self.history.now
        self.history.truths[-1] = (
            self.history.truths[-1][0],
            [(when, item) for when, item in self.history.truths[-1][1] if item not in lost],
        )
        if lost:
            self.history.lines.append(Line("promotion", at, gtid_set(lost), ""))
        self._clone(1 - self.primary)

    def _errant(self) -> None:
        replica = self.servers[1 - self.primary]
        number = self._next[replica.uuid] = self._next.get(replica.uuid, 0) + 1
        transaction = (replica.uuid, number)
        replica.have.add(transaction)
        replica.open_file.append((self.history.now - STEP, transaction))
        self.history.stray.add(transaction)

    def _restore(self) -> None:
        """Go back some hours or days: what came after is given up from now on, and was true until now."""
        now, old = self.history.now, self.history.truths[-1][1]
        target = now - timedelta(hours=self.random.choice([2, 30, 100]))
        kept = [(when, item) for when, item in old if when <= target]
        given_up = {item for when, item in old if when > target}
        self._catch_up()
        for server in self.servers:
            self._close(server, lost=False)
        self.history.lines.append(Line("restore", now, gtid_set(given_up), ""))
        self.history.truths.append((now, kept))
        for server in self.servers:
            self._begin_anew(server, {item for _, item in kept})

    def _clone(self, number: int) -> None:
        donor = self.servers[1 - number]
        self._begin_anew(self.servers[number], set(donor.have))

    def _begin_anew(self, server: Server, have: set[Transaction]) -> None:
        if self.random.random() < 0.5:
            server.uuid = self._uuid()
        server.lineage = f"{server.uuid}-{compact_utc(self.history.now)}"
        server.have, server.before = set(have), set(have)
        server.open_file, server.waiting, server.number = [], [], 1


def moments(history: History, since: datetime, random: Random, count: int) -> Sequence[datetime]:
    """Moments of the promised days: where things happened, just before and after, and some between."""
    edges = [since, history.now - timedelta(hours=1)]
    edges += [item.finished_at for item in history.manifests if item.finished_at >= since]
    edges += [line.at for line in history.lines if line.at >= since]
    span = (history.now - since).total_seconds()
    found = [since + timedelta(seconds=random.uniform(0, span)) for _ in range(count)]
    for edge in random.sample(edges, min(count, len(edges))):
        found += [edge - timedelta(seconds=2), edge + timedelta(seconds=2)]
    return sorted(at for at in found if since <= at <= history.now)


BEGINS = datetime(2026, 7, 5, 22, 0, tzinfo=UTC)
