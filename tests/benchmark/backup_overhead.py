#!/usr/bin/env python3
"""What Holdfast's checks cost: mysql-backup-full against the same tools in a plain shell pipeline, on gigabytes.

Both do CLONE LOCAL, tar, lz4 and rclone to the same remote on the replica. Holdfast also cuts the stream into segments,
hashes them and every block, checks what arrived and writes manifest and fingerprint. Runs alternate, so that what else
the machine does falls on both. Prints each run, the medians and their ratio, and that of the CPU seconds, in which what
mysqld and the store used is counted: a busy machine changes those less. Environment: RUNS (pairs, default 5), GIGABYTES
(default 3), KEEP=1 leaves the lab up; a provisioned lab is used as it stands.

The lab's store reads every object again for its ETag whenever it is listed or asked for: seconds for each look, which
no real store takes. While this runs it keeps no ETags, for both alike.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support import console, guarded, hosts  # noqa: E402
from support.provision import Provisioner  # noqa: E402
from support.site import Site  # noqa: E402

RUNS = int(os.environ.get("RUNS") or 5)
GIGABYTES = float(os.environ.get("GIGABYTES") or 3)
WITHOUT_ETAGS = "/etc/systemd/system/lab-store.service.d/benchmark.conf"
PLAIN, HOLDFAST = "plain shell pipeline", "mysql-backup-full"
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


@dataclass(frozen=True)
class Cost:
    """What one run took: by the clock, and of the processors, those of mysqld and of the store with it."""

    seconds: float
    cpu_seconds: float


def cpu_seconds_of(host: hosts.Host, unit: str) -> float:
    """Return what the main process of a running unit has used so far."""
    fields = "$(( $(cut -d' ' -f14,15 --output-delimiter=+ /proc/$main/stat) )) $(getconf CLK_TCK)"
    ticks, per_second = host.shell(f"main=$(systemctl show -P MainPID {unit}); echo {fields}").out.split()
    return int(ticks) / int(per_second)


def cost_of(site: Site, replica: hosts.Host, script: str) -> Cost:
    """Run a script on the replica."""
    services = ((replica, "mysql.service"), (site.lab.store, "lab-store.service"))
    before, began = sum(cpu_seconds_of(*service) for service in services), time.monotonic()
    done = replica.shell(f"TIMEFORMAT='cpu %U %S'; time (\n{script}\n)", timeout_seconds=1800)
    seconds = time.monotonic() - began
    own = sum(float(word) for word in done.err.rpartition("cpu ")[2].split())
    return Cost(seconds, own + sum(cpu_seconds_of(*service) for service in services) - before)


def plain(site: Site, replica: hosts.Host) -> str:
    """Return the plain pipeline as a script."""
    document = site.document(replica)
    return PIPELINE.format(
        staging=document["backup"]["staging_directory"], level=document["backup"]["lz4_level"],
        rclone_config=document["store"]["rclone_config_file"], remote=site.remote,
    )  # fmt: skip


def measure(steps: console.Steps, site: Site, replica: hosts.Host) -> dict[str, list[Cost]]:
    """Run both in turn; return their costs. The first pair warms the caches and does not count."""
    scripts = {PLAIN: plain(site, replica), HOLDFAST: shlex.join(site.command("mysql-backup-full"))}
    costs: dict[str, list[Cost]] = {name: [] for name in scripts}
    for number in range(RUNS + 1):
        label = f"pair {number} of {RUNS}" if number else "a pair to warm up, not counted"
        with steps.step(label) as step:
            # Each is first in every other pair: what the first one left is still being written while the second runs.
            order = list(scripts)[:: -1 if number % 2 else 1]
            pair = {name: cost_of(site, replica, scripts[name]) for name in order}
            step.note = ", ".join(f"{name} {cost.seconds:.1f} s" for name, cost in pair.items())
        site.rclone(replica, "purge", site.remote)  # the same empty folder for every pair
        if number:
            for name, cost in pair.items():
                costs[name].append(cost)
    return costs


def show(title: str, costs: dict[str, list[Cost]]) -> None:
    """Print a table and the two ratios."""
    columns = (title, "median s", "min", "max", "CPU s")
    medians, rows = {}, []
    for name, runs in costs.items():
        seconds = [cost.seconds for cost in runs]
        cpu = statistics.median(cost.cpu_seconds for cost in runs)
        medians[name] = (statistics.median(seconds), cpu)
        rows.append((name, f"{medians[name][0]:.1f}", f"{min(seconds):.1f}", f"{max(seconds):.1f}", f"{cpu:.1f}"))
    time_ratio, cpu_ratio = (ours / theirs for ours, theirs in zip(medians[HOLDFAST], medians[PLAIN], strict=True))
    print("\n" + console.table(columns, rows))
    print(f"\nratio of the medians: {time_ratio:.3f} (target: at most 1.10); of the CPU seconds: {cpu_ratio:.3f}")


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
                costs = measure(steps, site, replica)
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
    show(f"{console.human_bytes(data)}, {RUNS} runs each", costs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
