"""Plans: tables of cases, and random histories against a brute-force model of what can be restored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.backup.binlogs import BinlogEntry
from holdfast.backup.manifest import Manifest
from holdfast.backup.stream_piece import OpenFile, StreamPiece, open_files
from holdfast.gtid import GtidSet
from holdfast.recovery.estimate import document, estimate, reaches
from holdfast.recovery.lines import Line
from holdfast.recovery.marker import identity
from holdfast.recovery.plan import Plan, PlanError, make_plan
from holdfast.recovery.plan_backup import plan_of_backup
from holdfast.recovery.target import BeforeGtid, Last, Target, ToBackup, ToGtid, ToTime, short_name
from support.plans import FILES, FULL, INCREMENTAL, A, B, backup, binlog, gtids, minute


def names(plan: Plan) -> tuple[list[str], list[str]]:
    return [m.id for m in plan.chain], [f"{e.lineage}/{int(e.file[-6:])}" for e in plan.binlogs]


@pytest.mark.parametrize(
    ("target", "chain", "files"),
    [
        (ToTime(minute(15)), ["full"], ["db1/2"]),
        (ToTime(minute(20.5)), ["full"], ["db1/2"]),  # the next file begins later: nothing lies between
        (ToTime(minute(25)), ["full"], ["db1/2", "db1/4"]),
        (ToTime(minute(35)), ["full", "inc"], ["db1/4"]),
        (ToTime(minute(50)), ["full", "inc"], ["db1/4", "db1/5"]),
        (Last(), ["full", "inc"], ["db1/4", "db1/5"]),
        (ToGtid(A, 15), ["full"], ["db1/2"]),
        (ToGtid(A, 10), ["full"], []),
        (ToGtid(A, 29), ["full"], ["db1/2", "db1/4"]),
        (ToGtid(A, 30), ["full", "inc"], []),
        (BeforeGtid(A, 30), ["full"], ["db1/2", "db1/4"]),
        (BeforeGtid(A, 31), ["full", "inc"], ["db1/4"]),
        (BeforeGtid(A, 11), ["full"], ["db1/2"]),
    ],
)
def test_newest_backup_within_the_target_then_its_binlogs(target: Target, chain: list[str], files: list[str]) -> None:
    assert names(make_plan([FULL, INCREMENTAL], FILES, [], target)) == (chain, files)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (ToTime(minute(9)), ("before the oldest", "2026-11-01T00:10:01Z to 2026-11-01T00:50:00Z")),
        (ToTime(minute(51)), ("after the last archived", "2026-11-01T00:10:01Z to 2026-11-01T00:50:00Z", "--last")),
        (ToGtid(A, 51), ("is in no archived binlog", "mysql-backup-binlogs")),
        (BeforeGtid(A, 5), ("no complete backup lies before", "come after the target")),
    ],
)
def test_refused_and_said_why(target: Target, words: tuple[str, ...]) -> None:
    with pytest.raises(PlanError) as raised:
        make_plan([FULL, INCREMENTAL], FILES, [], target)
    assert all(word in str(raised.value) for word in words), str(raised.value)


def test_a_hole_is_named_with_its_times() -> None:
    with pytest.raises(PlanError) as raised:
        make_plan([FULL], [FILES[0], FILES[3], FILES[4]], [], ToTime(minute(45)))
    hole = raised.value.hole
    assert hole is not None
    assert (hole.missing, hole.after, hole.before) == (gtids("A:11-20"), minute(10), minute(21))
    assert f"10 transactions ({A}:11-20)" in str(raised.value)


def test_another_servers_files_fill_a_hole() -> None:
    other = [binlog("db2/7", "A:1-5", "A:6-25", 6, 25)]
    plan = make_plan([FULL], [FILES[0], FILES[3], FILES[4], *other], [], Last())
    assert names(plan) == (["full"], ["db2/7", "db1/4", "db1/5"])


def test_a_seeded_server_that_does_not_tell_its_seed_cannot_jump_over_a_hole() -> None:
    seeded = binlog("db2/1", "", "A:41-50", 41, 50)
    with pytest.raises(PlanError) as raised:
        make_plan([FULL], [FILES[0], seeded], [], Last())
    assert raised.value.hole is not None
    assert raised.value.hole.missing == gtids("A:11-40")
    assert names(make_plan([FULL], [*FILES[:4], seeded], [], Last())) == (["full"], ["db1/2", "db1/4", "db2/1"])


def test_an_incomplete_chain_is_named_and_an_older_one_used() -> None:
    orphan = backup("orphan", "A:1-40", 40, parent="gone")
    plan = make_plan([FULL, orphan], FILES, [], Last(), ["backups/x/manifest.json does not match its own SHA-256"])
    assert names(plan) == (["full"], ["db1/2", "db1/4", "db1/5"])
    assert any("orphan is not used" in note and "gone" in note for note in plan.notes)
    assert any("own SHA-256" in note for note in plan.notes)


def test_a_clone_that_is_known_within_bounds_starts_from_what_it_surely_has() -> None:
    clone = backup("clone", "A:1-30", 30, contained="A:1-18")
    assert names(make_plan([clone], FILES, [], Last())) == (["clone"], ["db1/2", "db1/4", "db1/5"])
    assert names(make_plan([clone], FILES, [], ToGtid(A, 30))) == (["clone"], ["db1/2", "db1/4"])
    with pytest.raises(PlanError):
        make_plan([clone], FILES, [], ToGtid(A, 29))


def test_without_a_backup() -> None:
    with pytest.raises(PlanError, match="no complete backup"):
        make_plan([], FILES, [], Last())


PROMOTED = [
    *FILES,  # db1 had A:1-50; A:46-50 never reached db2, which was promoted
    binlog("db2/1", "A:1-20", "A:21-45", 21, 45),
    binlog("db2/2", "A:1-45", "B:1-10", 60, 70),
]


def test_an_abandoned_future_never_returns() -> None:
    line = Line("promotion", minute(55), gtids("A:46-50"), "")
    plan = make_plan([FULL], PROMOTED, [line], Last())
    assert plan.binlogs[-1].gtids == gtids("B:1-10")
    assert plan.abandoned == gtids("A:46-50")
    stained = backup("stained", "A:1-50", 52)
    plan = make_plan([FULL, stained], PROMOTED, [line], Last())
    assert plan.chain[0].id == "full"
    assert any("stained is not used" in note and "given up" in note for note in plan.notes)
    with pytest.raises(PlanError, match="was given up"):
        make_plan([FULL], PROMOTED, [line], ToGtid(A, 47))


def test_a_restore_counts_for_targets_after_it_only() -> None:
    files = [*FILES, binlog("new/1", "A:1-30", "B:1-10", 60, 70)]
    line = Line("restore", minute(58), gtids("A:31-50"), "")
    assert names(make_plan([FULL], files, [line], Last())) == (["full"], ["db1/2", "db1/4", "new/1"])
    before = make_plan([FULL], files, [line], ToTime(minute(45)))
    assert names(before) == (["full"], ["db1/2", "db1/4", "db1/5"])
    assert not before.abandoned
    with pytest.raises(PlanError, match="after the last archived"):
        make_plan([FULL], files, [line], ToTime(minute(57)))


@dataclass(frozen=True)
class World:
    """One line of transactions 1..length at minutes 1..length; files and backups are stretches of it."""

    length: int
    switch: int  # from here on the transactions are B's
    files: tuple[tuple[str, int, int], ...]  # lineage, first, last
    backups: tuple[tuple[int, int], ...]  # surely contains, contains at most

    def prefix(self, last: int) -> GtidSet:
        ranges = {A: [(1, min(last, self.switch))], B: [(1, last - self.switch)]}
        return GtidSet({source: [r for r in found if r[1] >= 1] for source, found in ranges.items()})

    def entries(self) -> list[BinlogEntry]:
        return [
            replace(
                binlog(f"{lineage}/{first}", "", "", first, last),
                previous_gtids=self.prefix(first - 1),
                gtids=self.prefix(last) - self.prefix(first - 1),
            )
            for lineage, first, last in self.files
        ]

    def manifests(self) -> list[Manifest]:
        return [
            replace(
                backup(f"b{number}", "", upper + 0.5, lineage=f"db{number % 2}"),
                gtid_contained=self.prefix(contained),
                gtid_upper=self.prefix(upper),
            )
            for number, (contained, upper) in enumerate(self.backups)
        ]

    def reachable(self, last: int, seen: int, *, order_known: bool = True) -> bool:
        """Whether some backup of at most `last` transactions is joined by files to `seen`, one step at a time.

        An entry does not tell the order of A's and B's transactions in the file of the switch, so a target by GTID
        (`order_known` false) forgoes a backup that ends in that file, when the target is one of B's.
        """
        for contained, upper in self.backups:
            if upper > last:
                continue
            holding = [first for _, first, end in self.files if first <= seen <= end]
            if not order_known and seen > self.switch and all(first <= min(upper, self.switch) for first in holding):
                continue
            have = contained
            while any(first <= have + 1 <= end for _, first, end in self.files):
                have += 1
            if have >= seen:
                return True
        return False


@st.composite
def worlds(draw: st.DrawFn) -> World:
    length = draw(st.integers(4, 24))
    files = []
    for lineage in ("db0", "db1"):
        cuts = sorted(draw(st.sets(st.integers(0, length), min_size=2, max_size=8)))
        files += [(lineage, a + 1, b) for a, b in zip(cuts, cuts[1:], strict=False) if draw(st.integers(0, 3))]
    uppers = draw(st.lists(st.integers(0, length), max_size=3, unique=True))
    backups = tuple((max(0, upper - draw(st.integers(0, 2))), upper) for upper in uppers)
    return World(length, draw(st.integers(0, length)), tuple(files), backups)


def applied(world: World, plan: Plan, last: int) -> GtidSet:
    """What replaying the plan's files in order gives, refusing what a server could not apply."""
    have = plan.chain[-1].gtid_contained
    for entry in plan.binlogs:
        assert entry.previous_gtids <= have | plan.chain[-1].gtid_upper
        have = have | entry.gtids
    return (have | plan.chain[-1].gtid_upper) & world.prefix(last)


