"""Restorable moments, holes, and the screen that shows them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from holdfast.backup import status
from holdfast.backup.archive import Archive
from holdfast.backup.archive_pieces import fold
from holdfast.backup.binlogs import BinlogEntry
from holdfast.backup.coverage import coverage
from holdfast.backup.manifest import Manifest
from holdfast.backup.status import look, problems
from holdfast.backup.status_text import bar, text
from support.backups import OTHER, START, entry, full, gtids, incremental

FULL = full("full", upper="A:1-10")
FILES = [
    entry(7, "A:1-5", "A:6-20", hours=(-1, 2)),
    entry(8, "A:1-20", "", hours=None),
    entry(9, "A:1-20", "A:21-40", hours=(3, 4)),
    entry(10, "A:1-40", "A:41-60", hours=(5, 6)),
]


def archive(manifests: list[Manifest], files: list[BinlogEntry], damaged: list[str]) -> Archive:
    return Archive(manifests, fold(files), damaged=damaged)


def hours(value: float) -> timedelta:
    return timedelta(hours=value)


def test_binlogs_lead_on_from_the_end_of_the_backup() -> None:
    covered = coverage([FULL], FILES)
    assert [(w.start, w.end) for w in covered.windows] == [(FULL.finished_at, START + hours(6))]
    assert not covered.holes


def test_a_missing_file_is_a_hole_that_names_what_it_held() -> None:
    covered = coverage([FULL], [FILES[0], FILES[1], FILES[3]])
    assert [(w.start, w.end) for w in covered.windows] == [(FULL.finished_at, START + hours(2))]
    assert [(h.start, h.end, h.missing) for h in covered.holes] == [
        (START + hours(2), START + hours(6), gtids("A:21-40"))
    ]


def test_the_next_backup_ends_the_hole() -> None:
    later = full("later", hours=4.2, upper="A:1-40")
    covered = coverage([FULL, later], [FILES[0], FILES[3]])
    assert [(w.start, w.end) for w in covered.windows] == [
        (FULL.finished_at, START + hours(2)),
        (later.finished_at, START + hours(6)),
    ]
    assert [(h.start, h.end, h.missing) for h in covered.holes] == [
        (START + hours(2), later.finished_at, gtids("A:21-40"))
    ]


def test_the_other_servers_binlogs_fill_it() -> None:
    copy = replace(FILES[2], lineage="other", server_uuid=OTHER, file="binlog.000031", previous_gtids=gtids("A:1-19"))
    covered = coverage([FULL], [FILES[0], FILES[3], copy])
    assert covered.windows[0].end == START + hours(6)
    assert not covered.holes


def test_an_idle_night_is_no_hole() -> None:
    next_night = incremental("incremental", FULL, hours=24, upper="A:1-60")
    covered = coverage([FULL, next_night], FILES)
    assert [(w.start, w.end) for w in covered.windows] == [(FULL.finished_at, next_night.finished_at)]
    assert not covered.holes


def test_what_was_not_archived_yet_is_no_hole() -> None:
    fresh = incremental("fresh", FULL, hours=24, upper="A:1-99")
    assert not coverage([FULL, fresh], FILES).holes
    archived = entry(12, "A:1-99", "A:100", hours=(26, 26))
    assert [h.missing for h in coverage([FULL, fresh], [*FILES, archived]).holes] == [gtids("A:61-99")]


def test_a_broken_chain_gives_no_window() -> None:
    orphan = incremental("orphan", full("gone"), hours=1)
    covered = coverage([orphan], FILES)
    assert not covered.windows
    assert covered.broken == ("orphan stands upon gone, which is not in the store or is damaged",)


@pytest.mark.parametrize(
    ("late_hours", "expected"),
    [
        (0.5, []),
        (6.0, ["the last binlog was archived 5 h 59 min ago"]),
        (26.0, ["the newest backup is 32 h 0 min old", "the last binlog was archived 25 h 59 min ago"]),
    ],
)
def test_problems(late_hours: float, expected: list[str]) -> None:
    seen = look("lab", START + hours(6 + late_hours), archive([FULL], FILES, []))
    assert problems(seen) == expected


def test_nothing_at_all_is_a_problem() -> None:
    seen = look("lab", START, archive([], [], ["x does not match its own SHA-256"]))
    assert problems(seen) == [
        "there is no backup",
        "no binlog is archived: only the moments of backups can be restored",
        "does not count: x does not match its own SHA-256",
    ]
    assert "never" in text(seen)


def test_the_screen() -> None:
    monday = incremental("monday", FULL, hours=5, upper="A:1-50", stored_bytes=30, on_primary=True)
    seen = look("lab", START + hours(6.5), archive([FULL, monday], FILES, []))
    assert text(seen) == (
        "Backups of lab: all is well   (2026-11-22T07:30:00Z)\n"
        "\n"
        "Last success\n"
        "  full         2026-11-22T01:30:00Z  6 h 0 min ago\n"
        "  incremental  2026-11-22T06:30:00Z  1 h 0 min ago\n"
        "  binlogs db1  2026-11-22T07:01:00Z  29 min 0 s ago\n"
        "\n"
        "Restorable\n"
        "  2026-11-22T01:30:00Z to 2026-11-22T07:00:00Z  (5 h 30 min)\n"
        "  |............................................................|\n"
        "   30 days to now: = restorable  ! hole  - not archived yet  . nothing\n"
        "  If both servers were lost now, the last 29 min 0 s would be lost (since 2026-11-22T07:01:00Z)\n"
        "\n"
        "Chains\n"
        "  full  2 backups, 330 B, clone on db1\n"
        "    Sun 22 Nov 01:00 full             300 B  ########################\n"
        "    Sun 22 Nov 06:00 incremental       30 B  ##, on the primary\n"
    )


def test_the_document_says_the_same() -> None:
    document = status.document(look("lab", START + hours(6.5), archive([FULL], [FILES[0], FILES[3]], [])))
    assert document["well"] is False
    assert document["restorable"] == [{"from": "2026-11-22T01:30:00Z", "to": "2026-11-22T03:00:00Z", "backup": "full"}]
    assert document["holes"][0]["missing"].endswith(":21-40")
    assert document["last_success"]["incremental"] is None


@pytest.mark.parametrize(("size", "largest", "marks"), [(0, 10, 0), (1, 1000, 1), (10, 10, 24), (5, 10, 12), (0, 0, 0)])
def test_bars(size: int, largest: int, marks: int) -> None:
    assert bar(size, largest) == "#" * marks


def test_a_backup_from_the_future_is_not_well() -> None:
    ahead = full("ahead", hours=24 * 30)
    found = status.problems(status.look("lab", START, archive([ahead], [], [])))
    assert found[0] == "ahead lies in the future: check the clocks of this host and of db1"
