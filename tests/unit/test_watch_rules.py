"""What the watcher calls wrong: a table for each rule, and the words that people get."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from holdfast.backup.alarm_engine import Finding
from holdfast.backup.alarm_names import ALARMS, FROM_MYSQL, FROM_THE_HOST, FROM_THE_STORE, GUARDS_OWN
from holdfast.backup.coverage import Coverage, Hole
from holdfast.backup.manifest import Manifest
from holdfast.backup.watch_heartbeat import Heartbeat, is_silent, speaks
from holdfast.backup.watch_host import (
    Disk,
    Expiry,
    HostView,
    days_left,
    expiry_of,
    host_findings,
    raid_complaints,
    with_sample,
)
from holdfast.backup.watch_mysql import LocalBinlog, MysqlView, mysql_findings
from holdfast.backup.watch_store import Cleanup, Drill, StoreView, store_findings
from holdfast.cluster import ReplicaChannel, ServerState
from holdfast.config_watch import LimitsConfig, WatchConfig
from holdfast.gtid import GtidSet
from support.backups import START, full, gtids, incremental
from support.servers import PRIMARY, REPLICA

LIMITS = LimitsConfig(25, 193, 3, 14, 26, 13, 50, 80, 60, 21, 80, 90, 600, 48)
NOW = START + timedelta(hours=12)
FULL = full("full", stored_bytes=300, data_bytes=1000)


def hours(value: float) -> datetime:
    return NOW + timedelta(hours=value)


def said(findings: Sequence[Finding]) -> list[str]:
    """Each finding's key and what it says, once it is sure that it says all three things."""
    for finding in findings:
        assert finding.alarm in ALARMS
        assert finding.what and finding.meaning and finding.remedy
    return [f"{finding.key} | {finding.what}" for finding in findings]