@settings(max_examples=300)
@given(worlds(), st.integers(1, 24))
def test_random_histories_by_gtid(world: World, number: int) -> None:
    number = min(number, world.length)
    source, own = (A, number) if number <= world.switch else (B, number - world.switch)
    archived = any(first <= number <= last for _, first, last in world.files)
    for target, last in ((ToGtid(source, own), number), (BeforeGtid(source, own), number - 1)):
        possible = archived and world.reachable(last, number, order_known=False)
        try:
            plan = make_plan(world.manifests(), world.entries(), [], target)
        except PlanError:
            assert not possible
            continue
        assert applied(world, plan, last) == world.prefix(last)
        assert plan.chain[-1].gtid_upper <= world.prefix(last)


@settings(max_examples=300)
@given(worlds(), st.integers(1, 24))
def test_random_histories_by_time(world: World, number: int) -> None:
    number = min(number, world.length)
    at = minute(number - 0.25)  # transaction `number` is the first that is not wanted
    try:
        plan = make_plan(world.manifests(), world.entries(), [], ToTime(at))
    except PlanError:
        assert not world.reachable(number - 1, number)
        return
    assert world.reachable(number - 1, number)
    assert applied(world, plan, number - 1) == world.prefix(number - 1)


def test_a_backup_by_its_name_needs_no_binlogs() -> None:
    """Of a week long past only its full is left: no time and no GTID leads there."""
    plan = plan_of_backup([FULL, INCREMENTAL], [], ToBackup("inc"))
    assert names(plan) == (["full", "inc"], [])
    assert short_name(plan.target) == "backup-inc"
    with pytest.raises(PlanError):
        make_plan([FULL, INCREMENTAL], FILES[4:], [], ToTime(minute(30)))


