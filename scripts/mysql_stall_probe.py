#!/usr/bin/env python3
"""Measure how long no server took writes, by the health answers of both, 20 times a second.

Runs until --until FILE exists, at most --seconds, and prints JSON. A playbook starts it before a switchover. What a
client feels is this and the time until its proxy has seen the new primary.

Exit status: 0 done, 2 usage, 3 configuration, 4 no server was a primary at any time.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from holdfast.config import DEFAULT_PATH, load
from holdfast.entry_point import run_program
from holdfast.errors import ExitCode
from holdfast.failover import stall


def main(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    hosts = load(arguments.config).failover.database_hosts
    end = time.monotonic() + arguments.seconds
    servers = [(host.name, host.address, host.health_port) for host in hosts]
    samples = stall.watch(servers, lambda: time.monotonic() < end and not arguments.until.exists())
    found = stall.stall_of(samples)
    sys.stdout.write(stall.document(found) + "\n")
    return ExitCode.DONE if found.first else ExitCode.TOOL


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="default: %(default)s")
    made.add_argument("--until", type=Path, required=True, metavar="FILE", help="stop when this file is there")
    made.add_argument("--seconds", type=float, default=300.0, help="stop after that in any case (%(default)s)")
    return made


if __name__ == "__main__":
    sys.exit(run_program("mysql-stall-probe", main, parser()))
