"""Cron fires on both servers: one works, the other goes quietly; and no two runs at once."""

from __future__ import annotations

import pytest

from support import faults
from support.hosts import Host, Lab
from support.site import Site


@pytest.mark.parametrize("program", ["mysql-backup-full", "mysql-backup-incremental"])
def test_the_primary_leaves_it_to_the_replica_quietly(site: Site, primary: Host, program: str) -> None:
    done = site.run(primary, program, expect=75)
    assert done.out == "", "cron would mail this every night"
    assert not site.objects("^backups/"), "the primary stored something"


def test_binlogs_are_copied_from_both_servers(site: Site, lab: Lab) -> None:
    for host in lab.servers:
        site.run(host, "mysql-backup-binlogs")
    entries = [site.json(name) for name in site.objects(r"^binlogs/.*\d\.json$")]
    assert {entry["host"] for entry in entries} == {"db1", "db2"}
    uuids = {host.value("select @@server_uuid") for host in lab.servers}
    assert {entry["server_uuid"] for entry in entries} == uuids


def test_a_second_run_is_refused_and_the_first_is_not_disturbed(site: Site, replica: Host) -> None:
    slow = site.configure(replica, {"backup": {"rate_limit_bytes_per_second": 2_000_000}}, "-slow")
    first = replica.start(*site.command("mysql-backup-full", config=slow))
    try:
        faults.wait_for_process(replica, "mysql_clone_stream.py")
        second = site.run(replica, "mysql-backup-full", expect=6)
        assert "mysql-backup-full" in second.text
        assert first.poll() is None, "the first run was disturbed"
    finally:
        out, err = first.communicate(timeout=180)
    assert first.returncode == 0, (out + err).decode()
    assert len(site.manifests()) == 1
