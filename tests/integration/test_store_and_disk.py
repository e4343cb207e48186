"""The store stops half way, the spool's disk is full: the right exit status, nothing counted, the next run heals."""

from __future__ import annotations

from support import faults
from support.hosts import Host, Lab, wait_until
from support.site import Site


def test_the_store_stops_half_way(lab: Lab, site: Site, replica: Host) -> None:
    config = site.configure(
        replica, {"backup": {"rate_limit_bytes_per_second": 400_000, "segment_bytes": 200_000}}, "-slow"
    )
    job = replica.start(*site.command("mysql-backup-full", config=config))
    wait_until(lambda: bool(site.objects("^backups/")) or job.poll() is not None, "a first segment")
    with faults.store_stopped(lab):
        output = b"".join(job.communicate(timeout=120)).decode()
    assert job.returncode == 5, output
    assert site.remote.rpartition(":")[2] in output, "the message does not name the object"
    assert not site.objects(r"manifest\.json$")
    site.run(replica, "mysql-backup-full")
    assert len(site.manifests()) == 1


def test_a_passing_outage_does_not_start_the_engine_over(lab: Lab, site: Site, replica: Host) -> None:
    config = site.configure(
        replica,
        {
            "backup": {"rate_limit_bytes_per_second": 400_000, "segment_bytes": 200_000},
            "store": {"attempts": 8, "retry_wait_seconds": 1},
        },
        "-patient",
    )
    before, manifests = len(site.objects("^backups/")), len(site.manifests())
    job = replica.start(*site.command("mysql-backup-full", config=config))
    wait_until(lambda: len(site.objects("^backups/")) > before or job.poll() is not None, "a first segment")
    streams = faults.pids(replica, "mysql_clone_stream.py")
    with faults.store_stopped(lab):
        journal = ("journalctl", "-t", "mysql-backup-full", "-n", "9", "-o", "cat", "--no-pager")
        wait_until(lambda: "attempt 1 of 8" in replica.run(*journal).out, "the outage is noticed")
    assert streams, "the run was over too soon for this test"
    output = b"".join(job.communicate(timeout=120)).decode()
    assert job.returncode == 0, output
    assert "attempt 1 of 8" in output
    assert len(site.manifests()) == manifests + 1


def test_a_full_spool(site: Site, replica: Host) -> None:
    spool = site.document(replica)["backup"]["spool_directory"]
    before = len(site.manifests())
    with faults.small_disk(replica, spool, 1 << 20):
        done = site.run(replica, "mysql-backup-full", expect=4)
    assert spool in done.text, "the message does not name the spool"
    assert len(site.manifests()) == before
    assert not faults.pids(replica, "mysql_clone_stream.py|^lz4 ")
    site.run(replica, "mysql-backup-full")
