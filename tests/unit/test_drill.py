"""When a drill passes, what it says, and what later plans make of its numbers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import pytest

from holdfast.backup.drills import Drill, last_drills
from holdfast.backup.manifest import TableFingerprint
from holdfast.database import Connection
from holdfast.recovery.drill import damaged_of
from holdfast.recovery.drill_judge import Seen, differences, line, problem, split
from holdfast.recovery.estimate import Rates, basis, estimate, rates_of
from holdfast.recovery.plan import make_plan
from holdfast.recovery.target import Last
from support.backups import MemoryStore
from support.plans import FILES, FULL, gtids

AT = datetime(2026, 11, 18, 3, 30, tzinfo=UTC)
TABLE = TableFingerprint("abc", 5, 77)
LARGE = TableFingerprint("abc", None, None)


@pytest.mark.parametrize(
    ("expected", "found", "said"),
    [
        (TABLE, TABLE, []),
        (TABLE, None, ["shop.t is missing"]),
        (TABLE, TableFingerprint("abd", 5, 77), ["shop.t has another definition"]),
        (TABLE, TableFingerprint("abc", 4, 77), ["shop.t has 4 rows and another content, not the 5 of the backup"]),
        (TABLE, TableFingerprint("abc", 5, 78), ["shop.t has 5 rows and another content, not the 5 of the backup"]),
        (LARGE, LARGE, []),
        (LARGE, TableFingerprint("abd", None, None), ["shop.t has another definition"]),
    ],
)
def test_what_differs(expected: TableFingerprint, found: TableFingerprint | None, said: list[str]) -> None:
    assert differences({"shop.t": expected}, {"shop.t": found}) == said


def seen(**changes: Any) -> Seen:
    usual: dict[str, Any] = {
        "compared": 3, "tables": 4, "differences": (), "damaged": (), "replayed": 12, "rpo_seconds": 61.0,
    }  # fmt: skip
    return Seen(**(usual | changes))


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (seen(), ""),
        (seen(differences=("a is missing",)), "1 tables differ: a is missing"),
        (seen(differences=tuple("abcdefg")), "7 tables differ: a, b, c, d, e and 2 more"),
        (seen(damaged=("shop.t: error Corrupt",)), "CHECK TABLE: shop.t: error Corrupt"),
    ],
)
def test_a_drill_passes_only_if_nothing_differs_and_nothing_is_damaged(found: Seen, why: str) -> None:
    assert problem(found) == why


def test_one_line_for_people() -> None:
    said = line("b-full", seen(), {"data_bytes": 2e9, "seconds": 300})
    assert said.startswith("b-full restores: 3 of 4 tables equal by content, all of them checked, 12 transactions")
    assert said.endswith("2.0 GB in 5 min; the newest data is 61 s old.")


@pytest.mark.parametrize(
    ("wanted", "files"), [("A:1-10", 0), ("A:1-5", 0), ("A:1-15", 2), ("A:1-20", 2), ("A:1-21", 4), ("A:1-90", 5)]
)
def test_as_many_files_as_lead_to_the_fingerprint(wanted: str, files: int) -> None:
    assert split(FILES, gtids("A:1-10"), gtids(wanted)) == files


class Checked:
    """Answers CHECK TABLE as MySQL does."""

    def __init__(self, *rows: tuple[str, str]) -> None:
        self.said = [{"Msg_type": kind, "Msg_text": text} for kind, text in rows]

    def rows(self, sql: str) -> list[dict[str, str]]:
        assert sql == "CHECK TABLE `shop`.`t.x`"
        return self.said


@pytest.mark.parametrize(
    ("rows", "damaged"),
    [
        ([("status", "OK")], ()),
        ([("warning", "something"), ("status", "OK")], ()),
        ([("Error", "gone"), ("status", "Operation failed")], ("shop.t.x: Error gone",)),
        ([("status", "Table is marked as crashed")], ("shop.t.x: Table is marked as crashed",)),
    ],
)
def test_a_damaged_table_is_named(rows: list[tuple[str, str]], damaged: tuple[str, ...]) -> None:
    assert damaged_of(cast("Connection", Checked(*rows)), ["shop.t.x"]) == damaged


MEASURED = {"data_bytes": 1e9, "restore_seconds": 20, "transactions": 50_000, "replay_seconds": 5}


@pytest.mark.parametrize(
    ("drills", "rates", "words"),
    [
        ([], Rates(), "no drill has measured this site yet"),
        ([Drill(AT, "b", False, measured=MEASURED)], Rates(), "no drill has measured"),
        (
            [Drill(AT, "b", True, measured=MEASURED)],
            Rates(50e6, 10_000, AT),
            "50.0 MB/s of data and 10000 transactions/s, measured by the drill of 2026-11-18T03:30:00Z",
        ),
        (
            [Drill(AT, "b", True, measured=MEASURED | {"transactions": 9})],
            Rates(50e6, None, AT),
            "50.0 MB/s of data measured, the rest assumed",
        ),
        ([Drill(AT, "b", True)], Rates(None, None, AT), "assumed: the drill of 2026-11-18T03:30:00Z was small"),
    ],
)
def test_plans_foretell_by_what_the_last_drill_measured(drills: list[Drill], rates: Rates, words: str) -> None:
    assert rates_of(drills) == rates
    assert words in basis(rates)


def test_a_site_that_is_slower_than_assumed_is_told_so() -> None:
    plan = make_plan([FULL], FILES, [], Last())
    assert estimate(plan, Rates(1.0, None, AT)).seconds > estimate(plan).seconds + 900
    assert estimate(plan, Rates(None, 0.1, AT)).seconds > estimate(plan).seconds + 300


def test_the_numbers_survive_the_store_and_what_cannot_be_read_is_passed_over() -> None:
    store, drill = MemoryStore(), Drill(AT, "b", True, "db2", "fine", MEASURED)
    store.objects[drill.name] = drill.to_json()
    store.objects["state/drills/20261117T000000Z.json"] = b"{"
    store.objects["state/drills/20261101T000000Z.json"] = Drill(AT, "old", True).to_json()
    assert last_drills(store.store, 2) == [drill]
