#!/usr/bin/env python3
"""End this host's MySQL so that no commit is acknowledged on its way; ExecStop of mysql.service.

Without a process id (the server has ended by itself) it does nothing. Exit status: 0 the signal was sent.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
from pathlib import Path

from holdfast.config import DEFAULT_PATH, load
from holdfast.entry_point import run_program
from holdfast.errors import ExitCode
from holdfast.failover.stop import stop

log = logging.getLogger(__name__)


def main(arguments: argparse.Namespace) -> int:
    """End the server, whatever goes wrong."""
    if arguments.pid is None:
        return ExitCode.DONE
    try:
        log.info("process %d: %s", arguments.pid, stop(load(arguments.config), arguments.pid))
    except BaseException:
        # SIGTERM follows as soon as this program has ended: it must not find a client that waits
        with contextlib.suppress(ProcessLookupError):
            os.kill(arguments.pid, signal.SIGKILL)
        raise
    return ExitCode.DONE


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="default: %(default)s")
    made.add_argument("pid", type=int, nargs="?", help="of mysqld: $MAINPID")
    return made


if __name__ == "__main__":
    sys.exit(run_program("mysql-stop-safely", main, parser()))
