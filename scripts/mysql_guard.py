#!/usr/bin/env python3
"""Watch over this host's MySQL: it acknowledges, opens, closes and replicates only as the keeper's record allows.

Runs for ever (mysql-guard.service). Exit status: 3 configuration, 4 the port is taken, 6 another guard runs.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from holdfast import lock
from holdfast.config import DEFAULT_PATH, load
from holdfast.entry_point import run_program
from holdfast.failover import guard_api, https
from holdfast.failover.alarms import Alarms
from holdfast.failover.guard import Guard, own_host
from holdfast.failover.guard_alarms import GuardAlarms
from holdfast.systemd import tell_systemd


def main(arguments: argparse.Namespace) -> int:
    """Serve and watch; returns only by an exception."""
    config = load(arguments.config)
    failover = config.failover
    with lock.hold("guard", config.state_directory):
        guard = Guard(config, GuardAlarms(Alarms(config, "guard")))
        host = own_host(config)
        handler = guard_api.handler(guard, failover, config.host)
        with https.serve(host.address, host.guard_port, failover.tls, handler, guard_api.allowed_names(failover)):
            tell_systemd("READY=1")
            guard.run(lambda: _alive(guard))
    return 0


def _alive(guard: Guard) -> None:
    tell_systemd("WATCHDOG=1")
    folder = os.environ.get("RUNTIME_DIRECTORY")
    guard_api.publish(guard, Path(folder) / "guard-report.json" if folder else None)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="default: %(default)s")
    return made


if __name__ == "__main__":
    sys.exit(run_program("mysql-guard", main, parser()))
