"""What stays and goes, and when nothing may, in tables: the cases that months seldom bring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from holdfast.backup import retention_backups, retention_binlogs
from holdfast.backup.binlog_index import Index
from holdfast.backup.binlogs import BinlogEntry
from holdfast.backup.bulk import Moment
from holdfast.backup.drills import Drill
from holdfast.backup.lease import folder_of
from holdfast.backup.manifest import Manifest
from holdfast.backup.retention import Decision, Held, decide, deletions
from holdfast.backup.retention_backups import week_of
from holdfast.backup.retention_refusals import Case, refusals
from holdfast.backup.segments import Segment
from holdfast.backup.store import StoredObject
from holdfast.backup.stream_piece import StreamPiece, open_files
from holdfast.config import parse
from holdfast.config_retention import RetentionConfig
from holdfast.errors import ConfigurationError
from holdfast.recovery.lines import Line
from support.backups import START, entry, full, gtids, incremental, streamed
from support.histories import BERLIN, History

DAY = 24.0
NOW = START + timedelta(days=100)
Build = Callable[..., dict[str, Any]]


@pytest.fixture
def policy(retention_section: dict[str, Any]) -> RetentionConfig:
    return RetentionConfig(**retention_section)


def base(identifier: str, days_ago: float, upper: str = "A:1-10", **changes: Any) -> Manifest:
    """A full that began so many days before NOW."""
    return full(
        identifier,
        hours=(100 - days_ago) * DAY,
        upper=upper,
        segments=(Segment(f"backups/{identifier}/segment-000001.lz4", 300, "a" * 64),),
        **changes,
    )


def upon(parent: Manifest, identifier: str, days_ago: float, upper: str = "A:1-10") -> Manifest:
    segment = Segment(f"backups/{identifier}/segment-000001.lz4", 300, "a" * 64)
    return incremental(identifier, parent, hours=(100 - days_ago) * DAY, upper=upper, segments=(segment,))


def file(number: int, previous: str, new: str, days_ago: float, **changes: Any) -> BinlogEntry:
    hours = (100 - days_ago) * DAY
    return entry(number, previous, new, hours=(hours - 1, hours), **changes)


def decided(held: Held, policy: RetentionConfig) -> dict[str, Decision]:
    return {item.name: item for item in decide(held, policy, BERLIN, NOW)}


def store(*parts: Manifest | BinlogEntry | Line | Drill) -> Held:
    history = History(NOW)
    for part in parts:
        for kind, where in (
            (Manifest, history.manifests),
            (BinlogEntry, history.entries),
            (Line, history.lines),
            (Drill, history.drills),
        ):
            if isinstance(part, kind):
                where.append(part)  # type: ignore[arg-type]
    return history.held


def gone(held: Held, policy: RetentionConfig) -> list[str]:
    return [item.name for item in deletions(decide(held, policy, BERLIN, NOW))]


def binlog(number: int, lineage: str | None = None) -> str:
    made = entry(number, "", "", hours=None)
    return f"binlogs/{lineage or made.lineage}/binlog.{number:06d}"


# Newest backups of today and yesterday, so that two chains are there whatever else a case has.
FRESH = (base("fresh1", 0.9, "A:1-100"), base("fresh2", 0.5, "A:1-100"))


@pytest.mark.parametrize(
    ("moment", "week"),
    [
        ("2026-11-22T01:00:00+00:00", "2026-11-22"),  # Sunday 02:00 in Berlin
        ("2026-11-21T23:30:00+00:00", "2026-11-22"),  # Sunday 00:30 in Berlin, Saturday in London
        ("2026-11-21T22:30:00+00:00", "2026-11-15"),
        ("2026-10-25T00:30:00+00:00", "2026-10-25"),  # 02:30 for the first time
        ("2026-10-25T01:30:00+00:00", "2026-10-25"),  # 02:30 for the second time
        ("2027-03-28T01:00:00+00:00", "2027-03-28"),  # 03:00, an hour that had no 02:00 before it
        ("2027-03-27T22:59:00+00:00", "2027-03-21"),
    ],
)
def test_a_week_begins_on_sunday_in_the_servers_zone(moment: str, week: str) -> None:
    assert week_of(datetime.fromisoformat(moment), BERLIN, "sunday").isoformat() == week


def test_a_weeks_first_full_stands_in_for_sundays(policy: RetentionConfig) -> None:
    assert NOW.astimezone(BERLIN).weekday() == 1  # so 72 days ago was a Sunday
    sunday, tuesday, next_tuesday = base("sunday", 72), base("tuesday", 70), base("next", 63)
    held = store(*FRESH, sunday, tuesday, next_tuesday, base("base", 31))
    assert gone(held, policy) == ["tuesday"]
    assert decided(held, policy)["next"].reason.startswith("the full of the week from 2026-12-27")


def test_a_sundays_full_without_its_segments_does_not_count(policy: RetentionConfig) -> None:
    sunday, tuesday = base("sunday", 72), base("tuesday", 70)
    held = store(*FRESH, sunday, tuesday, base("base", 31))
    held = replace(held, objects=[item for item in held.objects if item.name != sunday.segments[0].name])
    assert gone(held, policy) == []
    assert decided(held, policy)["sunday"].reason.startswith("broken")


def test_after_ninety_days_a_full_goes(policy: RetentionConfig) -> None:
    assert gone(store(*FRESH, base("old", 90.1), base("kept", 85), base("base", 31)), policy) == ["old"]


def test_children_go_before_their_parents(policy: RetentionConfig) -> None:
    old = base("z-full", 99)
    first = upon(old, "a-first", 98)
    second = upon(first, "m-second", 97)
    held = store(*FRESH, old, first, second, base("base", 31))
    assert gone(held, policy) == ["m-second", "a-first", "z-full"]


def test_the_base_of_the_first_promised_day_stays_with_its_chain(policy: RetentionConfig) -> None:
    old = base("full", 36, "A:1-10")
    first = upon(old, "first", 33, "A:1-20")
    late = upon(first, "late", 31, "A:1-30")
    held = store(*FRESH, old, first, late)
    assert gone(held, policy) == []
    assert decided(held, policy)["late"].reason.startswith("what moments from")


def test_a_base_that_lags_does_not_drive_out_the_one_that_has_more(policy: RetentionConfig) -> None:
    """The archive lost the file that leads on from the later one."""
    primary = base("primary", 31.5, "A:1-20")
    lagging = base("replica", 31.0, "A:1-15")
    held = store(*FRESH, primary, lagging, file(9, "A:1-20", "A:21-40", 29))
    assert {"primary", "replica"}.isdisjoint(gone(held, policy))
    no_rivals = timedelta(days=-400)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retention_backups, "RIVALS", no_rivals)
        patch.setattr(retention_backups, "weekly", lambda view: {})
        patch.setattr(retention_backups, "RULES", (retention_backups.recent, retention_backups.base))
        assert "primary" in gone(held, policy)


def test_a_base_that_a_restore_gave_up_serves_moments_before_the_restore(policy: RetentionConfig) -> None:
    """And for those after it an older one does, which has nothing of what was given up."""
    older = base("older", 34, "A:1-10")
    newer = base("newer", 31, "A:1-20")
    restored = Line("restore", NOW - timedelta(days=10), gtids("A:11-20"), "")
    held = store(*FRESH, older, newer, restored)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retention_backups, "RULES", (retention_backups.recent, retention_backups.base))
        assert gone(held, policy) == []
        assert gone(store(*FRESH, older, newer), policy) == ["older"]


def test_a_base_of_a_host_whose_clock_was_wrong_does_not_stand_alone(policy: RetentionConfig) -> None:
    """Its transactions are dated after the horizon: plans refuse it then, and take the older one."""
    older, newer = base("older", 33, "A:1-10"), base("newer", 31, "A:1-20")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retention_backups, "RULES", (retention_backups.recent, retention_backups.base))
        assert gone(store(*FRESH, older, newer, file(9, "A:1-10", "A:11-20", 28)), policy) == []


def test_binlogs_of_an_idle_site_stay_with_their_base(policy: RetentionConfig) -> None:
    """Nothing was written for a month, and no file that is younger asks for what the base lacks."""
    held = store(base("base1", 33, "A:1-10"), base("base2", 32, "A:1-10"), file(9, "A:1-10", "A:11-20", 31))
    assert gone(held, policy) == []
    with pytest.MonkeyPatch.context() as patch:
        rules = tuple(rule for rule in retention_binlogs.RULES if rule is not retention_binlogs.after_bases)
        patch.setattr(retention_binlogs, "RULES", rules)
        patch.setattr(retention_binlogs.Needs, "asked_for", gtids(""))
        assert gone(held, policy) == [binlog(9)]


def test_an_errant_transaction_stays_as_long_as_files_after_it_need_it(policy: RetentionConfig) -> None:
    errant = file(3, "A:1-5", "B:1", 60)
    later = file(4, "A:1-90,B:1", "A:91-95", 5)
    held = store(*FRESH, base("base", 31, "A:1-50"), errant, later)
    assert gone(held, policy) == []
    assert decided(held, policy)[binlog(3)].reason == "in no backup, and files after it need it"
    assert gone(store(*FRESH, base("base", 31, "A:1-50"), errant), policy) == [binlog(3)]


def test_what_a_lagging_base_may_lack_stays(policy: RetentionConfig) -> None:
    """Committed on the primary shortly before the replica's backup began, and applied there after it."""
    held = store(*FRESH, base("base", 31, "A:1-10"), file(9, "A:1-10", "A:11", 31.01))
    assert gone(held, policy) == []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retention_binlogs, "LAG", timedelta())
        assert gone(held, policy) == [binlog(9)]


