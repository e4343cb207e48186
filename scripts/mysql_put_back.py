#!/usr/bin/env python3
"""Put tables of a restored instance back on the primary, while the application writes (playbooks/recover_table.yml).

  copy      on the instance's host: into the database holdfast_put_back of the primary, compared; prints the handover
  exchange  on the primary, the handover on standard input: the present tables go aside, the restored ones in

Nothing that exists is overwritten. Exit status: 0 done, 2 usage, 3 configuration, 4 a tool or the server refused.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from holdfast.clock import compact_utc, utc_now
from holdfast.config import DEFAULT_PATH, load
from holdfast.database import connect
from holdfast.entry_point import run_program
from holdfast.errors import ExitCode, UsageError
from holdfast.recovery.instance import Instance
from holdfast.recovery.marker import read_marker
from holdfast.recovery.put_back import copy, put_in_place


def main(arguments: argparse.Namespace) -> int:
    """Do one of the two."""
    config = load(arguments.config)
    if arguments.command == "copy":
        names = [name.partition(".") for name in arguments.tables]
        databases = {database for database, _, table in names if table}
        if len(databases) != 1 or not all(table for _, _, table in names):
            raise UsageError(
                "all tables must be given as DATABASE.TABLE, of one database",
                remedy="For tables of several databases run it once for each of these.",
            )
        if read_marker(arguments.directory) is None:
            raise UsageError(f"{arguments.directory} is not the directory of a restore")
        instance = Instance(arguments.directory.absolute(), config.mysql.mysqld)
        tables = [table for _, _, table in names]
        told = copy(instance, databases.pop(), tables, arguments.host, arguments.account_file)
    else:
        with connect(socket=config.mysql.socket, user="root") as connection:
            told = put_in_place(
                connection, json.load(sys.stdin), compact_utc(utc_now()), accept_orphans=arguments.accept_orphans
            )
    sys.stdout.write(json.dumps(told) + "\n")
    return ExitCode.DONE


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="default: %(default)s")
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    first = commands.add_parser("copy", help="into holdfast_put_back of the primary")
    first.add_argument("--directory", type=Path, required=True, metavar="DIR", help="of the restored instance")
    first.add_argument("--host", required=True, metavar="ADDRESS", help="the primary's")
    first.add_argument(
        "--account-file", type=Path, required=True, metavar="FILE", help="may write to holdfast_put_back"
    )
    first.add_argument("tables", nargs="+", metavar="DATABASE.TABLE")
    second = commands.add_parser("exchange", help="put them in place; the handover comes on standard input")
    second.add_argument("--accept-orphans", action="store_true", help="also when rows would refer to nothing")
    return made


if __name__ == "__main__":
    sys.exit(run_program("mysql-put-back", main, parser()))
