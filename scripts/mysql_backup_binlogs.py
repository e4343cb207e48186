#!/usr/bin/env python3
"""Archive this server's closed binary logs, each once; from every server, whatever its role.

Exit status: 0 done, 2 usage, 3 configuration, 4 a tool failed, 5 storage, 6 another run is at work.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from holdfast.backup.binlog_job import run_binlogs
from holdfast.config import DEFAULT_PATH, load
from holdfast.entry_point import run_program


def main(arguments: argparse.Namespace) -> int:
    """Load the configuration and run the job."""
    return run_binlogs(load(arguments.config))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="default: %(default)s")
    return made


if __name__ == "__main__":
    sys.exit(run_program("mysql-backup-binlogs", main, parser()))