def test_without_a_backup_every_binlog_stays(policy: RetentionConfig) -> None:
    assert gone(store(file(9, "A:1-10", "A:11", 80)), policy) == []


def test_a_file_without_transactions_stays_thirty_days(policy: RetentionConfig) -> None:
    held = store(*FRESH, base("base", 31), file(1, "A:1-10", "", 29), file(2, "A:1-10", "", 36))
    assert gone(held, policy) == [binlog(2)]


def test_the_chain_that_a_drill_restored_stays_and_no_failed_drill_counts(policy: RetentionConfig) -> None:
    old, other = base("old", 99), base("other", 98)
    child = upon(old, "child", 97)
    drills = [Drill(NOW - timedelta(days=95), "old", True), Drill(NOW - timedelta(days=94), "other", False)]
    assert gone(store(*FRESH, base("base", 31), old, other, child, *drills), policy) == ["other"]


def test_the_minimum_of_chains_counts_those_that_can_be_restored(policy: RetentionConfig) -> None:
    oldest, old, broken = base("oldest", 120), base("old", 110), base("broken", 100)
    held = store(oldest, old, broken)
    held = replace(held, objects=[item for item in held.objects if item.name != broken.segments[0].name])
    assert gone(held, policy) == ["broken"]


def at(name: str, days_ago: float = 50) -> StoredObject:
    return StoredObject(name, 10, NOW - timedelta(days=days_ago))


