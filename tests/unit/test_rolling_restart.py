"""What a rolling restart does to which server, and what forbids it."""

from __future__ import annotations

from typing import Any

import pytest

from unit.test_mysql_roles import ROLES, load

plays = load(ROLES.parent / "playbooks/filter_plugins/rolling_restart.py")


def pending(**changes: Any) -> dict[str, Any]:
    """Return what the role says of a server for which nothing waits."""
    usual = {"variables": [], "running": "8.4.6-6", "installed": "8.4.6", "candidates": [], "reboot_required": False}
    return usual | changes


@pytest.mark.parametrize(
    ("version", "numbers"),
    [
        ("9.7.4", (9, 7, 4)),
        ("1:8.4.10-6-1.trixie", (8, 4, 10)),
        ("8.4.6-6", (8, 4, 6)),
        ("9.7.1~rc1-1.trixie", (9, 7, 1)),
        ("(none)", ()),
        ("", ()),
    ],
)
def test_a_version_is_three_numbers(version: str, numbers: tuple[int, ...]) -> None:
    assert plays.numbers(version) == numbers


@pytest.mark.parametrize(
    ("found", "choices", "reasons"),
    [
        (pending(), {}, []),
        (pending(), {"always": True}, ["by order"]),
        (pending(), {"reboot": True, "always": True}, ["reboot of the host"]),
        (pending(variables=["back_log"]), {}, ["variable back_log"]),
        (pending(installed="8.4.7"), {}, ["runs 8.4.6-6, installed is 8.4.7"]),
        (pending(candidates=["8.4.10-1"]), {}, []),
        (pending(candidates=["8.4.10-1", "8.4.9-1"]), {"upgrade": True}, ["upgrade from 8.4.6 to 8.4.10"]),
        (pending(candidates=["8.4.5-1", "(none)"]), {"upgrade": True}, []),
    ],
)
def test_a_server_is_restarted_for_a_reason(
    found: dict[str, Any], choices: dict[str, bool], reasons: list[str]
) -> None:
    chosen = {"upgrade": False, "reboot": False, "always": False} | choices
    assert plays.reasons(found, **chosen) == reasons


@pytest.mark.parametrize(
    ("found", "engine", "version", "upgrade", "words"),
    [
        (pending(), "clone", "", False, ""),
        (pending(candidates=["8.4.10-1"]), "clone", "", True, ""),
        (pending(candidates=["8.4.10-1"]), "xtrabackup", "8.4.0-7", True, ""),
        (pending(), "xtrabackup", "", False, "(not installed) cannot back up"),
        (pending(), "xtrabackup", "8.0.35-31", False, "XtraBackup (8.0.35-31) cannot back up"),
        (pending(candidates=["9.7.4-1"]), "clone", "", True, "another series is no minor upgrade"),
        (pending(candidates=["9.7.4-1"]), "clone", "", False, ""),
        (pending(installed="8.4.5"), "clone", "", False, "would go back"),
    ],
)
def test_what_nothing_could_back_up_is_refused(
    found: dict[str, Any], engine: str, version: str, upgrade: bool, words: str
) -> None:
    problems = plays.problems({"db1": found}, engine, {"db1": version}, upgrade=upgrade)
    assert len(problems) == bool(words)
    assert words in "".join(problems)


@pytest.mark.parametrize(
    ("opened", "in_sync", "words"),
    [
        (True, {"server_uuid": "b"}, ""),
        (True, None, "no replica in sync"),
        (True, {"server_uuid": "a"}, "no replica in sync"),
        (False, None, "a promotion is under way"),
    ],
)
def test_nothing_is_begun_while_nobody_could_take_over(opened: bool, in_sync: Any, words: str) -> None:
    told = {"record": {"opened": opened, "in_sync": in_sync}, "hosts": {"a": "db1", "b": "db2"}}
    assert (words in plays.not_in_sync(told, ["db2"])) and bool(plays.not_in_sync(told, ["db2"])) == bool(words)
