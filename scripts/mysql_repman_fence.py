#!/usr/bin/env python3
"""Replication Manager's pre-script: returns once mysql-fence has promoted, and never if it has not.

Replication Manager calls it with seven arguments, on a failover and on a switchover. For a person there is
mysql-fence, which this starts as a unit of its own: `journalctl -u 'mysql-fence@*'`.
"""

from __future__ import annotations

import argparse
import signal
import sys

from holdfast.entry_point import start_logging
from holdfast.failover.repman_fence import promote


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("argument", nargs="*", help="OLDHOST NEWHOST OLDPORT NEWPORT '' '' failover|switchover")
    return made


if __name__ == "__main__":
    # Not by run_program, which ends on SIGTERM: the end of this process lets Replication Manager promote.
    if "--help" in sys.argv or "-h" in sys.argv:
        parser().parse_args()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # not SIG_IGN, which sudo and systemctl would inherit
    start_logging("mysql-repman-fence")
    promote(sys.argv[1:])
