#!/usr/bin/env python3
"""What Holdfast's checks cost: mysql-backup-full against the same tools in a plain shell pipeline, on gigabytes.

Both do CLONE LOCAL, tar, lz4 and rclone to the same remote on the replica. Holdfast also cuts the stream into segments,
hashes them and every block, checks what arrived and writes manifest and fingerprint. Runs alternate, so that what else
the machine does falls on both. Prints each run, the medians and their ratio. Environment: RUNS (pairs, default 5),
GIGABYTES (default 3), KEEP=1 leaves the lab up; a provisioned lab is used as it stands.

The lab's store reads every object again for its ETag whenever it is listed or asked for: seconds for each look, which
no real store takes. While this runs it keeps no ETags, for both alike.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support import console, guarded, hosts  # noqa: E402
from support.provision import Provisioner  # noqa: E402
from support.site import Site  # noqa: E402

RUNS = int(os.environ.get("RUNS") or 5)
GIGABYTES = float(os.environ.get("GIGABYTES") or 3)
WITHOUT_ETAGS = "/etc/systemd/system/lab-store.service.d/benchmark.conf"
ROW_BYTES, CHUNK_ROWS = 1024, 50_000
# Half of each row is noise, half repeats: about what lz4 makes of real tables.
CHUNK = (
    "INSERT INTO benchmark.load_table (noise, words) WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i+1 FROM n"
    f" WHERE i < {CHUNK_ROWS}) SELECT RANDOM_BYTES({ROW_BYTES // 2}), REPEAT('customer ', {ROW_BYTES // 2 // 9}) FROM n"
)
PIPELINE = """
set -euo pipefail
copy={staging}/plain
rm -rf "$copy"
mysql --no-defaults --user=root -e "CLONE LOCAL DATA DIRECTORY='$copy'"
tar -C "$copy" -c . | lz4 -q -{level} -c | rclone --config {rclone_config} rcat {remote}/plain.tar.lz4
rm -rf "$copy"
"""


def load(replica: hosts.Host) -> int:
    """Fill a table on the replica alone, out of the binlog; return the data directory's bytes of it."""
    unlogged = "SET SESSION sql_log_bin=0; SET SESSION cte_max_recursion_depth=1000000;"
    with_writes = "SET GLOBAL super_read_only=OFF;"
    chunks = round(GIGABYTES * 2**30 / ROW_BYTES / CHUNK_ROWS + 0.5)
    try:
        replica.sql(
            f"{with_writes} {unlogged} DROP DATABASE IF EXISTS benchmark; CREATE DATABASE benchmark;"
            "CREATE TABLE benchmark.load_table"
            " (id BIGINT AUTO_INCREMENT PRIMARY KEY, noise VARBINARY(1024) NOT NULL, words VARCHAR(1024) NOT NULL)"
        )
        for _ in range(chunks):
            replica.sql(f"{unlogged} {CHUNK}")
    finally:
        replica.sql("SET GLOBAL super_read_only=ON")
    return int(replica.run("du", "-sb", "/var/lib/mysql/benchmark").out.split()[0])


def unload(replica: hosts.Host) -> None:
    """Drop what `load` made."""
    replica.sql(
        "SET GLOBAL super_read_only=OFF; SET SESSION sql_log_bin=0; DROP DATABASE IF EXISTS benchmark;"
        "SET GLOBAL super_read_only=ON"
    )


@contextlib.contextmanager
def without_etags(store: hosts.Host) -> Iterator[None]:
    """Let the lab's store keep no ETags while the block runs."""
    start = store.run("systemctl", "cat", "lab-store.service").out
    command = next(line for line in start.splitlines() if line.startswith("ExecStart="))
    changed = command.replace(" serve s3 ", ' serve s3 --etag-hash "" ')
    restart = "systemctl daemon-reload && systemctl restart lab-store.service"
    store.run("mkdir", "-p", str(Path(WITHOUT_ETAGS).parent))
    store.write(WITHOUT_ETAGS, f"[Service]\nExecStart=\n{changed}\n", "0644")
    store.shell(restart)
    try:
        yield
    finally:
        store.shell(f"rm -f {WITHOUT_ETAGS} && {restart}")


def timed_plain(site: Site, replica: hosts.Host) -> float:
    """Run the plain pipeline once; return its seconds."""
    document = site.document(replica)
    script = PIPELINE.format(
        staging=document["backup"]["staging_directory"], level=document["backup"]["lz4_level"],
        rclone_config=document["store"]["rclone_config_file"], remote=site.remote,
    )  # fmt: skip
    began = time.monotonic()
    replica.shell(script, timeout_seconds=1800)
    return time.monotonic() - began


def timed_holdfast(site: Site, replica: hosts.Host) -> float:
    """Run mysql-backup-full once; return its seconds."""
    began = time.monotonic()
    replica.run(*site.command("mysql-backup-full"), timeout_seconds=1800)
    return time.monotonic() - began


def measure(steps: console.Steps, site: Site, replica: hosts.Host) -> tuple[list[float], list[float]]:
    """Run both in turn; return their seconds. The first pair warms the caches and does not count."""
    plain: list[float] = []
    holdfast: list[float] = []
    for number in range(RUNS + 1):
        label = f"pair {number} of {RUNS}" if number else "a pair to warm up, not counted"
        with steps.step(label) as step:
            pair = (timed_plain(site, replica), timed_holdfast(site, replica))
            step.note = f"plain {pair[0]:.1f} s, mysql-backup-full {pair[1]:.1f} s"
        site.rclone(replica, "purge", site.remote)  # the same empty folder for every pair
        if number:
            plain.append(pair[0])
            holdfast.append(pair[1])
    return plain, holdfast


def main() -> int:
    """Measure and print; the exit status tells only whether everything ran."""
    hosts.ensure_inside_lab()
    steps, lab, provisioner = console.Steps(), hosts.lab(), Provisioner("benchmark")
    ready = lab.db2.run("test", "-e", "/etc/holdfast/config.yml", check=False).status == 0
    try:
        if not ready:
            provisioner.provision(steps, fresh=True)
        replica = lab.replica()
        # production's segments: the lab's own are small so that its little data makes several
        site = Site(lab, "benchmark", {"backup": {"segment_bytes": 64 << 20}})
        site.install()
        with steps.step(f"generate {GIGABYTES:g} GB on {replica.name}") as step:
            with guarded.by_hand(lab):
                data = load(replica)
            step.note = console.human_bytes(data)
        try:
            with without_etags(lab.store):
                plain, holdfast = measure(steps, site, replica)
        finally:
            with guarded.by_hand(lab):
                unload(replica)
            site.remove()
    except (hosts.CommandError, subprocess.TimeoutExpired) as error:
        print(f"\n{error}", file=sys.stderr)
        provisioner.collect()
        return 1
    finally:
        if not ready and os.environ.get("KEEP") != "1":
            provisioner.remove()
    rows = [
        (name, f"{statistics.median(runs):.1f}", f"{min(runs):.1f}", f"{max(runs):.1f}")
        for name, runs in (("plain shell pipeline", plain), ("mysql-backup-full", holdfast))
    ]
    print("\n" + console.table((f"{console.human_bytes(data)}, {RUNS} runs each", "median s", "min", "max"), rows))
    print(
        f"\nratio of the medians: {statistics.median(holdfast) / statistics.median(plain):.3f} (target: at most 1.10)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
