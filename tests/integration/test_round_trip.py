"""Fulls, incrementals and binlogs, restored to a time, to a GTID, to the last moment: every row against the ledger."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from support.hosts import Host, Lab, wait_until
from support.restored import Restored
from support.site import Site
from support.workload import Workload


@dataclass(frozen=True)
class Story:
    """The moments that the tests restore to (Unix seconds) and the transaction between two phases of writing."""

    after_full: float
    in_between: float
    marker_gtid: str
    marker_at: float
    last_binlogs_began: float
    last_binlogs_ended: float


@pytest.fixture(scope="module")
def story(lab: Lab, site: Site, shop: Workload) -> Story:
    """Full, two incrementals, and binlogs of three phases; a marker transaction alone between two of them."""
    shop.start()
    shop.wait_for(150)
    site.run(lab.db2, "mysql-backup-full")
    after_full = time.time() + 1.5  # the restorable window is in whole seconds
    wait_until(lambda: time.time() > after_full, "that moment is over")
    for program in ("mysql-backup-incremental", "mysql-backup-binlogs", "mysql-backup-incremental"):
        shop.wait_for(shop.acknowledged() + 150)
        site.run(lab.db2, program)
    shop.wait_for(shop.acknowledged() + 100)
    in_between = time.time()
    shop.wait_for(shop.acknowledged() + 100)
    shop.stop()
    marker = gtid_of(lab.primary(), f"CREATE TABLE {shop.database}.marker (id INT PRIMARY KEY)")
    marker_at = time.time()
    shop.start()
    shop.wait_for(shop.acknowledged() + 100)
    began = time.time()
    lab.wait_for_replica()
    site.run(lab.db2, "mysql-backup-binlogs")
    ended = time.time()
    shop.wait_for(shop.acknowledged() + 50)  # not archived: no restore may have these
    shop.stop()
    return Story(after_full, in_between, marker, marker_at, began, ended)


def gtid_of(primary: Host, ddl: str) -> str:
    """Run DDL on the primary and return its GTID, read from the binlog: heartbeats commit beside it."""
    file, position = primary.sql("SHOW BINARY LOG STATUS")[0][:2]
    primary.sql(ddl)
    gtid = ""
    events = primary.sql(f"SHOW BINLOG EVENTS IN '{file}' FROM {position}")
    for _, _, kind, _, _, info in (event for event in events if len(event) == 6):  # a statement of many lines is cut
        gtid = info.split("'")[1] if kind == "Gtid" else gtid
        if kind == "Query" and ddl in info:
            return gtid
    raise AssertionError(f"{ddl} is not in {file} after {position}")


@pytest.fixture
def restored(lab: Lab, site: Site) -> Iterator[Restored]:
    """A side instance on the replica's host, removed afterwards."""
    made = Restored(site, lab.db2, "round-trip")
    yield made
    made.remove()


def assert_exact(shop: Workload, restored: Restored, surely_by: float, not_after: float) -> None:
    """Both tables hold what was acknowledged, and nothing else."""
    for table in shop.tables:
        result = shop.compare(restored.host, table, account=restored.account, surely_by=surely_by, not_after=not_after)
        assert result.exact, str(result)
        assert result.expected > 0


def has_marker(shop: Workload, restored: Restored) -> bool:
    """Tell whether the marker's transaction is in the restored instance."""
    return bool(restored.host.sql(f"SHOW TABLES FROM {shop.database} LIKE 'marker'", account=restored.account))


def test_to_a_time(shop: Workload, restored: Restored, story: Story) -> None:
    local = datetime.fromtimestamp(story.in_between, ZoneInfo("Europe/Berlin"))
    restored.run("--to-time", f"{local:%Y-%m-%d %H:%M:%S.%f} Europe/Berlin")
    assert_exact(shop, restored, story.in_between, story.in_between)
    assert not has_marker(shop, restored)


def test_to_a_time_between_full_and_incremental(shop: Workload, restored: Restored, story: Story) -> None:
    moment = story.after_full
    restored.run("--to-time", f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%S.%fZ}")
    assert_exact(shop, restored, moment, moment)


def test_to_just_before_a_gtid(shop: Workload, restored: Restored, story: Story) -> None:
    restored.run("--before-gtid", story.marker_gtid)
    assert_exact(shop, restored, story.marker_at, story.marker_at)
    assert not has_marker(shop, restored)


def test_to_just_after_a_gtid(shop: Workload, restored: Restored, story: Story) -> None:
    restored.run("--to-gtid", story.marker_gtid)
    assert_exact(shop, restored, story.marker_at, story.marker_at)
    assert has_marker(shop, restored)


def test_to_the_last_moment(shop: Workload, restored: Restored, story: Story) -> None:
    restored.run("--last")
    assert_exact(shop, restored, story.last_binlogs_began, story.last_binlogs_ended)
    assert has_marker(shop, restored)


def test_a_run_that_was_killed_can_be_run_again(shop: Workload, restored: Restored, story: Story) -> None:
    restored.kill_half_way("--last")
    restored.run("--last")
    assert_exact(shop, restored, story.last_binlogs_began, story.last_binlogs_ended)
