#!/usr/bin/env python3
"""Look for what is wrong with the backups and with this host, and tell people of what is new.

Without words: one run, as cron makes it each hour. An alarm is told once, again daily while it lasts, and once when it
is over.
Exit status: 0 all was looked at and told, 2 usage, 3 configuration, 4 a message was not accepted (the next run tries
again), 5 the store cannot be read, 6 another run is at work.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from pathlib import Path

from holdfast.backup import watch_command
from holdfast.backup.watch import run_watch
from holdfast.clock import utc_now
from holdfast.config import DEFAULT_PATH, load
from holdfast.entry_point import run_program
from holdfast.errors import ExitCode


def main(arguments: argparse.Namespace) -> int:
    """Do what was asked for."""
    config = load(arguments.config)
    now = utc_now()
    if arguments.self_test:
        said = watch_command.self_test(config, now)
    elif arguments.what == "silence":
        alarm, duration = watch_command.alarm_of(arguments.alarm), watch_command.duration_of(arguments.duration)
        by = os.environ.get("SUDO_USER") or getpass.getuser()
        said = watch_command.silence(config, alarm, duration, arguments.reason, by, now)
    elif arguments.what == "unsilence":
        said = watch_command.end_silence(config, watch_command.alarm_of(arguments.alarm), now)
    elif arguments.what == "show":
        said = watch_command.show(config, now)
    else:
        return run_watch(config)
    sys.stdout.write(said + "\n")
    return ExitCode.DONE


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="default: %(default)s")
    made.add_argument("--self-test", action="store_true", help="send a canary, and say whether Telegram accepted it")
    words = made.add_subparsers(dest="what", metavar="")
    silence = words.add_parser("silence", help="send nothing about an alarm of this host for a while")
    silence.add_argument("alarm", metavar="ALARM", help="its name, or name:subject as a message has it")
    silence.add_argument("--for", dest="duration", required=True, metavar="TIME", help="90m, 2h, 3d; at most 35d")
    silence.add_argument("--reason", required=True, metavar="TEXT", help="why nobody needs to hear of it")
    unsilence = words.add_parser("unsilence", help="end a silence before its time")
    unsilence.add_argument("alarm", metavar="ALARM")
    words.add_parser("show", help="what stands on this host, and what is silent")
    return made


if __name__ == "__main__":
    sys.exit(run_program("mysql-backup-watch", main, parser()))