def store_view(**changes: Any) -> StoreView:
    view = StoreView(
        now=NOW,
        born=hours(-1000),
        zone=ZoneInfo("Europe/Berlin"),
        speaker="app1",
        database_hosts=("db1", "db2"),
        manifests=[FULL],
        archived={"db1": hours(-1), "db2": hours(-1)},
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
    assert bool(store_findings(replace(view, drills=[Drill(moment, "")]), LIMITS)) == late


def test_heartbeats_say_who_speaks() -> None:
    watch = WatchConfig("app1", ("db1", "db2"), (), (), (), (), (), 6.0, "USD", LIMITS)
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


GB = 10**9


@pytest.mark.parametrize(
    ("disk", "expected"),
    [
        (Disk("/", 100 * GB, 79 * GB), []),
        (Disk("/", 100 * GB, 80 * GB), [
            "disk_filling:/ | / is 80% full: 18.6 GiB of 93.1 GiB are free; how fast it fills is not known yet",
        ]),
        (Disk("/", 100 * GB, 90 * GB, [(hours(-48), 86 * GB), (hours(-24), 88 * GB)]), [
            "disk_filling:/ | / is 90% full: 9.3 GiB of 93.1 GiB are free; at its present rate it is full in 5 days",
        ]),
        (Disk("/", 100 * GB, 85 * GB, [(hours(-24), 86 * GB)]), [
            "disk_filling:/ | / is 85% full: 14.0 GiB of 93.1 GiB are free; it does not grow",
        ]),
        (Disk("/x", 0, 0), [
            "disk_filling:/x | /x is 100% full: 0 B of 0 B are free; how fast it fills is not known yet",
        ]),
    ],
)  # fmt: skip
def test_disks(disk: Disk, expected: list[str]) -> None:
    found = host_findings(HostView(NOW, "db1", disks=[disk]), LIMITS)
    assert said(found) == expected
    assert [finding.level for finding in found] == [2 if disk.used * 10 >= disk.total * 9 else 1 for _ in found]


@pytest.mark.parametrize(
    ("samples", "days"),
    [
        ([], None),
        ([(hours(-10), 40)], None),
        ([(hours(-24), 40)], 5.0),
        ([(hours(-24), 60)], 0.0),
        ([(hours(-24 * 20), 0), (hours(-24), 40)], 5.0),  # what is older than the trend does not bend it
        ([(hours(24), 90), (hours(-24), 40)], 5.0),
    ],
)
def test_days_left(samples: list[tuple[datetime, int]], days: float | None) -> None:
    left = days_left(Disk("/", 100, 50, samples), NOW)
    assert left == (None if days is None else pytest.approx(days) if days else float("inf"))


def test_samples_are_few_and_of_the_last_two_weeks() -> None:
    samples: tuple[tuple[datetime, int], ...] = ()
    for hour in range(24 * 30):
        samples = with_sample(samples, hours(hour), hour)
    assert len(samples) <= 24 * 14 / 3 + 1
    assert samples[0][1] >= 24 * 16 - 3
    assert with_sample(((hours(48), 1),), NOW, 2) == ((NOW, 2),)


GOOD = """Personalities : [raid1]
md2 : active raid1 nvme1n1p3[1] nvme0n1p3[0]
      930123456 blocks super 1.2 [2/2] [UU]
      bitmap: 3/7 pages [12KB], 65536KB chunk

md0 : active raid1 nvme0n1p1[0] nvme1n1p1[1]
      4189184 blocks super 1.2 [2/2] [UU]

unused devices: <none>
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("Personalities :\nunused devices: <none>\n", []),
        (GOOD, []),
        (GOOD.replace("[2/2] [UU]\n\nunused", "[2/1] [U_]\n\nunused"), [("md0", "1 of 2 disks are in it [U_]")]),
        (
            GOOD.replace("nvme1n1p1[1]", "nvme1n1p1[1](F)").replace("[2/2] [UU]\n\nunused", "[2/1] [U_]\n\nunused"),
            [("md0", "1 of 2 disks are in it [U_], failed: nvme1n1p1")],
        ),
        (
            GOOD.replace(
                "[2/2] [UU]\n      bitmap",
                "[2/1] [U_]\n      [=>...] recovery = 12.6% (1/2)\n      bitmap",
            ),
            [("md2", "1 of 2 disks are in it [U_]; recovery is at 12.6%")],
        ),
        ("md1 : inactive sdb1[1](S)\n      123 blocks super 1.2\n", [("md1", "is inactive")]),
        ("md1 : active (auto-read-only) raid1 sdb1[1] sda1[0]\n  1 blocks [2/2] [UU]\n", []),
        ("md3 : active raid5 sda[0] sdb[1] sdc[3]\n  1 blocks level 5 [3/3] [UUU]\n  [>] check = 1.0%\n", []),
    ],
)
def test_raid(text: str, expected: list[tuple[str, str]]) -> None:
    assert raid_complaints(text) == expected
    found = host_findings(HostView(NOW, "db1", mdstat=text), LIMITS)
    assert said(found) == [f"raid_degraded:{name} | {name}: {what}" for name, what in expected]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"synchronised": True, "offsets": {"db2": 60.0}}, []),
        ({"synchronised": None}, []),
        ({"offsets": {"db2": 61.2, "app1": -90.0}, "synchronised": False}, [
            "clock_skew | the clock of db2 is 61 s ahead; the clock of app1 is 90 s behind; no time server holds this "
            "host's clock (it shows 2026-11-22T13:00:00Z)",
        ]),
        ({"expiries": [Expiry("/ca.pem", hours(24 * 22)), Expiry("key", None, "no such file")]}, [
            "certificate_expiring:key | key: its end cannot be found out: no such file",
        ]),
        ({"expiries": [Expiry("/ca.pem", hours(24 * 20 + 1)), Expiry("B2 key", hours(-1))]}, [
            "certificate_expiring:/ca.pem | /ca.pem expires 2026-12-12T14:00:00Z, in 20 days",
            "certificate_expiring:B2 key | B2 key has expired 2026-11-22T12:00:00Z",
        ]),
        ({"services": {"cron.service": "active", "mysql.service": "reloading"}}, []),
        ({"services": {"mysql.service": "activating"}}, [
            "program_not_running:mysql.service | mysql.service on db1 is activating",
        ]),
        ({"services": {"haproxy.service": "failed", "mysql-guard.service": "inactive"}}, [
            "program_not_running:haproxy.service | haproxy.service on db1 is failed",
            "program_not_running:mysql-guard.service | mysql-guard.service on db1 is inactive",
        ]),
        ({"services": {"mysql-guard.service": "inactive"}, "told_elsewhere": {"mysql-guard.service"}}, []),
    ],
)  # fmt: skip
def test_the_host(changes: dict[str, Any], expected: list[str]) -> None:
    assert said(host_findings(HostView(NOW, "db1", **changes), LIMITS)) == expected


def test_a_day_that_somebody_wrote_is_that_days_end() -> None:
    assert expiry_of("B2 key=2026-12-31") == Expiry("B2 key", datetime(2027, 1, 1, tzinfo=UTC))


def stopped(io: bool, sql: bool, error: str = "", lag: int | None = None) -> ServerState:
    return replace(REPLICA, channels=(ReplicaChannel(io, sql, lag, error, "db2"),))


def binlog(number: int, expires_in: float, archived: bool) -> LocalBinlog:
    return LocalBinlog(f"binlog.{number:06d}", hours(expires_in), archived)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"state": REPLICA}, []),
        ({"state": PRIMARY, "semi_sync": True}, []),
        ({"error": "connect: error 2002"}, ["mysql_unreachable | MySQL on db1 does not answer: connect: error 2002"]),
        ({"state": stopped(False, True, "refused")}, [
            "replication_stopped | the receiver of replica db1 (source db2) does not run: refused",
        ]),
        ({"state": stopped(True, False)}, [
            "replication_stopped | the applier of replica db1 (source db2) does not run",
        ]),
        ({"state": stopped(False, False, "x")}, [
            "replication_stopped | the receiver and the applier of replica db1 (source db2) do not run: x",
        ]),
        ({"state": stopped(True, True, lag=600)}, []),
        ({"state": stopped(True, True, lag=601)}, [
            "replica_lag | replica db1 is 601 s behind db2 (600 s are allowed)",
        ]),
        ({"state": PRIMARY}, ["semi_sync_off | primary db1 acknowledges without its replica (1 replica connected)"]),
        ({"state": replace(PRIMARY, read_only=True)}, []),
        ({"state": PRIMARY, "semi_sync": True, "peers": {"db2": gtids("A:1-10")}}, []),
        ({"state": PRIMARY, "semi_sync": True, "peers": {"db2": gtids("A:1-9,B:1-2")}}, [
            "errant_transactions:db2 | db2 has 2 transactions that primary db1 does not have: "
            "22222222-2222-2222-2222-222222222222:1-2",
        ]),
        ({"state": REPLICA, "peers": {"db2": gtids("A:1-99")}}, []),  # a replica may be behind
        ({"state": REPLICA, "started": "b-1", "started_at": hours(-1)}, [
            "mysqld_restarted:b-1 | mysqld on db1 was started at 2026-11-22T12:00:00Z",
        ]),
        ({"state": REPLICA, "started": "b-1", "started_at": hours(-25)}, []),
        ({"state": REPLICA, "started": "b-1", "started_at": hours(-1), "born": hours(-0.5)}, []),
        ({"state": REPLICA, "binlogs": [binlog(1, 47, True), binlog(2, 48.1, False)]}, []),
        ({"state": REPLICA, "binlogs": [binlog(2, 40, False), binlog(1, 30, False), binlog(3, 90, False)]}, [
            "binlog_about_to_expire | 2 binlogs of db1 are not archived and will be removed, binlog.000001 first, "
            "after 2026-11-23T19:00:00Z",
        ]),
    ],
)  # fmt: skip
def test_mysql(changes: dict[str, Any], expected: list[str]) -> None:
    view = MysqlView(now=NOW, born=hours(-1000), host="db1")
    assert said(mysql_findings(replace(view, **changes), LIMITS)) == expected


def test_every_alarm_belongs_to_one_part() -> None:
    parts = [FROM_THE_STORE, FROM_THE_HOST, FROM_MYSQL, {"store_unreachable", "watch_failed"}]
    assert sorted(name for part in parts for name in part) == sorted(ALARMS)
    assert GUARDS_OWN <= FROM_MYSQL
    assert GtidSet() == GtidSet.parse("")
