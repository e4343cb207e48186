#!/usr/bin/env python3
"""Carry a healthy replica's binary log into the store while it is written, a piece each 45 s or so.

Runs as holdfast-binlog-stream.service on every database host; on the primary, and on a replica that is not healthy, it
waits. --once takes one turn and prints what it did.

Exit status: 0 done (--once), 2 usage, 3 configuration, 4 a tool failed, 5 storage, 6 another process streams, 75 not
this host's turn (--once).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from holdfast.backup.store import Store
from holdfast.backup.stream import LOCK, READ_TIMEOUT_SECONDS, Stream, serve
from holdfast.config import DEFAULT_PATH, Config, load
from holdfast.database import connect
from holdfast.entry_point import add_to_summary, run_program
from holdfast.errors import ExitCode, NotThisHostError
from holdfast.lock import hold


def main(arguments: argparse.Namespace) -> int:
    """Stream until SIGTERM, or once."""
    config = load(arguments.config)
    return once(config) if arguments.once else serve(config)


def once(config: Config) -> int:
    """One turn. Raises NotThisHostError, LockedError while the service runs, and what a turn raises."""
    with hold(LOCK, config.state_directory):
        stream = Stream(config, Store(config.store, config.cluster))
        account, socket = config.mysql.backup_account_file, config.mysql.socket
        with connect(account, socket=socket, read_timeout_seconds=READ_TIMEOUT_SECONDS) as connection:
            turn = stream.turn(connection)
    if turn.idle:
        raise NotThisHostError(turn.idle)
    for piece in turn.pieces:
        sys.stdout.write(f"{piece.record_name}  {piece.end - piece.start} bytes, {piece.gtids.count()} transactions\n")
    add_to_summary(pieces=len(turn.pieces), stored_bytes=sum(piece.stored_size for piece in turn.pieces))
    return ExitCode.DONE


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="default: %(default)s")
    made.add_argument("--once", action="store_true", help="take one turn and end; not while the service runs")
    return made


if __name__ == "__main__":
    sys.exit(run_program("mysql-binlog-stream", main, parser()))