def named(days_ago: float, host: str = "db1") -> str:
    return f"{NOW - timedelta(days=days_ago):%Y%m%dT%H%M%SZ}-full-{host}"


LEASE = folder_of("backup", "db1", 7, NOW - timedelta(days=5)).rpartition("/")[2]


@pytest.mark.parametrize(
    ("name", "goes", "reason"),
    [
        (f"backups/{named(1.9)}/segment-000001.lz4", False, "has no manifest, but began less than 48 hours ago"),
        (f"backups/{named(2.1)}/segment-000001.lz4", True, "has no manifest, and began more than 48 hours ago"),
        (f"backups/{named(2.1)}/manifest.json", False, "its manifest cannot be read or is too new"),
        ("backups/mine/segment-000001.lz4", False, "has no manifest, and its name is not a backup's"),
        ("backups/loose", False, "not the cleanup's to judge"),
        ("binlogs/a-line/binlog.000001.lz4", True, "has no entry; stored before"),
        ("binlogs/a-line/binlog.000001.json", False, "its entry cannot be read"),
        ("binlogs/a-line/index-20261101.json.gz", False, "not the cleanup's to judge"),
        ("state/lines/20261101T000000Z-restore.json", False, "not the cleanup's to judge"),
        ("state/drills/20261101T000000Z.json", False, "not the cleanup's to judge"),
        (f"state/leases/{LEASE}/20261201T000000Z.json", True, "over: backup-db1-7"),
        (f"state/leases/{LEASE}/20990101T000000Z.json", False, "stands: backup-db1-7"),
        ("state/leases/x/20990101T000000Z.json", False, "its name is not a lease's"),
        ("whatever", False, "not the cleanup's to judge"),
    ],
)
def test_what_no_manifest_names(name: str, goes: bool, reason: str, policy: RetentionConfig) -> None:
    held = store(*FRESH, base("base", 31))
    found = next(
        item
        for item in decide(replace(held, objects=[*held.objects, at(name)]), policy, BERLIN, NOW)
        if name in {part.name for part in item.objects}
    )
    assert (found.delete, found.reason[: len(reason)]) == (goes, reason)