def test_a_backup_by_its_name_that_is_not_there_or_not_whole() -> None:
    with pytest.raises(PlanError, match="the store holds no complete backup nothing"):
        plan_of_backup([FULL], [], ToBackup("nothing"))
    with pytest.raises(PlanError, match="inc stands upon full, which is not in the store"):
        plan_of_backup([INCREMENTAL], [], ToBackup("inc"))


@pytest.mark.parametrize(
    ("manifests", "chain", "notes"),
    [
        ([FULL, INCREMENTAL], ["full", "inc"], 0),
        ([INCREMENTAL, FULL], ["full", "inc"], 0),
        ([FULL, backup("orphan", "A:1-40", 60, parent="gone")], ["full"], 1),
    ],
)
def test_the_newest_backup_is_the_newest_whole_one(manifests: list[Manifest], chain: list[str], notes: int) -> None:
    plan = plan_of_backup(manifests, [], ToBackup("newest"))
    assert [one.id for one in plan.chain] == chain
    assert (str(plan.target), plan.binlogs, len(plan.notes)) == (f"backup {chain[-1]}", (), notes)


def test_there_is_no_newest_backup_where_none_is_whole() -> None:
    with pytest.raises(PlanError, match="no complete backup") as error:
        plan_of_backup([INCREMENTAL], [], ToBackup("newest"))
    assert "inc is not used" in error.value.meaning


