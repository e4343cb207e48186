"""What the watcher calls wrong with a host and its MySQL, in the words that people get."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from holdfast.backup.alarm_names import ALARMS, FROM_MYSQL, FROM_THE_HOST, FROM_THE_STORE, GUARDS_OWN
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
from holdfast.cluster import ReplicaChannel, ServerState
from support.backups import gtids
from support.findings import LIMITS, NOW, hours, said
from support.servers import PRIMARY, REPLICA

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
