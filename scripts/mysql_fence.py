#!/usr/bin/env python3
"""Make a server the primary in another's place: elect it, fence the other, drain, detach, let its guard open it.

  mysql-fence --old HOST --new HOST [--dry-run] [--policy proceed|hold]
  mysql-fence oldHost newHost oldPort newPort x x failover|switchover     as Replication Manager calls it
  mysql-fence --finish            finish or roll back a promotion that was left under way
  mysql-fence --background TERM   go on fencing the old primary of a term that was promoted without proof

Replication Manager promotes whenever its script returns, whatever it returns. So the second form returns only when
the new server is the primary; in every other case it has Replication Manager restarted, and waits for its own end.

Exit status: 0 done, 2 usage, 3 configuration or wrong host, 4 held or rolled back, 6 another promotion is at work.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from holdfast.config import DEFAULT_PATH, load
from holdfast.entry_point import run_program
from holdfast.errors import UsageError
from holdfast.failover import fence_command as fencing


def main(arguments: argparse.Namespace) -> int:
    """Do what was asked for."""
    if arguments.arguments:
        return fencing.as_script(arguments.arguments, lambda: load(arguments.config))
    config = load(arguments.config)
    if arguments.finish:
        return fencing.finish(config)
    if arguments.background is not None:
        return fencing.in_background(config, arguments.background)
    if arguments.old is None or arguments.new is None:
        raise UsageError("--old HOST and --new HOST are both needed", remedy="mysql-fence --help")
    policy = arguments.policy or config.failover.fence_policy
    if arguments.dry_run:
        return fencing.dry_run(config, arguments.old, arguments.new)
    return fencing.by_hand(config, arguments.old, arguments.new, policy)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="default: %(default)s")
    made.add_argument("--old", metavar="HOST", help="the primary that is to be replaced, by name or address")
    made.add_argument("--new", metavar="HOST", help="who shall be the primary")
    made.add_argument("--dry-run", action="store_true", help="say what would be found and done first; change nothing")
    made.add_argument("--policy", choices=("proceed", "hold"), help="if the fence is not proven; default: the site's")
    made.add_argument("--finish", action="store_true", help="finish or roll back what is under way")
    made.add_argument(
        "--background", type=int, metavar="TERM", help="go on fencing; mysql-fencer@TERM.service does this"
    )
    made.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    return made


if __name__ == "__main__":
    sys.exit(run_program("mysql-fence", main, parser()))
