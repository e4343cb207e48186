"""What the watcher calls wrong in the store, in the words that people get."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from holdfast.backup.coverage import Coverage, Hole
from holdfast.backup.manifest import Manifest
from holdfast.backup.watch_heartbeat import Heartbeat, is_silent, speaks
from holdfast.backup.watch_store import Cleanup, Drill, StoreView, store_findings
from holdfast.config_watch import WatchConfig
from support.backups import full, gtids, incremental
from support.findings import LIMITS, NOW, hours, said

FULL = full("full", stored_bytes=300, data_bytes=1000)


def store_view(**changes: Any) -> StoreView:
    view = StoreView(
        now=NOW,
        born=hours(-1000),
        zone=ZoneInfo("Europe/Berlin"),
        speaker="app1",
        database_hosts=("db1", "db2"),
        manifests=[FULL],
        archived={"db1": hours(-1), "db2": hours(-1)},
        streamed={"db1": hours(-300), "db2": hours(-0.01)},
        covered=Coverage((), (), ()),
        damaged=(),
        drills=[Drill(hours(-24), "")],
        heartbeats={host: Heartbeat(host, hours(-1)) for host in ("app1", "db1", "db2")},
        cleanup=Cleanup(hours(-8)),
        cleanup_seen=True,
    )
    return replace(view, **changes)


def test_a_store_that_is_well() -> None:
    assert store_findings(store_view(), LIMITS) == []


def chain(*stored: int, data: int = 1000) -> list[Manifest]:
    """A full, and an incremental a night."""
    made = [full("full", stored_bytes=stored[0], data_bytes=data)]
    for number, size in enumerate(stored[1:], 1):
        made.append(incremental(f"inc{number}", made[-1], hours=number, stored_bytes=size))
    return made


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"manifests": [full("full", hours=-14)]}, [
            "backup_overdue:backup | no backup of either kind has reached the store since 2026-11-21T11:30:00Z, "
            "25 h 30 min ago",
        ]),
        ({"manifests": [], "drills": [], "cleanup": None}, [
            "backup_overdue:backup | no backup of either kind has ever reached the store",
            "backup_overdue:full | no full backup has ever reached the store",
        ]),
        ({"manifests": [], "drills": [], "archived": {}, "born": hours(-24)}, []),
        ({"archived": {"db1": hours(-1), "db2": hours(-26)}}, [
            "backup_overdue:binlogs-db2 | no binlog of db2 has reached the store since 2026-11-21T11:00:00Z, "
            "26 h 0 min ago",
        ]),
        ({"archived": {"db1": hours(-1)}}, [
            "backup_overdue:binlogs-db2 | no binlog of db2 has ever reached the store",
        ]),
        ({"covered": Coverage((), (Hole(hours(-5), hours(-3), gtids("A:5-9")),), ())}, [
            "binlog_hole:20261122T080000Z | no moment from 2026-11-22T08:00:00Z to 2026-11-22T10:00:00Z "
            "can be restored",
        ]),
        ({"covered": Coverage((), (Hole(hours(-24 * 40), hours(-24 * 31), gtids("A:5-9")),), ())}, []),
        ({"covered": Coverage((), (), ("inc stands upon gone",)), "damaged": ["x does not match"]}, [
            "backup_damaged | 2 of the store's objects do not count: x does not match; inc stands upon gone",
        ]),
        ({"manifests": [FULL, full("ahead", hours=48)]}, [
            "backup_damaged:future | ahead lies in the future: the clock here shows 2026-11-22T13:00:00Z",
        ]),
        ({"drills": [Drill(hours(-48), ""), Drill(hours(-24), "full: rows differ")]}, [
            "drill_failed | the restore drill of 2026-11-21T13:00:00Z failed: full: rows differ",
        ]),
        ({"drills": [Drill(hours(-24 * 15), ""), Drill(hours(-24), "x")]}, [
            "drill_failed | the restore drill of 2026-11-21T13:00:00Z failed: x",
            "drill_overdue | no restore drill has passed since 2026-11-07T13:00:00Z",
        ]),
        ({"drills": []}, []),  # the first backup is of today
        ({"drills": [], "manifests": [full("old", hours=-24 * 15), FULL]}, [
            "drill_overdue | no restore drill has ever passed",
        ]),
        ({"cleanup": Cleanup(hours(-27))}, ["cleanup_overdue | the cleanup has not run since 2026-11-21T10:00:00Z"]),
        ({"cleanup": None}, []),
        ({"cleanup": None, "manifests": [full("old", hours=-40), FULL]}, [
            "cleanup_overdue | the cleanup has never run",
        ]),
        ({"cleanup": None, "cleanup_seen": False, "manifests": [full("old", hours=-40), FULL]}, []),
        ({"heartbeats": {"app1": Heartbeat("app1", NOW), "db1": Heartbeat("db1", hours(-4))}}, [
            "host_silent:db1 | the watcher of db1 has left no sign since 2026-11-22T09:00:00Z",
            "host_silent:db2 | the watcher of db2 has never left a sign",
        ]),
        ({"heartbeats": {"app1": Heartbeat("app1", NOW), "db1": Heartbeat("db1", NOW)}, "born": hours(-2)}, []),
        ({"heartbeats": {host: Heartbeat(host, NOW, unsent=("raid_degraded:md0",) if host == "db1" else ())
                         for host in ("app1", "db1", "db2")}}, [
            "host_silent:db1 | the watcher of db1 cannot send its messages; not told: raid_degraded:md0",
        ]),
    ],
)  # fmt: skip
def test_the_store(changes: dict[str, Any], expected: list[str]) -> None:
    assert said(store_findings(store_view(**changes), LIMITS)) == expected


@pytest.mark.parametrize(
    ("manifests", "expected"),
    [
        (chain(130), []),
        (chain(129), ["full_too_small | full has 129 B: 13% of the server's 1000 B (13% is expected)"]),
        (chain(90), ["full_too_small | full has 90 B: 9% of the server's 1000 B (13% is expected)"]),
        ([full("before", hours=-168, stored_bytes=600), full("full", stored_bytes=300)], []),
        ([full("before", hours=-168, stored_bytes=601), full("full", stored_bytes=300)], [
            "full_too_small | full has 300 B: 50% of the full before it, 601 B (50% is expected)",
        ]),
        ([full("before", hours=-168, stored_bytes=900, engine="xtrabackup"), full("full", stored_bytes=300)], []),
        ([full("before", hours=-168, stored_bytes=600), full("full", stored_bytes=60)], [
            "full_too_small | full has 60 B: 6% of the server's 1000 B (13% is expected) and "
            "10% of the full before it, 600 B (50% is expected)",
        ]),
        (chain(300, 240), []),
        (chain(300, 241), ["incremental_too_large | inc1 has 241 B, 80% of its full (full)"]),
        (chain(300, 299, 20), []),  # the newest alone is judged
    ],
)  # fmt: skip
def test_sizes(manifests: list[Manifest], expected: list[str]) -> None:
    assert said(store_findings(store_view(manifests=manifests), LIMITS)) == expected


@pytest.mark.parametrize(
    ("finished", "now", "late"),
    [
        # the night of 25 hours: 02:30 of the one day to 02:45 of the next
        ("2026-10-24T00:30:00", "2026-10-25T02:00:00", False),
        ("2026-10-24T00:30:00", "2026-10-25T03:00:00", True),
        ("2026-11-01T01:30:00", "2026-11-02T02:25:00", False),
        ("2026-11-01T01:30:00", "2026-11-02T02:35:00", True),
    ],
)
def test_in_the_long_night_the_backup_is_not_late(finished: str, now: str, late: bool) -> None:
    at, moment = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (finished, now))
    last = replace(full("full"), started_at=at - timedelta(minutes=20), finished_at=at)
    heartbeats = {host: Heartbeat(host, moment) for host in ("app1", "db1", "db2")}
    archived = {"db1": moment, "db2": moment}
    view = store_view(now=moment, manifests=[last], archived=archived, heartbeats=heartbeats, cleanup=Cleanup(moment))
    view = replace(view, streamed=archived)
    assert bool(store_findings(replace(view, drills=[Drill(moment, "")]), LIMITS)) == late


def test_heartbeats_say_who_speaks() -> None:
    watch = WatchConfig("app1", ("db1", "db2"), True, (), (), (), (), (), 6.0, "USD", LIMITS)
    alive = {host: Heartbeat(host, hours(-1)) for host in ("app1", "db1", "db2")}
    old, mute = Heartbeat("x", hours(-4)), Heartbeat("x", NOW, unsent=("a",))
    table: list[tuple[Mapping[str, Heartbeat], list[str]]] = [
        (alive, ["app1"]),
        ({**alive, "app1": old}, ["app1", "db1"]),
        ({**alive, "app1": mute}, ["app1", "db1"]),
        ({**alive, "app1": old, "db1": old}, ["app1", "db1", "db2"]),  # db1 is at work, whatever its last sign says
        ({"db2": alive["db2"]}, ["app1", "db1", "db2"]),
        ({**alive, "app1": Heartbeat("app1", hours(48))}, ["app1", "db1"]),
    ]
    for heartbeats, expected in table:
        spoke = [host for host in ("app1", "db1", "db2") if speaks(watch, host, heartbeats, hours(-1000), NOW)]
        assert spoke == expected
    assert not speaks(watch, "db1", {}, hours(-1), NOW), "a host that was set up an hour ago waits for the others"
    assert not is_silent(None, hours(-1), NOW, LIMITS)


def test_a_heartbeat_is_read_as_it_was_written() -> None:
    heartbeat = Heartbeat("db1", NOW.replace(microsecond=0), ("raid_degraded:md0",), (), gtids("A:1-7"))
    assert Heartbeat.from_json(heartbeat.to_json(), "x") == heartbeat


@pytest.mark.parametrize(
    ("streamed", "born", "expected"),
    [
        ({"db1": hours(-0.2)}, -1000, []),
        ({"db1": hours(-300), "db2": hours(-0.2)}, -1000, []),  # after a failover the other host streams
        ({"db1": hours(-0.3)}, -1000, [
            "no binlog was streamed to the store since 2026-11-22T12:42:00Z, 18 min 0 s ago",
        ]),
        ({"db1": hours(48), "db2": hours(-1)}, -1000, [
            "no binlog was streamed to the store since 2026-11-22T12:00:00Z, 1 h 0 min ago",
        ]),
        ({}, -1000, ["no binlog has ever been streamed to the store"]),
        ({}, -0.2, []),  # a site that was set up just now
        (None, -1000, []),  # switched off
    ],
)  # fmt: skip
def test_a_stream_that_stands_still(streamed: dict[str, datetime] | None, born: float, expected: list[str]) -> None:
    found = said(store_findings(store_view(streamed=streamed, born=hours(born)), LIMITS))
    assert found == [f"stream_stale | {what}" for what in expected]
