"""The memory of our Python processes stays small whatever the size: the tools hold no backup in memory."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from support import guarded
from support.hosts import Host
from support.site import Site

DATABASE = "t_memory"
MEGABYTES = 300
LIMIT_KIB = 150 * 1024
# The peak (VmHWM) of every Python process of ours, read until the job is gone.
WATCH = r"""
"$@" & job=$!
declare -A peak
while kill -0 "$job" 2>/dev/null; do
    for pid in $(pgrep -f 'mysql-(backup|restore)|mysql_(backup|restore|clone)' || true); do
        words=$(tr '\0' ' ' < /proc/$pid/cmdline 2>/dev/null) || continue
        name=$(grep -oE 'mysql[-_](backup|restore|clone)[a-z_-]*' <<< "$words" | head -n 1) || continue
        grep -q python /proc/$pid/comm 2>/dev/null || grep -q python <<< "$(readlink /proc/$pid/exe)" || continue
        kib=$(awk '/^VmHWM/ {print $2}' /proc/$pid/status 2>/dev/null) || continue
        (( ${kib:-0} > ${peak[$name]:-0} )) && peak[$name]=$kib
    done
    sleep 0.1
done
wait "$job" && status=0 || status=$?
for name in "${!peak[@]}"; do echo "peak $name ${peak[$name]}"; done
exit "$status"
"""


@pytest.fixture(scope="module")
def data(site: Site) -> Iterator[Host]:
    """Some hundred MB on the replica alone, out of the binlog."""
    replica = site.lab.replica()
    rows = MEGABYTES * 1024 // 4
    with guarded.by_hand(site.lab):
        replica.sql(
            "SET GLOBAL super_read_only=OFF; SET SESSION sql_log_bin=0;"
            f"SET SESSION cte_max_recursion_depth={rows + 1};"
            f"DROP DATABASE IF EXISTS {DATABASE}; CREATE DATABASE {DATABASE};"
            f"CREATE TABLE {DATABASE}.noise (id BIGINT AUTO_INCREMENT PRIMARY KEY, bytes BLOB NOT NULL);"
            f"INSERT INTO {DATABASE}.noise (bytes) WITH RECURSIVE n AS"
            f" (SELECT 1 AS i UNION ALL SELECT i+1 FROM n WHERE i < {rows})"
            " SELECT CONCAT(RANDOM_BYTES(1000), REPEAT('x', 3000)) FROM n;"
            "SET GLOBAL super_read_only=ON"
        )
    yield replica
    with guarded.by_hand(site.lab):
        replica.sql(
            f"SET GLOBAL super_read_only=OFF; SET SESSION sql_log_bin=0; DROP DATABASE IF EXISTS {DATABASE};"
            "SET GLOBAL super_read_only=ON"
        )


@pytest.mark.parametrize("program", ["mysql-backup-full", "mysql-backup-incremental"])
def test_peak(site: Site, data: Host, program: str) -> None:
    done = data.run("bash", "-uc", WATCH, "watch", *site.command(program), check=False, timeout_seconds=300)
    assert done.status == 0, done.text
    peaks = {name: int(kib) for name, kib in re.findall(r"^peak (\S+) (\d+)$", done.out, re.MULTILINE)}
    assert any("backup" in name for name in peaks), f"nothing was measured: {done.text}"
    assert any("clone" in name for name in peaks), f"the stage was not measured: {peaks}"
    assert max(peaks.values()) < LIMIT_KIB, peaks
    newest = site.manifests()[-1]
    assert newest["data_bytes"] > MEGABYTES * 2**20 or newest["type"] == "incremental"
