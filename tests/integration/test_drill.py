"""A restore drill on the replica: passes, leaves its numbers in the store, and finds what is not what was backed up."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.hosts import Host, Lab
from support.runbooks import follow
from support.site import Site
from support.workload import Workload

pytestmark = pytest.mark.open(reason="not run in the lab yet")
DRILLS = r"^state/drills/.*\.json$"
# the manifest as it would be if one row had been another when the backup was taken
ALTER = """
import dataclasses, sys
sys.path.insert(0, "/usr/local/lib/holdfast")
from holdfast.backup.manifest import Manifest
manifest = Manifest.from_json(sys.stdin.buffer.read(), "manifest")
name, table = next(item for item in manifest.fingerprint.tables.items() if item[0].endswith(".payments"))
tables = {**manifest.fingerprint.tables, name: dataclasses.replace(table, checksum=table.checksum + 1)}
prints = dataclasses.replace(manifest.fingerprint, tables=tables)
sys.stdout.buffer.write(dataclasses.replace(manifest, fingerprint=prints).to_json())
"""


@pytest.fixture(scope="module")
def backed_up(site: Site, shop: Workload) -> Site:
    """A site with a full, an incremental, and rows that only the binlogs have."""
    primary, replica = site.lab.primary(), site.lab.replica()
    shop.write_for(200)
    site.run(replica, "mysql-backup-full")
    shop.write_for(200)
    site.run(replica, "mysql-backup-incremental")
    shop.write_for(100)
    for host in (primary, replica):
        site.run(host, "mysql-backup-binlogs")
    return site


def test_the_primary_leaves_it_to_the_replica(backed_up: Site, primary: Host) -> None:
    backed_up.run(primary, "mysql-restore", "drill", expect=75)
    assert backed_up.objects(DRILLS) == []


def test_a_drill_passes_and_leaves_its_numbers(backed_up: Site, replica: Host) -> None:
    said = backed_up.run(replica, "mysql-restore", "drill").out
    newest = backed_up.manifests()[-1]
    assert said.startswith(f"{newest['id']} restores: ") and "all of them checked" in said
    (name,) = backed_up.objects(DRILLS)
    drill = backed_up.json(name)
    assert (drill["passed"], drill["backup_id"], drill["host"]) == (True, newest["id"], replica.name)
    assert drill["measured"]["transactions"] > 0 and drill["measured"]["restore_seconds"] > 0
    assert 0 < drill["measured"]["rpo_seconds"] < 600
    assert "OK restore drill" in backed_up.messages(replica)
    assert not replica.exists(f"{backed_up.folder}/restore/drill")
    assert "the drill of" in backed_up.run(replica, "mysql-restore", "plan", "--last").out


def test_a_backup_that_is_not_what_was_backed_up_fails_it(backed_up: Site, replica: Host) -> None:
    name = f"{backed_up.remote}/backups/{backed_up.manifests()[-1]['id']}/manifest.json"
    before = backed_up.rclone(replica, "cat", name).out
    altered = replica.run("python3", "-c", ALTER, stdin=before).out
    assert altered != before
    backed_up.rclone(replica, "rcat", name, stdin=altered.encode())
    said = backed_up.run(replica, "mysql-restore", "drill", expect=4).text
    assert "1 tables differ" in said and ".payments has" in said
    drill = backed_up.json(backed_up.objects(DRILLS)[-1])
    assert drill["passed"] is False and ".payments has" in drill["note"]
    assert "FAILED restore drill" in backed_up.messages(replica)
    assert not replica.exists(f"{backed_up.folder}/restore/drill")


def test_the_page_of_an_overdue_drill(lab: Lab, tmp_path: Path) -> None:
    """On the site that site.yml made, with its own store."""
    lab.replica().run("mysql-backup-full")
    follow(lab, "drill_overdue.md", tmp_path)