def test_a_leftover_that_something_stands_upon_stays(policy: RetentionConfig) -> None:
    parent = base(named(5), 5)
    child = upon(parent, named(4), 4)
    held = store(*FRESH, parent, child)
    hidden = replace(held, manifests=[item for item in held.manifests if item is not parent])
    hidden = replace(
        hidden, objects=[item for item in held.objects if item.name != f"backups/{parent.id}/manifest.json"]
    )
    assert gone(hidden, policy) == []


def test_what_a_lock_holds_is_not_touched(policy: RetentionConfig) -> None:
    held = store(*FRESH)
    held = replace(held, objects=[*held.objects, at(f"backups/{named(20)}/segment-000001.lz4", 20)])
    assert len(gone(held, policy)) == 1
    assert gone(held, replace(policy, object_lock_days=29)) == []


def case(policy: RetentionConfig, *parts: Any, now: datetime = NOW, store_clock: datetime | None = NOW) -> Case:
    held = store(*(parts or FRESH))
    return Case(held, decide(held, policy, BERLIN, now), policy, Moment(now, store_clock))


DRILLED = Drill(NOW - timedelta(days=13), "fresh1", True)
FAILED = Drill(NOW - timedelta(days=1), "fresh1", False)


@pytest.mark.parametrize(
    ("parts", "changes", "message"),
    [
        (FRESH, {}, ""),
        (FRESH, {"store_clock": None}, ""),
        (FRESH, {"store_clock": NOW + timedelta(minutes=59)}, ""),
        (FRESH, {"store_clock": NOW + timedelta(minutes=60)}, "the store's 2027-03-02T02:00:00Z"),
        (FRESH, {"store_clock": NOW - timedelta(minutes=60)}, "this host's clock says 2027-03-02T01:00:00Z"),
        ((*FRESH, base("later", 0.02)), {}, ""),
        ((*FRESH, base("later", -0.02)), {}, "later is of"),
        ((*FRESH, file(1, "", "A:1", -1)), {}, "binlog.000001.json is of"),
        ((base("last", 2.9),), {}, ""),
        ((base("last", 3.1),), {}, "the newest backup, last, is more than 3 days old"),
        ((file(1, "", "A:1", 1),), {}, "there is no backup"),
        ((*FRESH, DRILLED), {}, ""),
        ((*FRESH, DRILLED, FAILED), {}, ""),
        ((*FRESH, replace(DRILLED, at=NOW - timedelta(days=15))), {}, "no restore drill passed for 14 days"),
        ((*FRESH, FAILED), {}, "no restore drill passed for 14 days: none ever passed"),
        ((*FRESH, replace(DRILLED, at=NOW + timedelta(days=300)), FAILED), {}, "no restore drill passed"),
    ],
)
def test_when_nothing_is_deleted(
    parts: tuple[Any, ...], changes: dict[str, Any], message: str, policy: RetentionConfig
) -> None:
    found = refusals(case(policy, *parts, **changes))
    assert [item.what for item in found if message not in item.what] == []
    assert bool(found) == bool(message)


