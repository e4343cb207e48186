#!/usr/bin/env python3
"""Send what Replication Manager told its scripts, and what the watch over it found.

mysql-repman-tell, Replication Manager's alert script, leaves what it is told in a folder; a unit runs this when
something lies there. What cannot be sent stays, and is tried again.

Exit status: 0 done, 2 usage, 3 configuration, 4 a message could not be sent.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from holdfast.entry_point import run_program
from holdfast.errors import ExitCode
from holdfast.failover.repman_credentials import load_for_unit
from holdfast.failover.repman_spool import SPOOL, send_all

log = logging.getLogger(__name__)


def main(arguments: argparse.Namespace) -> int:
    """Send those that were left."""
    failures = send_all(load_for_unit(), arguments.spool)
    for failure in failures:
        log.warning("not sent, tried again later: %s", failure)
    return ExitCode.TOOL if failures else ExitCode.DONE


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--spool", type=Path, default=SPOOL, metavar="FOLDER", help="default: %(default)s")
    return made


if __name__ == "__main__":
    sys.exit(run_program("mysql-repman-alert", main, parser()))
