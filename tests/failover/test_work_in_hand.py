"""The primary dies in the middle of work: a large transaction, a backup on its replica with DDL on the way."""

from __future__ import annotations

import time

import pytest

from support import faults, guarded
from support.failover_faults import held_down
from support.failover_load import Load
from support.failover_pair import Pair
from support.failover_times import Times
from support.hosts import Host, wait_until
from support.site import Site

ROWS = 200_000
LARGE_SECONDS = 240.0  # some 10 s on a quiet machine
LARGE = (
    "SET SESSION cte_max_recursion_depth = {rows};"
    "INSERT INTO failover.large WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})"
    " SELECT i, REPEAT(SHA2(i, 256), 2) FROM n"
)
# one session on the host: the moment is short
KILL_IN_COMMIT = """
import os, subprocess, time, pymysql
mysqld = int(subprocess.check_output(["pidof", "mysqld"]))
cursor = pymysql.connect(unix_socket="/run/mysqld/mysqld.sock", user="root").cursor()
print("looking", flush=True)
while not cursor.execute(
    "SELECT 1 FROM performance_schema.processlist WHERE info LIKE 'INSERT INTO failover.large%'"
    " AND (state LIKE 'waiting for handler commit%' OR state LIKE 'Waiting for semi-sync%')"
):
    time.sleep(0.005)
os.kill(mysqld, 9)
"""
BACKUP_BYTES_PER_SECOND = 40_000  # of what is stored: a backup of this pair takes a minute or more
# what XtraBackup does by default for as long as a backup runs; CLONE does not
HOLDS_THE_LOCK = (
    "SELECT 1 FROM performance_schema.metadata_locks WHERE object_type = 'BACKUP LOCK' AND lock_duration = 'EXPLICIT'"
)
LOCK = "LOCK INSTANCE FOR BACKUP; SELECT SLEEP(600)"


def test_in_the_middle_of_a_large_transaction(pair: Pair, load: Load, times: Times) -> None:
    """Whoever was not told OK may find all of its rows or none; the failover does not wait for it for ever."""
    roles, term = pair.roles(), pair.term()
    roles.primary.sql(
        "DROP TABLE IF EXISTS failover.large; CREATE TABLE failover.large (id INT PRIMARY KEY, text TEXT)"
    )
    pair.lab.wait_for_replica()
    with held_down(roles.primary):
        killer = roles.primary.start("timeout", f"{LARGE_SECONDS:.0f}", "python3", "-c", KILL_IN_COMMIT)
        assert killer.stdout is not None
        assert killer.stdout.readline() == b"looking\n"
        client = roles.primary.start("mysql", "-uroot", "-e", LARGE.format(rows=ROWS))
        wait_until(
            lambda: killer.poll() is not None or client.poll() is not None, "one of both ends",
            limit_seconds=LARGE_SECONDS + 30,
        )  # fmt: skip
        if killer.poll() is None:
            killer.kill()
            pytest.fail(f"it ended before it was killed in its commit: {client.communicate()}")
        assert killer.returncode == 0
        began = time.time()
        client.wait(timeout=30)
        new = times.promotion(pair, load, "killed in a large transaction", began, term)
        found = int(new.value("SELECT COUNT(*) FROM failover.large"))
        assert found in ((ROWS,) if client.returncode == 0 else (0, ROWS))
    pair.settle(90)
    pair.roles().primary.sql("DROP TABLE failover.large")


def waits_for_the_lock(host: Host) -> bool:
    """Whether the replica's applier stands still behind a backup's lock."""
    waiting = "SELECT COUNT(*) FROM performance_schema.processlist WHERE state LIKE 'Waiting for backup lock%'"
    return host.value(waiting) != "0"


def test_during_a_backup_with_ddl_on_its_way(pair: Pair, load: Load, times: Times) -> None:
    """A backup, and the lock that one may hold on the replica, must not hold up its promotion."""
    roles, term = pair.roles(), pair.term()
    site = Site(pair.lab, "t-in-hand", {"backup": {"rate_limit_bytes_per_second": BACKUP_BYTES_PER_SECOND}})
    site.install()
    backup = roles.replica.start(*site.command("mysql-backup-full"))
    try:
        faults.wait_for_process(roles.replica, "mysql_clone_stream.py", 60)
        lock = roles.replica.start("mysql", "-uroot", "-e", LOCK)
        wait_until(lambda: roles.replica.sql(HOLDS_THE_LOCK) != [], "the lock is held")
        roles.primary.sql("CREATE TABLE failover.in_hand (id INT PRIMARY KEY)")
        wait_until(lambda: waits_for_the_lock(roles.replica), "the applier waits for the lock")
        assert backup.poll() is None, "the backup still runs"
        with held_down(roles.primary):
            began = time.time()
            guarded.kill_mysqld(roles.primary)
            new = times.promotion(pair, load, "killed during a backup", began, term)
            assert new.name == roles.replica.name
            assert new.value("SELECT COUNT(*) FROM failover.in_hand") == "0", "the DDL was acknowledged"
        lock.wait(timeout=30)
    finally:
        roles.replica.run("pkill", "-TERM", "-f", "mysql-backup-full.*t-in-hand", check=False)
        backup.wait(timeout=60)
        wait_until(lambda: pair.open_primary() is not None, "a primary", limit_seconds=60)
        pair.roles().primary.sql("DROP TABLE IF EXISTS failover.in_hand")
        site.remove()
