#!/usr/bin/env python3
"""Delete offsite what the retention policy no longer keeps; --dry-run names every object and why it stays or goes.

Works on failover_manager_host alone, which holds the key that deletes.
Exit status: 0 done, 2 usage, 3 configuration, 4 refused: something is not as it must be, 5 storage, 6 a backup, restore or
drill is at work, or another cleanup, 75 another host cleans up.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from holdfast.config import DEFAULT_PATH, load
from holdfast.entry_point import run_program
from holdfast.errors import NotThisHostError


def main(arguments: argparse.Namespace) -> int:
    """Load the configuration and run the job."""
    config = load(arguments.config)
    if config.retention_or_none is None:
        raise NotThisHostError("another host cleans up: this one has no section `retention` and no key that deletes")
    raise NotImplementedError


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="default: %(default)s")
    return made


if __name__ == "__main__":
    sys.exit(run_program("mysql-backup-cleanup", main, parser()))
