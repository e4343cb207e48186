"""Cutting binlogs into relay logs at a target."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from holdfast.binlog import summarise
from holdfast.errors import StorageError
from holdfast.gtid import GtidSet
from holdfast.recovery.replay import cut_relay_logs
from holdfast.recovery.target import BeforeGtid, Last, Target, ToGtid, ToSet, ToTime, gtid_target, short_name
from support.binlog_builder import binary_log, transaction

A = "aaaaaaaa-71ca-11e1-9e33-c80aa9429562"
START = datetime(2026, 11, 23, 12, tzinfo=UTC)


def upto(last: int, first: int = 1) -> GtidSet:
    return GtidSet({A: [(first, last)]}) if last >= first else GtidSet()


def files(folder: Path) -> list[Path]:
    """1-3 and 4-6, a minute each; the second file also brings 3 again, as another server's would."""
    made = []
    for number, stretch in ((1, (1, 2, 3)), (2, (3, 4, 5, 6))):
        path = folder / f"{number}"
        parts = [transaction(A, one, START + timedelta(minutes=one)) for one in stretch]
        path.write_bytes(binary_log(upto(stretch[0] - 1), parts))
        made.append(path)
    return made


def cut(folder: Path, target: Target, have: GtidSet, abandoned: GtidSet | None = None) -> tuple[GtidSet, GtidSet]:
    relay = folder / "relay"
    relay.mkdir()
    result = cut_relay_logs(files(folder), relay, have, abandoned or GtidSet(), target)
    assert not (folder / "1").exists()
    replayed = GtidSet.union_of(summarise(path).gtids_in_file for path in result.files)
    assert sum(summarise(path).transactions for path in result.files) == result.transactions == replayed.count()
    assert [path.name for path in result.files] == [f"relay.{n:06d}" for n in range(1, len(result.files) + 1)]
    return replayed, result.expected


@pytest.mark.parametrize(
    ("target", "last"),
    [
        (Last(), 6),
        (ToGtid(A, 4), 4),
        (ToGtid(A, 3), 3),
        (BeforeGtid(A, 4), 3),
        (BeforeGtid(A, 6), 5),
        (ToTime(START + timedelta(minutes=5)), 4),  # committed at the target: not before it
        (ToTime(START + timedelta(minutes=5, microseconds=1)), 5),
        (ToTime(START + timedelta(minutes=60)), 6),
        (ToSet(GtidSet({A: [(1, 5)]})), 5),
    ],
)
@pytest.mark.parametrize("have", [0, 2, 3])
def test_exactly_the_wanted_transactions(tmp_path: Path, target: Target, last: int, have: int) -> None:
    replayed, expected = cut(tmp_path, target, upto(have))
    assert (replayed, expected) == (upto(last, have + 1), upto(last))


def test_given_up_transactions_are_left_out(tmp_path: Path) -> None:
    replayed, expected = cut(tmp_path, Last(), upto(1), upto(6, 5))
    assert (replayed, expected) == (upto(4, 2), upto(4))


@pytest.mark.parametrize(
    ("target", "have", "words"),
    [
        (BeforeGtid(A, 9), 0, "in none of the files"),
        (ToGtid(A, 9), 0, "in none of the files"),
        (ToTime(START + timedelta(minutes=2)), 2, f"the backup holds {A}:2, which is not before the target"),
        (BeforeGtid(A, 2), 3, "the backup holds"),
    ],
)
def test_refused(tmp_path: Path, target: Target, have: int, words: str) -> None:
    with pytest.raises(StorageError, match=words):
        cut(tmp_path, target, upto(have))


def test_a_file_whose_predecessor_is_missing(tmp_path: Path) -> None:
    relay = tmp_path / "relay"
    relay.mkdir()
    with pytest.raises(StorageError, match=f"needs transactions .* {A}:2"):
        cut_relay_logs(files(tmp_path)[1:], relay, upto(1), GtidSet(), Last())


def test_names_of_targets() -> None:
    assert str(ToTime(START)) == "time 2026-11-23 12:00:00 UTC"
    assert short_name(ToTime(START)) == "time-20261123T120000Z"
    assert short_name(gtid_target(f"{A}:17", included=False)) == "before-aaaaaaaa-17"
    assert short_name(Last()) == "last"


def test_a_set_that_the_files_do_not_complete_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="in none of the files: .*:7-8"):
        cut(tmp_path, ToSet(upto(8)), upto(2))
