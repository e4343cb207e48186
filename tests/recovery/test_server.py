"""A database server is lost with its host; the new, empty one becomes a replica while the application writes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import hosts
from support.failover_pair import Pair
from support.hosts import Lab
from support.playbooks import on_the_suites_site
from support.runbooks import follow
from support.workload import Workload

RUNBOOK = "server_lost.md"


@pytest.fixture(scope="module")
def shop(lab: Lab) -> Iterator[Workload]:
    """An application that writes through the proxy, and a backup; db1 leads."""
    Pair(lab).have_led_by(lab.db1)
    made = Workload(lab, "lost", ("orders",), rate=20, through_proxy=True)
    made.prepare()
    made.start()
    lab.db2.run("mysql-backup-full", timeout_seconds=600)
    lab.db1.run("mysql-backup-binlogs", timeout_seconds=300)
    yield made
    made.stop()


def lose(lab: Lab) -> None:
    """Wipe db2."""
    for verb in ("down", "up"):
        argv = [sys.executable, str(hosts.LAB_PROGRAM), verb, "db2"]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def all_is_there(lab: Lab, shop: Workload) -> None:
    shop.stop()
    lab.wait_for_replica()
    for host in lab.servers:
        result = shop.compare(host, "orders")
        assert result.exact and result.expected > 0, str(result)
    Pair(lab).settle()
    shop.start()


@pytest.mark.parametrize(
    ("host", "confirm", "words"),
    [("db1", "db1", "db1 takes writes: it is not lost"), ("db2", "db1", "recover_host is db2, but confirm is 'db1'")],
)
def test_it_is_refused_before_anything_is_changed(
    lab: Lab, shop: Workload, host: str, confirm: str, words: str
) -> None:
    done = on_the_suites_site("recover_server", expect=2, recover_host=host, confirm=confirm)
    assert words in done.words and "Nothing was changed" in done.words
    assert set(done.changed.values()) == {0}


def test_an_empty_host_becomes_a_clone_by_the_runbook(lab: Lab, shop: Workload, tmp_path: Path) -> None:
    lose(lab)
    said = follow(lab, RUNBOOK, tmp_path)
    assert "db2 replicates from db1 and is in sync: it can take over (from clone" in " ".join(said.split())
    all_is_there(lab, shop)


@pytest.mark.long
def test_an_empty_host_is_restored_from_offsite(lab: Lab, shop: Workload) -> None:
    lose(lab)
    done = on_the_suites_site("recover_server", recover_host="db2", confirm="db2", recover_from="offsite")
    assert "db2 replicates from db1 and is in sync: it can take over (from offsite" in done.words
    all_is_there(lab, shop)
    planned = lab.db2.run("mysql-restore", "plan", "--last").out
    assert "left out" not in planned  # no line was ended