@pytest.mark.parametrize(
    ("target", "moment"), [(Last(), minute(50)), (ToTime(minute(45)), minute(45)), (ToGtid(A, 20), minute(20))]
)
def test_a_plan_knows_of_which_moment_the_data_will_be(target: Target, moment: datetime) -> None:
    assert reaches(make_plan([FULL], FILES, [], target)) == moment


def test_of_a_backup_the_moment_is_its_end() -> None:
    assert reaches(plan_of_backup([FULL], [], ToBackup("full"))) == FULL.finished_at


def test_programs_are_told_what_people_are() -> None:
    plan = make_plan([FULL], FILES, [], Last())
    told = document(plan, estimate(plan), 10)
    assert (told["backup"], told["free_bytes"]) == ("full", 10)
    assert told["binlogs"] == ["db1/binlog.000002", "db1/binlog.000004", "db1/binlog.000005"]


def test_a_backup_by_its_name_says_what_was_given_up() -> None:
    line = Line("promotion", minute(40), gtids("A:29-31"), "")
    assert "A:29-30".replace("A", A) in plan_of_backup([FULL, INCREMENTAL], [line], ToBackup("inc")).notes[0]


def piece(number: int, new: str, at: float) -> StreamPiece:
    """Piece `number` of db1/6, which is open; it follows FILES."""
    return StreamPiece(
        lineage="db1", server_uuid=A, host="db1", file="binlog.000006", number=number, start=number - 1, end=number,
        stored_size=1, sha256="", content_sha256="", previous_gtids=gtids("A:1-50"), gtids=gtids(new),
        first_time=minute(at), last_time=minute(at), server_version="9.7.4", taken_at=minute(at),
    )  # fmt: skip


PIECES = [piece(1, "A:51-60", 55), piece(2, "A:61-70", 65), piece(3, "A:71", 66)]


def opened(pieces: list[StreamPiece], *lost: int) -> list[OpenFile]:
    return open_files(pieces, {one.object_name for one in pieces if one.number not in lost})[0]


@pytest.mark.parametrize(
    ("target", "lost", "files"),
    [
        (Last(), (), ["db1/4", "db1/5", "db1/6"]),
        (ToTime(minute(60)), (), ["db1/4", "db1/5", "db1/6"]),
        (ToGtid(A, 71), (), ["db1/4", "db1/5", "db1/6"]),
        (ToGtid(A, 60), (2,), ["db1/4", "db1/5", "db1/6"]),
        (BeforeGtid(A, 45), (), ["db1/4", "db1/5"]),
        (Last(), (1,), ["db1/4", "db1/5"]),
    ],
)
def test_what_was_streamed_is_the_end_of_the_way(target: Target, lost: tuple[int, ...], files: list[str]) -> None:
    plan = make_plan([FULL, INCREMENTAL], [*FILES, *opened(PIECES, *lost)], [], target)
    assert names(plan) == (["full", "inc"], files)


@pytest.mark.parametrize(("target", "words"), [(ToGtid(A, 61), "no archived"), (ToTime(minute(64)), "after the last")])
def test_beyond_a_missing_piece_nothing_is_restored(target: Target, words: str) -> None:
    with pytest.raises(PlanError, match=words):
        make_plan([FULL, INCREMENTAL], [*FILES, *opened(PIECES, 2)], [], target)


def test_pieces_of_a_file_whose_predecessors_are_missing_are_a_hole() -> None:
    with pytest.raises(PlanError, match="a hole: 10 transactions"):
        make_plan([FULL, INCREMENTAL], [*FILES[:4], *opened(PIECES)], [], ToGtid(A, 71))


def test_a_streamed_file_makes_the_same_plan_when_it_is_archived() -> None:
    """Or a restore to the last moment could not be run again an hour later."""
    closed = binlog("db1/6", "A:1-50", "A:51-71", 55, 66)
    streamed, archived = (
        make_plan([FULL, INCREMENTAL], [*FILES, one], [], ToGtid(A, 71)) for one in (*opened(PIECES), closed)
    )
    assert identity(streamed) == identity(archived)