def test_a_clock_a_year_ahead_deletes_nothing(policy: RetentionConfig) -> None:
    """Also where the store tells no time: then the newest backup seems to be a year old."""
    parts = [base(f"b{days:02d}", days) for days in range(60)]
    ahead = NOW + timedelta(days=365)
    assert len(deletions(case(policy, *parts, now=ahead).decisions)) > 50
    for clock in (NOW, None):
        assert refusals(case(policy, *parts, now=ahead, store_clock=clock))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, ""),
        ({"maximum_backups": 4}, "5 backups, the limit is 4"),
        ({"maximum_binlogs": 2}, "3 binlogs, the limit is 2"),
        ({"maximum_share_percent": 15}, "of the backups, the limit is 15%"),
    ],
)
def test_one_run_deletes_no_more_than_its_limits(
    changes: dict[str, Any], message: str, policy: RetentionConfig
) -> None:
    old = [base(f"old{number}", 99 + number) for number in range(5)]
    young = [base(f"young{number:02d}", number, "A:1-100") for number in range(1, 21)]
    files = [file(number, "A:1-10", f"A:{10 + number}", 80) for number in range(1, 4)]
    found = refusals(case(replace(policy, **changes), *old, *young, base("base", 31, "A:1-50"), *files))
    assert [item.limit for item in found] == ([True] if message else [])
    assert all(message in item.what and "--allow-more" in item.remedy for item in found)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"binlog_days": 29}, "retention.binlog_days: is 29, but retention.point_in_time_days is 30"),
        ({"weekly_full_days": 10}, "retention.weekly_full_days: is 10, but retention.point_in_time_days is 30"),
        ({"object_lock_days": 30}, "retention.point_in_time_days: is 30, but retention.object_lock_days is 30"),
        ({"minimum_chains": 0}, "retention.minimum_chains: is 0, must be at least 1"),
        ({"orphan_minimum_age_hours": 23}, "retention.orphan_minimum_age_hours: is 23"),
        ({"maximum_share_percent": 100}, "retention.maximum_share_percent: is 100"),
        ({"full_weekday": "Sunday"}, "retention.full_weekday: is 'Sunday'"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    changes: dict[str, Any], message: str, configuration: Build, retention_section: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError, match=message.replace(".", r"\.")):
        parse(configuration(retention={**retention_section, **changes}))


def test_a_drill_is_read_as_it_was_written() -> None:
    drill = Drill(datetime(2026, 11, 1, 3, 0, tzinfo=UTC), "x", True, "db1", "all tables equal")
    assert drill.name == "state/drills/20261101T030000Z.json"
    assert Drill.from_json(drill.to_json(), drill.name) == drill


def streams(number: int, days_ago: float, count: int = 2, **changes: Any) -> list[StreamPiece]:
    """The pieces of a file, each with a transaction of its own from 1000 on."""
    hours = (100 - days_ago) * DAY
    return [
        streamed(number, 1000 + n, "A:1-1000", f"A:{1000 + n}", hours=hours, **changes) for n in range(1, count + 1)
    ]


def with_streams(held: Held, *pieces: StreamPiece, indexes: Sequence[Index] = ()) -> Held:
    objects = [
        StoredObject(name, size, piece.taken_at)
        for piece in pieces
        for name, size in ((piece.object_name, piece.stored_size), (piece.record_name, 10))
    ]
    objects += [StoredObject(index.name, 10, NOW) for index in indexes]
    files, _ = open_files(pieces, {item.name for item in objects})
    return replace(held, objects=[*held.objects, *objects], open_files=files, indexes=indexes)


STREAMED = "stream/" + binlog(30).partition("/")[2]


