#!/usr/bin/env python3
"""Take what Replication Manager tells, and tell people.

Replication Manager calls it as its alert script (CLUSTER HOST:PORT BEFORE NOW), as its post-script (seven arguments),
and for states (CLUSTER HOST:PORT CODE), under the name mysql-repman-alert-closed when a state is over. The message is
left in a folder; `--send`, which a unit runs when something lies there, sends it.

Exit status: 0 done, 2 usage, 3 configuration, 4 a message could not be sent or left.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from holdfast.entry_point import run_program
from holdfast.errors import ExitCode, ToolError
from holdfast.failover.repman import alert_of
from holdfast.failover.repman_credentials import load_for_unit
from holdfast.failover.repman_spool import SPOOL, leave, send_all

log = logging.getLogger(__name__)
CLOSED = "mysql-repman-alert-closed"


def main(arguments: argparse.Namespace) -> int:
    """Leave one message, or send those that were left."""
    if arguments.send:
        failures = send_all(load_for_unit(), arguments.spool)
        for failure in failures:
            log.warning("not sent, tried again later: %s", failure)
        return ExitCode.TOOL if failures else ExitCode.DONE
    alert = alert_of(arguments.told, closed=Path(sys.argv[0]).name == CLOSED)
    if alert is not None:
        log.info("%s", alert.head)
        try:
            leave(alert, arguments.spool)
        except OSError as error:
            raise ToolError(f"{arguments.spool}: a message could not be left: {error}", meaning=alert.head) from None
    return ExitCode.DONE


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("told", nargs="*", help="what Replication Manager says, in its order")
    made.add_argument("--send", action="store_true", help="send what was left")
    made.add_argument("--spool", type=Path, default=SPOOL, metavar="FOLDER", help="default: %(default)s")
    return made


if __name__ == "__main__":
    sys.exit(run_program("mysql-repman-alert", main, parser()))
