"""What Replication Manager tells its scripts, and when people are told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import UsageError
from holdfast.failover import repman_watch
from holdfast.failover.repman import (
    LIMIT_REACHED,
    PROTECTS_NOTHING,
    Alert,
    FenceUnit,
    Seen,
    alert_of,
    complaints,
    fence_call,
    fence_unit,
    seen_of,
)
from holdfast.failover.repman_watch import Complaint, Pause
from support.repository import ROOT

CALL = ["10.0.0.11", "10.0.0.12", "3306", "3306", "", "", "failover"]
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
GOOD = Seen("master-slave", True, 0, 3, {"10.0.0.11:3306": "Master", "10.0.0.12:3306": "Slave"})


def with_(seen: Seen, **changes: Any) -> Seen:
    return Seen(**{**seen.__dict__, **changes})


def test_seven_arguments_name_a_unit_of_their_own() -> None:
    instance = fence_call(CALL).instance("7-8")
    assert instance == "10.0.0.11:10.0.0.12:3306:3306:failover:7-8"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        CALL[:6],
        [*CALL, ""],
        ["$(reboot)", *CALL[1:]],
        ["a b", *CALL[1:]],
        ["", *CALL[1:]],
        [CALL[1], *CALL[1:]],
        [*CALL[:2], "33o6", *CALL[3:]],
        [*CALL[:6], "failback"],
    ],
)
def test_arguments_that_do_not_name_two_servers_are_refused(arguments: list[str]) -> None:
    with pytest.raises(UsageError):
        fence_call(arguments)


@pytest.mark.parametrize(
    ("shown", "state"),
    [
        ("ActiveState=active\nSubState=exited\nResult=success", FenceUnit.PROMOTED),
        ("ActiveState=activating\nSubState=start\nResult=success", FenceUnit.WORKS),
        ("ActiveState=activating\nSubState=auto-restart\nResult=signal", FenceUnit.WORKS),
        ("ActiveState=failed\nSubState=failed\nResult=exit-code", FenceUnit.REFUSED),
        # what systemd says of a unit that it never heard of: no success
        ("ActiveState=inactive\nSubState=dead\nResult=success", FenceUnit.UNKNOWN),
        ("", FenceUnit.UNKNOWN),
    ],
)
def test_success_is_only_a_unit_that_ended_well(shown: str, state: FenceUnit) -> None:
    assert fence_unit(shown) is state


def test_states_that_matter_are_told_when_they_begin_and_end_with_their_runbook() -> None:
    opened = alert_of(["shop", "", "ERR00027"], closed=False)
    assert opened is not None and "limit" in opened.head and opened.runbook == LIMIT_REACHED
    assert alert_of(["shop", "db1:3306", "ERR00027"], closed=True) == Alert(
        "OK failover of shop: ERR00027 is over (it reached its limit of failovers and will not act again)"
    )
    assert alert_of(["shop", "db1:3306", "WARN0084"], closed=False) is None
    assert alert_of(["shop", "db1:3306", "WARN0084"], closed=True) is None


@pytest.mark.parametrize("code", ["ERR00010", "ERR00012", "ERR00041", "ERR00042", "ERR00087", "ERR00092"])
def test_a_cluster_that_would_not_be_failed_over_is_told(code: str) -> None:
    alert = alert_of(["shop", "db2:3306", code], closed=False)
    assert alert is not None and code in alert.head and alert.runbook == PROTECTS_NOTHING


def test_a_server_that_fails_and_a_failover_that_ended_are_told() -> None:
    failed = alert_of(["shop", "10.0.0.11:3306", "Suspect", "Failed"], closed=False)
    assert failed is not None and "10.0.0.11:3306 does not answer" in failed.head
    back = alert_of(["shop", "10.0.0.11:3306", "Failed", "StandAlone"], closed=False)
    assert back is not None and "was Failed, is StandAlone" in back.head
    ended = alert_of(CALL, closed=False)
    assert ended is not None and "10.0.0.11 to 10.0.0.12" in ended.head
    assert alert_of(["shop", "", "", "Number of cluster failovers exceeded"], closed=False) is None


def test_every_runbook_that_a_message_names_is_there() -> None:
    for name in (PROTECTS_NOTHING, LIMIT_REACHED):
        assert (ROOT / "docs/runbooks" / name).is_file()


@pytest.mark.parametrize(
    ("seen", "keys"),
    [
        (GOOD, set()),
        (None, {"silent"}),
        (with_(GOOD, topology="unknown"), {"topology"}),
        (with_(GOOD, servers={"a": "Master", "b": "Failed"}), {"topology"}),
        (with_(GOOD, servers={"a": "Master", "b": "Master"}), {"topology"}),
        (with_(GOOD, servers={}), {"topology"}),
        (with_(GOOD, failovers=3), {"limit"}),
        (with_(GOOD, failovers=3, limit=0), set()),
        (with_(GOOD, automatic=False), {"manual"}),
    ],
)
def test_what_is_complained_of(seen: Seen | None, keys: set[str]) -> None:
    assert set(complaints(seen, paused=False)) == keys


def test_manual_is_no_complaint_while_a_pause_asked_for_it() -> None:
    assert complaints(with_(GOOD, automatic=False), paused=True) == {}


def test_a_mode_that_is_not_told_is_not_taken_for_automatic() -> None:
    assert seen_of({}, []) == Seen("unknown", False, 0, 0, {})


def test_a_complaint_is_told_after_two_minutes_hourly_and_when_it_is_over() -> None:
    first = repman_watch.watch(None, None, {}, NOW)
    assert first.alerts == () and first.known == {"silent": Complaint(NOW, None)}
    second = repman_watch.watch(None, None, first.known, NOW + 2 * MINUTE)
    assert [alert.runbook for alert in second.alerts] == [PROTECTS_NOTHING]
    quiet = repman_watch.watch(None, None, second.known, NOW + 3 * MINUTE)
    assert quiet.alerts == ()
    again = repman_watch.watch(None, None, quiet.known, NOW + 2 * MINUTE + HOUR)
    assert len(again.alerts) == 1
    over = repman_watch.watch(GOOD, None, again.known, NOW + 2 * HOUR)
    assert [alert.head for alert in over.alerts] == ["OK Replication Manager: what was wrong is over (silent)"]
    assert over.known == {}
    brief = repman_watch.watch(GOOD, None, first.known, NOW + MINUTE)
    assert brief.alerts == (), "what nobody was told of needs no end"


def test_a_pause_of_more_than_four_hours_is_told() -> None:
    manual = with_(GOOD, automatic=False)
    pause = Pause(NOW, NOW + 8 * HOUR)
    assert repman_watch.watch(manual, pause, {}, NOW + 3 * HOUR).alerts == ()
    told = repman_watch.watch(manual, pause, {}, NOW + 4 * HOUR)
    assert ["paused since 2026-11-25T12:00:00Z" in alert.head for alert in told.alerts] == [True]


@pytest.mark.parametrize(("text", "minutes"), [("30m", 30), ("2h", 120), ("24h", 1440)])
def test_a_pause_has_a_length(text: str, minutes: int) -> None:
    assert repman_watch.pause_for(text) == minutes * MINUTE


@pytest.mark.parametrize("text", ["", "h", "0m", "-1h", "2", "2d", "25h", "1.5h", "²h"])
def test_a_pause_without_a_plain_length_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        repman_watch.pause_for(text)


def test_pauses_and_what_was_told_survive_on_disk_and_garbage_is_a_pause_that_is_over(tmp_path: Path) -> None:
    assert repman_watch.read_pause(tmp_path) is None
    repman_watch.write_pause(tmp_path, Pause(NOW, NOW + HOUR))
    assert repman_watch.read_pause(tmp_path) == Pause(NOW, NOW + HOUR)
    (tmp_path / repman_watch.PAUSE_FILE).write_text("{")
    garbage = repman_watch.read_pause(tmp_path)
    assert garbage is not None and garbage.until < NOW
    known = {"silent": Complaint(NOW, None), "limit": Complaint(NOW, NOW)}
    repman_watch.write_known(tmp_path, known)
    assert repman_watch.read_known(tmp_path) == known
    (tmp_path / repman_watch.TOLD_FILE).write_text("[]")
    assert repman_watch.read_known(tmp_path) == {}
