#!/usr/bin/env python3
"""Delete offsite what the retention policy no longer keeps; --dry-run names every object and why it stays or goes.

Works on failover_manager_host alone, which holds the key that deletes.
Exit status: 0 done, 2 usage, 3 configuration, 4 refused: something is not as it must be, 5 storage,
6 a backup, restore, drill or another cleanup is at work, 75 another host cleans up. A dry run ends as the run would.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from holdfast.backup.cleanup import run_cleanup
from holdfast.config import DEFAULT_PATH, load
from holdfast.entry_point import run_program


def main(arguments: argparse.Namespace) -> int:
    """Load the configuration and run the job."""
    return run_cleanup(
        load(arguments.config),
        dry_run=_tell if arguments.dry_run else None,
        allow_more=arguments.allow_more,
        retry_due=arguments.retry_due,
    )


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="default: %(default)s")
    made.add_argument("--dry-run", action="store_true", help="delete nothing; print each object with the reason")
    made.add_argument(
        "--allow-more", action="store_true", help="beyond the limits of one run, after a look at --dry-run"
    )
    made.add_argument("--retry-due", action="store_true", help="do nothing if the cleanup that was due last is done")
    return made


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    sys.exit(run_program("mysql-backup-cleanup", main, parser()))
