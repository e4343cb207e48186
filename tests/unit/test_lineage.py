"""What begins a new lineage, and what does not."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from holdfast.backup.lineage import Evidence, clone_marker, decide, sequence_of, update
from holdfast.errors import ConfigurationError
from support.backups import OTHER, SERVER, START, gtids

EVIDENCE = Evidence(server_uuid=SERVER, clone_marker="m", gtid_executed=gtids("A:1-10"), binlog_file="binlog.000007")
FIRST = decide(None, EVIDENCE, START)
LATER = START + timedelta(hours=1)


def test_the_first_look_names_the_lineage() -> None:
    assert FIRST.lineage == f"{SERVER}-20261122T010000Z"
    assert FIRST.reason == "first seen on this host"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"gtid_executed": gtids("A:1-11,B:1-4")},
        {"binlog_file": "binlog.000008"},
        {"binlog_file": "binlog.1000000"},
    ],
)
def test_a_server_that_went_on_keeps_it(changes: dict[str, Any]) -> None:
    state = decide(FIRST, replace(EVIDENCE, **changes), LATER)
    assert (state.lineage, state.started_at) == (FIRST.lineage, FIRST.started_at)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"server_uuid": OTHER}, f"the server's UUID was {SERVER}"),
        ({"clone_marker": "n"}, "the server was cloned anew"),
        ({"clone_marker": ""}, "the server was cloned anew"),
        ({"gtid_executed": gtids("A:1-9,B:1-50")}, f"the server no longer has {SERVER}:10"),
        ({"binlog_file": "binlog.000006"}, "binlogs started over: binlog.000006 after number 7"),
    ],
)
def test_evidence_of_a_break_begins_a_new_one(changes: dict[str, Any], reason: str) -> None:
    state = decide(FIRST, replace(EVIDENCE, **changes), LATER)
    assert state.lineage.endswith("-20261122T020000Z")
    assert state.reason == reason


def test_the_state_survives_between_runs(tmp_path: Path) -> None:
    first = update(tmp_path, lambda: EVIDENCE, START)
    again = update(tmp_path, lambda: replace(EVIDENCE, gtid_executed=gtids("A:1-12")), LATER)
    assert again.lineage == first.lineage
    assert update(tmp_path, lambda: EVIDENCE, LATER).reason == f"the server no longer has {SERVER}:11-12"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lineage.json", "lineage.lock"]


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"lineage": "x"'])
def test_an_unreadable_state_is_not_a_new_lineage(tmp_path: Path, content: str) -> None:
    (tmp_path / "lineage.json").write_text(content)
    with pytest.raises(ConfigurationError, match=r"lineage\.json is not readable"):
        update(tmp_path, lambda: EVIDENCE, START)


def test_the_marker_changes_with_each_clone(tmp_path: Path) -> None:
    assert clone_marker(tmp_path) == ""
    (tmp_path / "#clone").mkdir()
    (tmp_path / "#clone" / "#view_status").write_bytes(b"one")
    one = clone_marker(tmp_path)
    (tmp_path / "#clone" / "#view_status").write_bytes(b"two")
    assert one != clone_marker(tmp_path)


def test_numbers_of_binlogs() -> None:
    assert sequence_of("binlog.000123") == 123
    with pytest.raises(ValueError, match="index"):
        sequence_of("binlog.index")
