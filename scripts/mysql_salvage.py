#!/usr/bin/env python3
"""Save transactions that only this server has: offsite, as binary log and as SQL, and counted by table.

The guard runs it for a server that may not rejoin; run it again as often as you like, each run has a folder of its own.
Exit status: 0 saved, 2 usage, 3 configuration, 4 not in the binary logs or a tool failed, 5 storage.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from holdfast.backup.store import Store
from holdfast.backup.take import connect_to_own
from holdfast.clock import utc_now
from holdfast.config import DEFAULT_PATH, load
from holdfast.entry_point import run_program
from holdfast.errors import UsageError
from holdfast.failover.guard_alarms import RUNBOOK
from holdfast.failover.salvage import save
from holdfast.gtid import GtidSet
from holdfast.notify import Job, Succeeded, reported


def main(arguments: argparse.Namespace) -> int:
    """Find, save, tell."""
    config = load(arguments.config)
    try:
        wanted = GtidSet.parse(arguments.gtids)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if not wanted:
        raise UsageError("no GTID is given", remedy="The guard's alarm `errant` names them.")
    began = time.monotonic()
    with reported(Job("salvage", config.cluster, config.host, RUNBOOK), config.notifications) as report:
        with connect_to_own(config) as connection:
            directory = Path(str(connection.value("SELECT @@log_bin_basename"))).parent
            names = [str(row["Log_name"]) for row in connection.rows("SHOW BINARY LOGS")]
        saved = save(Store(config.store, config.cluster), directory, names, wanted, config.host, utc_now())
        seconds = time.monotonic() - began
        report.message = Succeeded("salvage", config.cluster, config.host, seconds, saved.text())
    sys.stdout.write(saved.text() + "\n")
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="default: %(default)s")
    made.add_argument("gtids", help="as in the guard's alarm: uuid:numbers, ...")
    return made


if __name__ == "__main__":
    sys.exit(run_program("mysql-salvage", main, parser()))
