#!/usr/bin/env python3
"""Show whether the backups are well: last successes, restorable moments and holes, chains and their sizes.

Exit status: 0 whatever it shows (--check: 4 if something is not well), 3 configuration, 5 the store cannot be read.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from holdfast.backup import status
from holdfast.backup.archive import look
from holdfast.backup.store import Store
from holdfast.clock import utc_now
from holdfast.config import DEFAULT_PATH, load
from holdfast.entry_point import run_program
from holdfast.errors import ExitCode


def main(arguments: argparse.Namespace) -> int:
    """Read the store and print."""
    config = load(arguments.config)
    seen = status.look(config.cluster, utc_now(), look(Store(config.store, config.cluster), config.state_directory))
    if arguments.json:
        sys.stdout.write(json.dumps(status.document(seen), indent=1) + "\n")
    else:
        sys.stdout.write(status.text(seen))
    return ExitCode.TOOL if arguments.check and status.problems(seen) else ExitCode.DONE


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="default: %(default)s")
    made.add_argument("--json", action="store_true", help="the same for programs")
    made.add_argument("--check", action="store_true", help="exit 4 if something is not well")
    return made


if __name__ == "__main__":
    sys.exit(run_program("mysql-backup-status", main, parser()))
