"""Both servers and the app host are lost. The repository, the vault and the store bring the site back, to the row."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from support import guarded, hosts
from support.failover_faults import held_down
from support.failover_pair import Pair
from support.hosts import Lab
from support.ledger import Ledger, compare
from support.playbooks import on_the_suites_site
from support.provision import CACHE
from support.runbooks import follow
from support.workload import Workload

ROWS_PER_PHASE = 300
TABLES = ("orders", "payments")
LIMIT_SECONDS = 20 * 60
RUNBOOK = "datacenter_lost.md"
LINES = """
import sys
sys.path.insert(0, "/usr/local/lib/holdfast")
from pathlib import Path
from holdfast.backup.store import Store
from holdfast.config import load
from holdfast.recovery.lines import load_lines
config = load(Path("/etc/holdfast/config.yml"))
print([line.kind for line in load_lines(Store(config.store, config.cluster))][-1])
"""


@dataclass(frozen=True)
class Recovered:
    """What was acknowledged before everything was lost, what the runbook printed, and how long it took."""

    ledger: Ledger
    said: str
    seconds: float


@pytest.fixture(scope="module")
def shop(lab: Lab) -> Workload:
    """A shop with a full backup, an incremental one, and rows that only the binlogs have."""
    made = Workload(lab, "rebuild", TABLES, rate=100)
    made.prepare()
    for program in ("mysql-backup-full", "mysql-backup-incremental", "mysql-backup-binlogs"):
        made.write_for(ROWS_PER_PHASE)
        lab.wait_for_replica()
        lab.replica().run(program, timeout_seconds=600)
    return made


def lose_everything(lab: Lab) -> None:
    """Wipe every host but the store, and the pair's certificate authority, which is in neither repository nor vault."""
    names = [host.name for host in (*lab.servers, lab.app1)]
    shutil.rmtree(CACHE / f"secrets-{hosts.lab_number()}" / "tls")
    for verb in ("down", "up"):
        argv = [sys.executable, str(hosts.LAB_PROGRAM), verb, *names]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def test_a_site_that_is_not_lost_is_refused_before_anything_is_changed(lab: Lab) -> None:
    done = on_the_suites_site("recover_datacenter", expect=2, recover_host="db1", confirm="db1")
    assert "db1 runs MySQL with data" in done.words and "Nothing was changed" in done.words
    assert set(done.changed.values()) == {0}


@pytest.fixture(scope="module")
def recovered(lab: Lab, shop: Workload, tmp_path_factory: pytest.TempPathFactory) -> Recovered:
    """Everything is lost; then somebody follows the runbook."""
    ledger, folder = shop.ledger(), Path(tmp_path_factory.mktemp("runbook"))
    lose_everything(lab)
    began = time.monotonic()
    said = follow(lab, RUNBOOK, folder)
    return Recovered(ledger, said, time.monotonic() - began)


def test_the_rebuild_clock(recovered: Recovered) -> None:
    print(f"\nrebuild clock: {recovered.seconds:.0f} s from empty hosts to a pair that serves, backs up and fails over")
    report = recovered.said.partition("db1 is the primary, db2 replicates from it.")[2]
    print(report.partition("PLAY RECAP")[0])
    assert report
    assert recovered.seconds < LIMIT_SECONDS


@pytest.mark.parametrize("table", TABLES)
def test_every_acknowledged_row_that_was_archived_is_on_both_servers(
    lab: Lab, shop: Workload, recovered: Recovered, table: str
) -> None:
    lab.wait_for_replica()
    for host in lab.servers:
        result = compare(recovered.ledger, table, shop.rows_on(host, table))
        assert result.exact and result.expected > ROWS_PER_PHASE, str(result)


def test_the_plan_was_shown_and_the_line_of_before_is_ended_in_the_store(lab: Lab, recovered: Recovered) -> None:
    assert "target      the last archived transaction" in recovered.said
    assert lab.db1.run("python3", "-c", LINES).out.strip() == "restore"


def test_the_record_begins_beyond_every_term_of_before(lab: Lab, recovered: Recovered) -> None:
    told = json.loads(lab.app1.run("mysql-keeper", "show", "--json").out)
    assert told["record"]["term"] > 1000 and told["record"]["opened"]
    assert told["hosts"][told["record"]["primary"]] == "db1"


def test_nothing_of_the_restore_is_left(lab: Lab, recovered: Recovered) -> None:
    left = lab.db1.shell("ls -A /var/lib/mysql /var/lib/holdfast /var/lib/holdfast/restore").out
    assert "holdfast-" not in left and "recovered.json" not in left


def test_jobs_are_on_cron_and_a_new_chain_has_begun(lab: Lab, recovered: Recovered) -> None:
    for host in lab.servers:
        assert host.exists("/etc/cron.d/holdfast-backup")
    assert lab.app1.exists("/etc/cron.d/holdfast-cleanup")
    planned = json.loads(lab.db1.run("mysql-restore", "plan", "--backup", "newest", "--json").out)
    assert planned["chain"] == [planned["backup"]] and planned["backup"].endswith("-full-db2")


def test_the_application_writes_on_and_a_dead_primary_is_replaced(lab: Lab, recovered: Recovered) -> None:
    pair = Pair(lab)
    pair.settle()
    after, term = Workload(lab, "afterwards", ("orders",), rate=50, through_proxy=True), pair.term()
    after.prepare()
    after.start()
    with held_down(pair.roles().primary):
        guarded.kill_mysqld(pair.roles().primary)
        assert pair.wait_for_promotion(term, limit_seconds=60).name == "db2"
        reached = after.acknowledged()
        after.wait_for(reached + 20)
    after.stop()
    pair.settle()
    lab.wait_for_replica()
    for host in lab.servers:
        assert after.compare(host, "orders").exact


def test_what_was_written_since_can_be_restored_too(lab: Lab, recovered: Recovered) -> None:
    for host in lab.servers:
        host.run("mysql-backup-binlogs", timeout_seconds=300)
    lab.db1.run("mysql-restore", "plan", "--last")


def test_site_yml_finds_nothing_to_change(recovered: Recovered) -> None:
    assert set(on_the_suites_site("site").changed.values()) == {0}
