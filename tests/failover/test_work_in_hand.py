"""The primary dies in the middle of work: a large transaction, a backup on its replica with DDL on the way."""

from __future__ import annotations

import time

import pytest

from support import faults, guarded
from support.failover_faults import held_down
from support.failover_load import Load
from support.failover_pair import Pair
from support.failover_times import Times
from support.hosts import wait_until
from support.site import Site

ROWS = 300_000
LARGE = (
    "SET SESSION cte_max_recursion_depth = {rows};"
    "INSERT INTO failover.large WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})"
    " SELECT i, REPEAT(MD5(i), 4) FROM n"
)
# one loop on the host: the moment is short
KILL_IN_COMMIT = (
    "state=\"select count(*) from information_schema.processlist where info like 'INSERT INTO failover.large%'"
    " and (state like 'waiting for handler commit%' or state like 'Waiting for semi-sync%')\";"
    'until [ "$(mysql -N -e "$state")" = 1 ]; do :; done; pkill -KILL -x mysqld'
)


@pytest.mark.open(reason="the transaction takes longer than the test's 60 s")
def test_in_the_middle_of_a_large_transaction(pair: Pair, load: Load, times: Times) -> None:
    """Whoever was not told OK may find all of its rows or none; the failover does not wait for it for ever."""
    roles, term = pair.roles(), pair.term()
    roles.primary.sql(
        "DROP TABLE IF EXISTS failover.large; CREATE TABLE failover.large (id INT PRIMARY KEY, text TEXT)"
    )
    pair.lab.wait_for_replica()
    with held_down(roles.primary):
        client = roles.primary.start("mysql", "-uroot", "-e", LARGE.format(rows=ROWS))
        roles.primary.shell(KILL_IN_COMMIT, timeout_seconds=60)
        began = time.time()
        client.wait(timeout=30)
        new = times.promotion(pair, load, "killed in a large transaction", began, term)
        found = int(new.value("SELECT COUNT(*) FROM failover.large"))
        assert found in ((ROWS,) if client.returncode == 0 else (0, ROWS))
    pair.settle(90)
    pair.roles().primary.sql("DROP TABLE failover.large")


@pytest.mark.open(reason="the backup has ended before the test looks for it")
def test_during_a_backup_with_ddl_on_its_way(pair: Pair, load: Load, times: Times) -> None:
    """A backup that holds a lock on the replica must not hold up its promotion."""
    roles, term = pair.roles(), pair.term()
    site = Site(pair.lab, "t-in-hand", {"backup": {"rate_limit_bytes_per_second": 1_000_000}})
    site.install()
    backup = roles.replica.start(*site.command("mysql-backup-full"))
    try:
        faults.wait_for_process(roles.replica, "mysql_clone_stream.py", 60)
        roles.primary.sql("ALTER TABLE failover.orders ADD COLUMN IF_NEW INT NULL, ALGORITHM=COPY")
        with held_down(roles.primary):
            began = time.time()
            guarded.kill_mysqld(roles.primary)
            new = times.promotion(pair, load, "killed during a backup", began, term)
            assert new.name == roles.replica.name
    finally:
        faults.kill(roles.replica, "mysql_backup_full.py", "TERM")
        backup.wait(timeout=60)
        wait_until(lambda: pair.open_primary() is not None, "a primary", limit_seconds=60)
        pair.roles().primary.sql("ALTER TABLE failover.orders DROP COLUMN IF_NEW")
        site.remove()
