"""What looks like a dead primary and is not: full disks, no connection left, a password that is wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support import guarded
from support.failover_disks import filled, moved_to_small_disk
from support.failover_load import Load
from support.failover_pair import Pair
from support.hosts import Host, wait_until

CLIENTS = 25


def stays(pair: Pair, term: int, seconds: float) -> None:
    """Wait as long as a failover would take; none may come."""
    time.sleep(seconds)
    assert pair.term() == term
    assert pair.record()["opened"]


def test_connections_are_exhausted(pair: Pair, load: Load) -> None:
    roles, term = pair.roles(), pair.term()
    before = guarded.mysqld_pid(roles.primary)
    limit = roles.primary.value("SELECT @@max_connections")
    roles.primary.sql("SET GLOBAL max_connections = 10")
    sleep = ("mysql", "-uprobe", "-pprobe", "-e", "SELECT SLEEP(60)")
    crowd = [roles.primary.start(*sleep) for _ in range(CLIENTS)]
    try:
        wait_until(lambda: refused(roles.primary), "connections are refused", limit_seconds=20)
        stays(pair, term, pair.detection_seconds + 5)
        assert guarded.mysqld_pid(roles.primary) == before
    finally:
        for client in crowd:
            client.kill()
        roles.primary.run("pkill", "-x", "mysql", check=False)
        wait_until(lambda: not refused(roles.primary), "there is room again", limit_seconds=20)
        roles.primary.sql(f"SET GLOBAL max_connections = {limit}")


def refused(host: Host) -> bool:
    """Tell whether the server has no connection for an ordinary client."""
    return "1040" in host.run("mysql", "-uprobe", "-pprobe", "-e", "SELECT 1", check=False).err


DATA, DATA_UNITS = "/var/lib/mysql", ("mysql", "mysql-guard")
ROOM_BYTES = 160 * 1024 * 1024
DETECTION_MARGIN_SECONDS = 5.0


def test_the_primarys_data_disk_is_full(pair: Pair, load: Load) -> None:
    """It answers and cannot write: whoever fills it would fill the next one. It goes on once there is room."""
    host = pair.roles().replica  # a replica can be stopped to get its disk
    with moved_to_small_disk(host, DATA, ROOM_BYTES, DATA_UNITS):
        pair.settle()
        pair.switch_over()
        pair.settle()
        term, before = pair.term(), guarded.mysqld_pid(host)
        with filled(host, DATA):
            wait_until(lambda: "write of the guard's own" in pair.told(host), "the alarm", limit_seconds=60)
            full = time.time()
            stays(pair, term, pair.detection_seconds + DETECTION_MARGIN_SECONDS)
            assert load.told(since=full) == [], "nobody is told OK"
            assert host.value("SELECT 'reads work'") == "reads work"
        load.wait_for_ok(host, time.time(), 90)  # MySQL looks each minute
        assert (pair.term(), guarded.mysqld_pid(host)) == (term, before)
        load.wait_for_shop(time.time())
        pair.settle()
        pair.switch_over()
        pair.settle()


@contextmanager
def other_password(host: Host, account: str) -> Iterator[None]:
    """Give an account another password for the time of the block; then its own again, by the hash."""
    name, address, stored = host.sql(
        f"SELECT user, host, HEX(authentication_string) FROM mysql.user WHERE user = '{account}'"
    )[0]
    host.sql(f"ALTER USER '{name}'@'{address}' IDENTIFIED BY 'another-{time.time_ns()}'")
    try:
        yield
    finally:
        host.sql(f"ALTER USER '{name}'@'{address}' IDENTIFIED WITH caching_sha2_password AS 0x{stored}")


@pytest.mark.parametrize("account", ["holdfast_fence", "holdfast_guard", "holdfast_monitor"])
def test_a_program_has_the_wrong_password(pair: Pair, load: Load, account: str) -> None:
    """An error of SQL is an answer: the primary lives, whoever cannot log in raises an alarm at most."""
    roles, term = pair.roles(), pair.term()
    before = guarded.mysqld_pid(roles.primary)
    with other_password(roles.primary, account):
        if account == "holdfast_guard":
            roles.primary.run("systemctl", "restart", "mysql-guard")
        stays(pair, term, pair.detection_seconds + 4)
        load.wait_for_ok(roles.primary, time.time())
    assert guarded.mysqld_pid(roles.primary) == before
