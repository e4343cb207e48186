#!/usr/bin/env python3
"""Take a backup of type incremental of this host's MySQL, if it is this host's turn.

Exit status: 0 done, 2 usage, 3 configuration, 4 a tool failed, 5 storage, 6 another run is at work, 75 not this
host's turn.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from holdfast.backup.jobs import run_backup
from holdfast.config import DEFAULT_PATH, load
from holdfast.entry_point import run_program


def main(arguments: argparse.Namespace) -> int:
    """Load the configuration and run the job."""
    return run_backup(load(arguments.config), "incremental", retry_due=arguments.retry_due)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="default: %(default)s")
    made.add_argument(
        "--retry-due",
        action="store_true",
        help="do nothing if the backup that the schedule asked for last is there; else take that one, full or not",
    )
    return made


if __name__ == "__main__":
    sys.exit(run_program("mysql-backup-incremental", main, parser()))
