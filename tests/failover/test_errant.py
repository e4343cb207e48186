"""An old primary returns with transactions that nobody was told of: it stays out, they are saved and reported."""

from __future__ import annotations

import time

from support import guarded
from support.failover_faults import held_down
from support.failover_load import Load
from support.failover_pair import Pair
from support.hosts import wait_until
from support.site import CONFIGURATION

SALVAGED = (
    "import yaml, subprocess; s = yaml.safe_load(open('{path}')); store = s['store'];"
    "print(subprocess.run(['rclone', '--config', store['rclone_config_file'], 'lsf', '-R', '--files-only',"
    " store['remote'].rstrip('/') + ('' if store['remote'].endswith(':') else '/') + s['cluster'] + '/salvage'],"
    " capture_output=True, text=True).stdout)"
)


def test_errant_transactions_are_kept_out_saved_and_reported(pair: Pair, load: Load) -> None:
    roles, term = pair.roles(), pair.term()
    old, new = roles.primary, roles.replica
    with held_down(old):
        guarded.kill_mysqld(old)
        pair.wait_for_promotion(term, pair.detection_seconds + 40)
    wait_until(lambda: guarded.switches(old)[0] == 1, "it is back, read-only", limit_seconds=30)
    # what a kill in mid-commit leaves by chance, on purpose
    row, guard_back = time.time_ns(), ("systemctl", "start", "mysql-guard")
    old.run("systemctl", "stop", "mysql-guard")
    try:
        old.sql(
            "STOP REPLICA; SET GLOBAL rpl_semi_sync_source_enabled=OFF; SET GLOBAL super_read_only=OFF;"
            f"INSERT INTO probe.rows_ VALUES ({row}); SET GLOBAL super_read_only=ON; RESET REPLICA ALL"
        )
    finally:
        old.run(*guard_back)
    wait_until(lambda: "transactions" in pair.told(old), "people are told", limit_seconds=60)
    wait_until(lambda: "are saved as salvage/" in pair.told(old), "they are saved", limit_seconds=60)
    assert "probe.rows_ " in pair.told(old), "rows by table"
    assert guarded.report(old)["source_host"] == "", "it must not replicate"
    files = new.run("python3", "-c", SALVAGED.format(path=CONFIGURATION)).out.split()
    assert [name for name in files if name.endswith(".sql")], files
    assert [name for name in files if not name.endswith(".sql")], files
    pair.settle()
    assert pair.rebuilt[-1] == old.name
    assert old.sql(f"SELECT 1 FROM probe.rows_ WHERE id={row}") == []
