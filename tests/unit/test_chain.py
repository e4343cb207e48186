"""The choice of a parent, and the way back to the full."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from holdfast.backup.chain import Observed, chain_of, choose
from holdfast.backup.manifest import Manifest
from holdfast.errors import StorageError
from support.backups import LINEAGE, OTHER, START, full, gtids, incremental

WEEK = timedelta(days=7)
FULL = full("full")
MONDAY = incremental("monday", FULL, hours=24, upper="A:1-20")
TUESDAY = incremental("tuesday", MONDAY, hours=48, upper="A:1-30")
NOW = Observed(
    lineage=LINEAGE,
    engine="clone",
    series="9.7",
    gtid_executed=gtids("A:1-40"),
    now=START + timedelta(hours=72),
    signature_ids={"tuesday"},
)


def test_an_incremental_stands_upon_the_newest() -> None:
    choice = choose("incremental", [TUESDAY, FULL, MONDAY], NOW, maximum_age=WEEK)
    assert (choice.type, choice.parent, choice.reason) == ("incremental", TUESDAY, "incremental upon tuesday")


def test_a_full_asked_for_is_a_full() -> None:
    choice = choose("full", [FULL], NOW, maximum_age=WEEK)
    assert (choice.type, choice.parent) == ("full", None)


@pytest.mark.parametrize(
    ("manifests", "changes", "reason"),
    [
        ([], {}, "no recent backup"),
        ([FULL, MONDAY, TUESDAY], {"lineage": "other"}, "no backup of this server's lineage"),
        ([FULL, MONDAY, TUESDAY], {"engine": "xtrabackup"}, "taken by engine clone, this host uses xtrabackup"),
        ([FULL, MONDAY, TUESDAY], {"series": "26.10"}, "is of MySQL 9.7, the server is now 26.10"),
        ([FULL, MONDAY, TUESDAY], {"gtid_executed": gtids("A:1-29")}, "does not have: .*:30"),
        ([FULL, MONDAY, TUESDAY], {"gtid_executed": gtids("B:1-99")}, "does not have"),
        ([FULL, MONDAY, TUESDAY], {"signature_ids": {"monday"}}, "signature of tuesday is not on this host"),
        ([FULL, TUESDAY], {}, "tuesday stands upon monday, which is not in the store"),
        ([FULL, MONDAY, TUESDAY], {"now": START + WEEK + timedelta(seconds=1)}, "older than 7 days"),
        ([FULL, MONDAY, TUESDAY], {"now": START - timedelta(seconds=1)}, "lies in the future"),
        (
            [full("x", engine="xtrabackup", to_lsn=None)],
            {"engine": "xtrabackup"},
            "names no to_lsn",
        ),
    ],
)
def test_otherwise_a_full_instead_that_says_why(
    manifests: list[Manifest], changes: dict[str, Any], reason: str
) -> None:
    choice = choose("incremental", manifests, replace(NOW, **changes), maximum_age=WEEK)
    assert (choice.type, choice.parent) == ("full", None)
    assert choice.reason.startswith("full instead of incremental: ")
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(choice.reason)


def test_seven_days_to_the_second_still_count() -> None:
    observed = replace(NOW, now=START + WEEK)
    assert choose("incremental", [FULL, MONDAY, TUESDAY], observed, maximum_age=WEEK).type == "incremental"


def test_another_servers_newer_backup_is_no_parent() -> None:
    """After a role swap: the newest backup of the cluster is the other server's."""
    swapped = full("other", hours=60, lineage="other", server_uuid=OTHER)
    choice = choose("incremental", [FULL, MONDAY, TUESDAY, swapped], NOW, maximum_age=WEEK)
    assert choice.parent == TUESDAY


def test_xtrabackup_needs_no_signature() -> None:
    parent = full("x", engine="xtrabackup", to_lsn=17)
    observed = replace(NOW, engine="xtrabackup", signature_ids=())
    assert choose("incremental", [parent], observed, maximum_age=WEEK).parent == parent


def test_a_chain_in_the_order_of_applying() -> None:
    assert chain_of(TUESDAY, [TUESDAY, MONDAY, FULL]) == [FULL, MONDAY, TUESDAY]
    assert chain_of(FULL, [TUESDAY, MONDAY, FULL]) == [FULL]


@pytest.mark.parametrize(
    ("manifests", "message"),
    [
        ([MONDAY], "monday stands upon full, which is not in the store"),
        ([FULL, replace(MONDAY, engine="xtrabackup")], "monday does not fit its parent full: engine"),
        ([FULL, replace(MONDAY, lineage="x")], "does not fit .*: lineage"),
        ([FULL, replace(MONDAY, server_uuid=OTHER)], "does not fit .*: server_uuid"),
        ([replace(FULL, to_lsn=5), replace(MONDAY, from_lsn=4)], "from_lsn is not the parent's to_lsn"),
        ([replace(FULL, type="incremental", parent_id="monday"), MONDAY], "name each other"),
    ],
)
def test_a_broken_chain_names_what_is_wrong(manifests: list[Manifest], message: str) -> None:
    with pytest.raises(StorageError, match=message):
        chain_of(manifests[-1], manifests)
