"""The command line that mysql-backup-full and mysql-backup-incremental share."""

from __future__ import annotations

import argparse
from pathlib import Path

from holdfast.backup.jobs import run_backup
from holdfast.backup.manifest import BackupType
from holdfast.config import DEFAULT_PATH, load
from holdfast.entry_point import run_program


def run(wanted: BackupType, description: str | None) -> int:
    """Run the program that takes backups of this type to its end; its exit status."""

    def main(arguments: argparse.Namespace) -> int:
        return run_backup(load(arguments.config), wanted, retry_due=arguments.retry_due)

    return run_program(f"mysql-backup-{wanted}", main, parser(description))


def parser(description: str | None) -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="default: %(default)s")
    made.add_argument(
        "--retry-due",
        action="store_true",
        help="do nothing if the backup that the schedule asked for last is there; else take that one, full or not",
    )
    return made
