"""A restored server wakes up alone: no event fires, nothing replicates, nobody can reach it, and it has its own name.

Proved with a backup that contains a due EVENT and a configured replica.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from support import guarded
from support.hosts import Lab, wait_until
from support.restored import Restored
from support.site import Site

DATABASE = "t_side_instance_events"


@pytest.fixture(scope="module")
def side(lab: Lab, site: Site) -> Iterator[Restored]:
    """Such a backup, restored to the moment after it."""
    replica, primary = lab.replica(), lab.primary()
    schedulers = {host: host.value("SELECT @@global.event_scheduler") for host in lab.servers}
    restored = Restored(site, replica, "side")
    try:
        for host in lab.servers:
            host.sql("SET GLOBAL event_scheduler=OFF")
        primary.sql(
            f"DROP DATABASE IF EXISTS {DATABASE}; CREATE DATABASE {DATABASE};"
            f"CREATE TABLE {DATABASE}.fired (at DATETIME PRIMARY KEY);"
            f"CREATE EVENT {DATABASE}.due ON SCHEDULE EVERY 1 SECOND"
            f" DO INSERT IGNORE INTO {DATABASE}.fired VALUES (NOW())"
        )
        lab.wait_for_replica()
        # On a replica an event sleeps (REPLICA_SIDE_DISABLED): wake it, or the backup would prove nothing.
        with guarded.by_hand(lab):
            replica.sql(
                f"SET GLOBAL super_read_only=OFF; SET SESSION sql_log_bin=0; ALTER EVENT {DATABASE}.due ENABLE;"
                "SET GLOBAL super_read_only=ON"
            )
        site.run(replica, "mysql-backup-full")
        moment = time.time() + 1.5  # the restorable window is in whole seconds
        wait_until(lambda: time.time() > moment, "that moment is over")
        primary.sql(f"CREATE TABLE {DATABASE}.later (id INT PRIMARY KEY)")
        lab.wait_for_replica()
        site.run(replica, "mysql-backup-binlogs")
        restored.run("--to-time", f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%S.%fZ}")
        yield restored
    finally:
        restored.remove()
        primary.sql(f"DROP DATABASE IF EXISTS {DATABASE}")
        lab.wait_for_replica()
        for host, value in schedulers.items():
            host.sql(f"SET GLOBAL event_scheduler={value}")


def test_the_backup_holds_a_due_event_and_a_replica(side: Restored) -> None:
    events = side.host.sql("SELECT event_name, status FROM information_schema.events", account=side.account)
    assert ["due", "ENABLED"] in events, f"the test proves nothing: {events}"


def test_the_event_does_not_fire(side: Restored) -> None:
    uptime = "SELECT variable_value > 3 FROM performance_schema.global_status WHERE variable_name='Uptime'"
    wait_until(lambda: side.value(uptime) == "1", "the side instance is up for 3 s")
    assert side.value(f"SELECT COUNT(*) FROM {DATABASE}.fired") == "0"
    assert side.value("SELECT @@global.event_scheduler") in ("OFF", "DISABLED")


def test_nothing_replicates(side: Restored) -> None:
    assert side.host.sql("SHOW REPLICA STATUS", account=side.account) == []
    assert side.host.value("SELECT COUNT(*) FROM mysql.slave_master_info") == "1", "the replica itself lost its source"


def test_nothing_listens_on_the_network(side: Restored) -> None:
    pid = side.pid()
    listeners = side.host.run("ss", "-H", "-ltnp").out.splitlines()
    assert not [line for line in listeners if f"pid={pid}," in line]
    assert side.value("SELECT @@global.skip_networking") == "1"


def test_it_has_a_name_of_its_own(lab: Lab, side: Restored) -> None:
    uuids = {host.value("SELECT @@server_uuid") for host in lab.servers}
    assert side.value("SELECT @@server_uuid") not in uuids