def test_pieces_go_once_the_archive_has_their_file(policy: RetentionConfig) -> None:
    archived = file(30, "A:1-1000", "A:1001-1050", 3)
    held = with_streams(store(*FRESH, archived), *streams(30, 3))
    assert gone(held, policy) == [STREAMED]
    found = decided(held, policy)[STREAMED]
    assert (found.kind, found.reason) == ("streamed pieces", f"superseded by {archived.object_name}")
    assert len(found.objects) == 4


def test_pieces_stay_while_the_archive_has_only_a_part_of_their_file(policy: RetentionConfig) -> None:
    archived = file(30, "A:1-1000", "A:1001-1050", 3)
    held = with_streams(store(*FRESH, archived), *streams(30, 3))
    for damage in ("gone", "cut"):
        objects = [item for item in held.objects if item.name != archived.object_name]
        if damage == "cut":
            objects.append(StoredObject(archived.object_name, archived.stored_size - 1, NOW))
        assert not decided(replace(held, objects=objects), policy)[STREAMED].delete


@pytest.mark.parametrize(
    ("days_ago", "lock", "goes"), [(1.9, 0, False), (2.1, 0, True), (7.5, 7, False), (8.1, 7, True)]
)
def test_young_and_locked_pieces_wait(policy: RetentionConfig, days_ago: float, lock: int, goes: bool) -> None:
    held = with_streams(store(*FRESH, file(30, "A:1-1000", "A:1001-1050", 1)), *streams(30, days_ago))
    found = decided(held, replace(policy, object_lock_days=lock))[STREAMED]
    assert found.delete == goes
    assert found.reason.endswith("but young") != goes


@pytest.mark.parametrize(
    ("days_ago", "goes", "reason"),
    [
        (29, False, "not archived as a whole, and of the last 30 days"),
        (31, True, "older than 30 days, and what moments since"),
    ],
)
def test_what_was_streamed_and_never_archived_stays_as_a_file_would(
    policy: RetentionConfig, days_ago: float, goes: bool, reason: str
) -> None:
    """The server was lost before it closed the file: these pieces are all that there is of it."""
    newest = [replace(item, gtid_contained=gtids("A:1-2000"), gtid_upper=gtids("A:1-2000")) for item in FRESH]
    old = base("old", 32, "A:1-2000")
    found = decided(with_streams(store(*newest, old), *streams(30, days_ago)), policy)[STREAMED]
    assert (found.delete, reason in found.reason) == (goes, True), found.reason


def test_what_was_streamed_and_a_base_lacks_stays(policy: RetentionConfig) -> None:
    old = base("old", 31, "A:1-1000")
    found = decided(with_streams(store(*FRESH, old), *streams(30, 30.9)), policy)[STREAMED]
    assert (found.delete, found.reason) == (False, "not archived as a whole, and goes on after old")


def test_pieces_of_which_no_record_can_be_read_stay(policy: RetentionConfig) -> None:
    held = with_streams(store(*FRESH), *streams(30, 60))
    assert not decided(replace(held, open_files=()), policy)[STREAMED].delete


def test_an_index_goes_with_the_first_of_its_entries(policy: RetentionConfig) -> None:
    bases = [replace(item, gtid_contained=gtids("A:1-2000"), gtid_upper=gtids("A:1-2000")) for item in FRESH]
    bases.append(base("old", 40, "A:1-2000"))
    old, edge = file(1, "A:1-10", "A:11-20", 32), file(2, "A:1-20", "A:21-30", 31.99)
    young = file(3, "A:1-30", "A:31-40", 5)
    first, second = (
        Index(item[0].lineage, f"{item[0].archived_at:%Y%m%d}", tuple(item)) for item in ([old, edge], [young])
    )
    held = with_streams(store(*bases, old, edge, young), indexes=[first, second])
    assert gone(held, policy) == [first.name, binlog(1), binlog(2)]
    assert decided(held, policy)[second.name].reason == "all of its entries stay"
    unread = replace(held, indexes=[second])
    assert not decided(unread, policy)[first.name].delete
